"""The only place that uses names of pulsar-client which are not part of its public interface.

Three things have no public name: a message's schema version as a number, the length of its payload without a copy of
it, and the text of a schema by its version. And messages are taken as the library's core gives them: the objects that it
puts around them cost as much for each as the receiving itself.
``check_private_names`` looks for them at start, so that another version of the library fails there, and in one line.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import _pulsar
import pulsar

from schemas.errors import BrokerError

CoreMessage: TypeAlias = _pulsar.Message
"""A message of the library's core. It has the methods of `pulsar.Message`, but for ``value``."""


class StoredSchema(NamedTuple):
    """One version of a topic's schema, as the broker stores it. ``kind`` is Pulsar's word: AVRO, JSON, STRING …"""

    kind: str
    text: str


def check_private_names() -> None:
    """Raises BrokerError when the installed pulsar-client lacks a name this module needs."""
    needed = (
        (_pulsar.Message, "int_schema_version"),
        (_pulsar.Message, "length"),
        (_pulsar.Consumer, "batch_receive"),
        (_pulsar.Consumer, "acknowledge"),
        (_pulsar.Reader, "read_next"),
        (_pulsar.Client, "get_schema_info"),
        (_pulsar.SchemaInfo, "schema"),
        (_pulsar.SchemaInfo, "schema_type"),
    )
    missing = [f"{owner.__name__}.{name}" for owner, name in needed if not hasattr(owner, name)]
    if missing:
        raise BrokerError(
            f"pulsar-client {pulsar.__version__} has no {' and no '.join(missing)}: jobtrail reads schema versions with "
            "them. Install the version that requirements name, or adapt broker/private.py to this one."
        )


def batch_receive(consumer: pulsar.Consumer) -> list[CoreMessage]:
    """As `pulsar.Consumer.batch_receive`."""
    return list(consumer._consumer.batch_receive())


def acknowledging(consumer: pulsar.Consumer) -> Callable[[CoreMessage], None]:
    """As `pulsar.Consumer.acknowledge`."""
    acknowledge: Callable[[CoreMessage], None] = consumer._consumer.acknowledge
    return acknowledge


def reading(reader: pulsar.Reader) -> Callable[[int], CoreMessage]:
    """As `pulsar.Reader.read_next`, with its timeout in milliseconds."""
    read_next: Callable[[int], CoreMessage] = reader._reader.read_next
    return read_next


def schema_version(message: CoreMessage) -> int:
    """The version of the schema a message was written with, as its publisher says.

    -1 when it was published without a schema, as is every message of a broker without a registry.
    """
    version: int = message.int_schema_version()
    return version


def payload_length(message: CoreMessage) -> int:
    """Bytes of a message's payload. ``data()`` would copy them first, and there may be 2 GB."""
    length: int = message.length()
    return length


def version_and_payload(message: CoreMessage, most: int) -> tuple[int, bytes | None]:
    """Schema version and payload of a message in one call, as it is made for each; None for more bytes than ``most``."""
    return message.int_schema_version(), message.data() if message.length() <= most else None


def stored_schema(client: pulsar.Client, topic: str, version: int) -> StoredSchema:
    """Fetch one version of a topic's schema from the broker.

    ``version`` must not be negative: the broker takes that for "the newest", which is not what a message was written
    with. Raises the library's own errors; ``pulsar.TopicNotFound`` says that topic or version are not known there.
    """
    if version < 0:
        raise ValueError(f"expected a schema version from 0, got {version}")
    info = client._client.get_schema_info(topic, version)
    return StoredSchema(kind=info.schema_type().name, text=info.schema())
