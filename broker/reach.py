"""Finds out quickly whether the broker can be reached, and if not, why, with TCP and TLS alone.

The library tries for a long time, with pauses that grow to a minute, and then reports little.
"""

import re
import socket
import ssl
from typing import Final, NamedTuple

from schemas.errors import BrokerAwayError
from schemas.redaction import shown_url
from settings.broker import BrokerSettings

_TIMEOUT_SECONDS: Final = 2.0
_DEFAULT_PORT: Final = 6650
_DEFAULT_TLS_PORT: Final = 6651
_HTTP_REQUEST: Final = b"GET / HTTP/1.0\r\n\r\n"

# OpenSSL's codes of what is wrong with a certificate.
_EXPIRED: Final = {9, 10}
_OTHER_HOST: Final = {62, 64}


class Cause(NamedTuple):
    """What is wrong, and what to do about it; both without their last full stop."""

    why: str
    cure: str
    passes: bool = False
    """Whether it passes by itself: the broker is not running yet, or is starting."""


def check_reachable(settings: BrokerSettings) -> None:
    """Check that one of the URL's hosts accepts connections. Raises BrokerAwayError with the reason why none does."""
    why = []
    for host, port in addresses(settings.pulsar_url):
        try:
            _open(host, port).close()
        except (OSError, UnicodeError) as error:
            why.append(_unreachable(error, host, port).why)
        else:
            return
    if why:  # else the URL has no host: the library says what is wrong with it
        raise BrokerAwayError(
            f"cannot reach the broker: {'; '.join(why)}. Start it, or correct JOBTRAIL_PULSAR_URL."
        )


def pulsar_cause(settings: BrokerSettings) -> Cause | None:
    """Return why the library got no answer at JOBTRAIL_PULSAR_URL; None if the broker answers there."""
    tls = settings.pulsar_url.startswith("pulsar+ssl")
    found = [_pulsar_cause(settings, host, port, tls) for host, port in addresses(settings.pulsar_url)]
    if not found or None in found:
        return None
    return next((cause for cause in found if cause and not cause.passes), found[0])


def connection_cause(error: BaseException, host: str, port: int) -> Cause | None:
    """Return what an error of the operating system or of TLS means for a connection; None for any other error."""
    root = _root(error)
    if isinstance(root, ssl.SSLCertVerificationError):
        return _certificate(root, host)
    if isinstance(root, ssl.SSLError):
        return None
    if isinstance(root, OSError | UnicodeError) and not isinstance(
        root, ConnectionResetError | BrokenPipeError
    ):
        return _unreachable(root, host, port)
    return None


def speaks_tls(host: str, port: int) -> bool:
    """Return whether the server completes a TLS handshake, whatever its certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with _open(host, port) as connection:
            context.wrap_socket(connection).close()
    except (OSError, UnicodeError):
        return False
    return True


def addresses(url: str) -> list[tuple[str, int]]:
    """Return the hosts and ports of pulsar://host:port,host:port/…"""
    scheme, _, rest = shown_url(url).partition("://")
    default = _DEFAULT_TLS_PORT if scheme.endswith("+ssl") else _DEFAULT_PORT
    found = []
    for part in rest.rpartition("@")[2].split("/", 1)[0].split(","):
        match = re.fullmatch(r"\[?([^\[\]]+?)\]?(?::(\d{1,5}))?", part.strip())
        if match:
            found.append((match[1], int(match[2] or default)))
    return found


def _pulsar_cause(settings: BrokerSettings, host: str, port: int, tls: bool) -> Cause | None:
    where = f"{host}:{port}"
    try:
        context = ssl.create_default_context(cafile=settings.pulsar_tls_trust_certs_file if tls else None)
    except OSError as error:
        return Cause(
            f"the trusted certificates cannot be read ({error})",
            "Correct JOBTRAIL_PULSAR_TLS_TRUST_CERTS_FILE: expected a file in PEM",
        )
    if not tls and speaks_tls(host, port):
        return Cause(
            f"what listens at {where} accepts only TLS", "Begin JOBTRAIL_PULSAR_URL with pulsar+ssl:// there"
        )
    try:
        with _open(host, port) as connection:
            if not tls:
                connection.sendall(_HTTP_REQUEST)  # a broker closes the connection
                is_http = connection.recv(8).startswith(b"HTTP/")
                return _http_cause(where) if is_http else None
            context.check_hostname = settings.pulsar_tls_validate_hostname
            context.wrap_socket(connection, server_hostname=host).close()
    except ssl.SSLCertVerificationError as error:
        return _certificate(error, host)
    except ssl.SSLError:
        return Cause(
            f"what listens at {where} does not speak TLS",
            "Correct JOBTRAIL_PULSAR_URL: pulsar://host:6650 without TLS, pulsar+ssl://host:6651 with it",
        )
    except ConnectionResetError:
        return None
    except (OSError, UnicodeError) as error:
        found = _unreachable(error, host, port)
        return found._replace(cure=f"{found.cure} in JOBTRAIL_PULSAR_URL")
    return None


def _http_cause(where: str) -> Cause:
    return Cause(
        f"what listens at {where} speaks HTTP",
        "Correct JOBTRAIL_PULSAR_URL to the broker's own port, 6650 as a rule; the port of the admin REST belongs into "
        "JOBTRAIL_PULSAR_ADMIN_URL",
    )


def _unreachable(error: OSError | UnicodeError, host: str, port: int) -> Cause:
    word = (getattr(error, "strerror", None) or str(error)).lower()
    correct = "or correct the address"
    if isinstance(error, socket.gaierror | UnicodeError):  # UnicodeError: a name that cannot exist
        return Cause(f"no host has the name {host!r}", "Correct the address", passes=True)
    if isinstance(error, ConnectionRefusedError):
        return Cause(
            f"nothing listens at {host}:{port} ({word})", f"Start the broker, {correct}", passes=True
        )
    if isinstance(error, TimeoutError):
        return Cause(
            f"nothing answers at {host}:{port}",
            f"Start the broker, check network and firewalls, {correct}",
            passes=True,
        )
    return Cause(
        f"{host}:{port} cannot be reached ({word})", f"Check network and firewalls, {correct}", passes=True
    )


def _certificate(error: ssl.SSLCertVerificationError, host: str) -> Cause:
    said = error.verify_message
    if error.verify_code in _OTHER_HOST:
        return Cause(
            f"the broker's certificate is not for the host {host!r} ({said})",
            "Name the host as the certificate does, or give the broker one for this name",
        )
    if error.verify_code in _EXPIRED:
        return Cause(
            f"the broker's certificate is not valid now ({said})",
            "Renew it; or set the clock of this host, if that is what is wrong",
        )
    return Cause(
        f"the broker's certificate is not trusted ({said})",
        "Name the file of its authority in JOBTRAIL_PULSAR_TLS_TRUST_CERTS_FILE",
    )


def _root(error: BaseException) -> BaseException:
    """Return the error at the root of another library's error."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    return error


def _open(host: str, port: int) -> socket.socket:
    if port > 65_535:
        raise OSError(0, f"there is no port {port}")
    return socket.create_connection((host, port), timeout=_TIMEOUT_SECONDS)
