"""Connects to the broker and subscribes, without the traps in pulsar-client's defaults.

Consumers read bytes, which ``broker.registry`` decodes by the writer's schema: the library's own AvroSchema falls back
to the reader's schema on any error. Create the client after a fork, never before.
"""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pulsar
import structlog

from broker.private import CoreMessage, check_private_names
from broker.reach import pulsar_cause
from schemas.errors import BrokerAwayError, BrokerError
from schemas.redaction import shown_url
from settings.broker import BrokerSettings

Client = pulsar.Client
Consumer = pulsar.Consumer
Message = CoreMessage

_log = structlog.get_logger(__name__)

_CURES: tuple[tuple[type[Exception], str], ...] = (
    (
        pulsar.AuthenticationError,
        "The broker did not accept who we are: check JOBTRAIL_PULSAR_TOKEN or JOBTRAIL_PULSAR_TOKEN_FILE.",
    ),
    (
        pulsar.AuthorizationError,
        "The token's role may not do this: on the Pulsar namespace, grant it `consume` (services, commands) or `produce` (publishers).",
    ),
    (pulsar.TopicNotFound, "The topic or its Pulsar namespace does not exist: run `jobtrail provision`."),
    (
        pulsar.IncompatibleSchema,
        "The broker refused the schema: it is not compatible with the released ones (`jobtrail provision --check`).",
    ),
    (pulsar.InvalidUrl, "Correct JOBTRAIL_PULSAR_URL: pulsar://host:6650 or pulsar+ssl://host:6651."),
    (
        pulsar.Timeout,
        (
            "No answer within JOBTRAIL_PULSAR_OPERATION_TIMEOUT_SECONDS: is the broker running, is JOBTRAIL_PULSAR_URL "
            "its address, and does it ask for a token (JOBTRAIL_PULSAR_TOKEN_FILE)?"
        ),
    ),
    (
        pulsar.ConnectError,
        (
            "Is the broker running, is JOBTRAIL_PULSAR_URL its address, and with pulsar+ssl:// is its certificate for "
            "that host and of an authority we trust (JOBTRAIL_PULSAR_TLS_TRUST_CERTS_FILE)?"
        ),
    ),
    (pulsar.ConsumerBusy, "Another consumer holds the subscription with another type: stop it first."),
)


def connect(settings: BrokerSettings, *, log_file: str | None = None) -> pulsar.Client:
    """Return a client of the broker. It connects when it is first used, and reconnects by itself.

    The library prints its errors to standard output, or appends them to ``log_file``. Commands that answer on standard
    output pass os.devnull and report errors themselves. Raises BrokerError when the URL, the token or the trusted
    certificates cannot be used.
    """
    check_private_names()
    _check_trust_file(settings)
    with broker_errors("connect", settings):
        return pulsar.Client(
            settings.pulsar_url,
            authentication=_authentication(settings),
            operation_timeout_seconds=settings.pulsar_operation_timeout_seconds,
            stats_interval_in_seconds=0,
            tls_trust_certs_file_path=settings.pulsar_tls_trust_certs_file,
            tls_validate_hostname=settings.pulsar_tls_validate_hostname,
            # Never a logging.Logger: the library's threads would take the GIL for every line.
            logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error)
            if log_file is None
            else pulsar.FileLogger(pulsar.LoggerLevel.Error, log_file),
        )


