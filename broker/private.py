"""Uses private names of pulsar-client. No other module does.

Three things have no public name: a message's schema version as a number, the length of its payload without copying it,
and the text of a schema by its version. Also, messages come from the library's core, because the library's wrapper objects
cost as much as receiving.
``check_private_names`` checks the names at start, so that another version of the library fails there, in one line.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import _pulsar
import pulsar

from schemas.errors import BrokerError

CoreMessage: TypeAlias = _pulsar.Message
"""A message of the library's core. It has the methods of `pulsar.Message`, except ``value``."""


class StoredSchema(NamedTuple):
    """One version of a topic's schema, as the broker stores it. ``kind`` is Pulsar's name: AVRO, JSON, STRING, …"""

    kind: str
    text: str


def check_private_names() -> None:
    """Check that the installed pulsar-client has every name that this module needs. Raises BrokerError."""
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
    """Do what `pulsar.Consumer.batch_receive` does."""
    return list(consumer._consumer.batch_receive())


def acknowledging(consumer: pulsar.Consumer) -> Callable[[CoreMessage], None]:
    """Return a function that does what `pulsar.Consumer.acknowledge` does."""
    acknowledge: Callable[[CoreMessage], None] = consumer._consumer.acknowledge
    return acknowledge


def reading(reader: pulsar.Reader) -> Callable[[int], CoreMessage]:
    """Return a function that does what `pulsar.Reader.read_next` does, with its timeout in milliseconds."""
    read_next: Callable[[int], CoreMessage] = reader._reader.read_next
    return read_next


def schema_version(message: CoreMessage) -> int:
    """Return the version of the schema that a message was written with, from the message.

    It is -1 if the message was published without a schema, as on a broker without a registry.
    """
    version: int = message.int_schema_version()
    return version


def payload_length(message: CoreMessage) -> int:
    """Return the number of bytes of a message's payload. ``data()`` would copy them, up to 2 GB."""
    length: int = message.length()
    return length


def version_and_payload(message: CoreMessage, most: int) -> tuple[int, bytes | None]:
    """Return schema version and payload of a message; None instead of a payload of more than ``most`` bytes.

    A single function, because it is called for each message.
    """
    return message.int_schema_version(), message.data() if message.length() <= most else None


def stored_schema(client: pulsar.Client, topic: str, version: int) -> StoredSchema:
    """Fetch one version of a topic's schema from the broker.

    ``version`` must not be negative: the broker would return the newest one, which may not be the message's. Raises the
    library's errors; ``pulsar.TopicNotFound`` when the broker does not have the topic or the version.
    """
    if version < 0:
        raise ValueError(f"expected a schema version from 0, got {version}")
    info = client._client.get_schema_info(topic, version)
    return StoredSchema(kind=info.schema_type().name, text=info.schema())