def subscribe(
    client: pulsar.Client,
    settings: BrokerSettings,
    name: str,
    *,
    batch_messages: int,
    batch_bytes: int,
    batch_wait_seconds: float,
    receiver_queue: int,
    redelivery_delay_seconds: float = 1.0,
) -> pulsar.Consumer:
    """Subscribe to the topic of the events: Shared, from the earliest event, each message acknowledged individually.

    ``batch_receive`` returns when it has ``batch_messages`` or ``batch_bytes``, or after ``batch_wait_seconds`` with
    what has arrived, which may be nothing. ``receiver_queue`` is the number of messages fetched ahead, over all
    partitions together. Unacknowledged messages never time out, so that a batch can wait for Postgres however long it
    is away. When a consumer dies, its connection ends, and the broker delivers its messages again.

    Raises BrokerError.
    """
    with broker_errors(f"subscribe as {name!r} to {settings.topic}", settings):
        return client.subscribe(
            settings.topic,
            name,
            consumer_type=pulsar.ConsumerType.Shared,
            initial_position=pulsar.InitialPosition.Earliest,
            receiver_queue_size=receiver_queue,
            max_total_receiver_queue_size_across_partitions=receiver_queue,
            consumer_name=consumer_name(),
            unacked_messages_timeout_ms=None,
            negative_ack_redelivery_delay_ms=round(redelivery_delay_seconds * 1000),
            # An encrypted message is delivered as it is and becomes a dead letter; by default it would wait for ever.
            crypto_failure_action=pulsar.ConsumerCryptoFailureAction.CONSUME,
            batch_receive_policy=pulsar.ConsumerBatchReceivePolicy(
                batch_messages, batch_bytes, round(batch_wait_seconds * 1000)
            ),
        )


def consumer_name() -> str:
    """Return the name of this process's consumers on the broker."""
    return f"{socket.gethostname()}-{os.getpid()}"


@contextmanager
def broker_errors(what: str, settings: BrokerSettings) -> Iterator[None]:
    """Turn the library's errors within the block into BrokerError, with what was tried, where, and the cure."""
    try:
        yield
    except pulsar.PulsarException as error:
        # The library does not say why it got no answer.
        cause = pulsar_cause(settings) if isinstance(error, pulsar.Timeout | pulsar.ConnectError) else None
        if cause is not None:
            kind = BrokerAwayError if cause.passes else BrokerError
            raise kind(
                f"cannot {what} at {shown_url(settings.pulsar_url)}: {cause.why}. {cause.cure}."
            ) from error
        cure = next((cure for kind, cure in _CURES if isinstance(error, kind)), "See the broker's log.")
        raise BrokerError(f"cannot {what} at {shown_url(settings.pulsar_url)}: {error}. {cure}") from error
    except ValueError:  # pulsar.Client cannot parse the URL, and quotes it with its secrets
        raise BrokerError(
            f"cannot {what} at {shown_url(settings.pulsar_url)}: the URL cannot be used. Correct JOBTRAIL_PULSAR_URL: "
            "pulsar://host:6650 or pulsar+ssl://host:6651, without user and password."
        ) from None


def token_supplier(settings: BrokerSettings) -> Callable[[], str] | None:
    """Return a function that reads the token at each connection, so that a replaced file is used; None without a token.

    Raises BrokerError when the file cannot be read at the start. When it cannot be read later, the last token is used.
    """
    if settings.pulsar_token_file is None:
        if settings.pulsar_token is None:
            return None
        return settings.pulsar_token.get_secret_value
    path = Path(settings.pulsar_token_file)
    try:
        last = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise BrokerError(
            f"cannot read the broker's token from {str(path)!r} (JOBTRAIL_PULSAR_TOKEN_FILE): {error.strerror}."
        ) from error

    def read_again() -> str:
        nonlocal last
        try:
            last = path.read_text(encoding="utf-8").strip() or last
        except OSError as error:
            # A thread of the library calls this, and would take an exception for a refusal by the broker.
            _log.warning(
                "token_file_unreadable",
                path=str(path),
                error=error.strerror,
                then="continues with the last token",
            )
        return last

    return read_again


def _check_trust_file(settings: BrokerSettings) -> None:
    """Check the file of trusted certificates. The library would report that the broker does not accept us."""
    path = settings.pulsar_tls_trust_certs_file
    if path is not None and not os.access(path, os.R_OK):
        raise BrokerError(
            f"cannot read the trusted certificates from {path!r}: expected a PEM file. Correct "
            "JOBTRAIL_PULSAR_TLS_TRUST_CERTS_FILE, or unset it to trust the public authorities."
        )


def _authentication(settings: BrokerSettings) -> pulsar.Authentication | None:
    supplier = token_supplier(settings)
    return None if supplier is None else pulsar.AuthenticationToken(supplier)
