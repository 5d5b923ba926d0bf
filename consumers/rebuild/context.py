"""What lives as long as the process of a rebuild: settings, options, the control session, the stop, the reporter, the broker."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import psycopg

from broker.admin import Admin, admin
from broker.client import Client
from broker.client import connect as connect_broker
from broker.reach import check_reachable
from consumers.process.stop import Stop
from consumers.rebuild.progress import ProgressReporter
from settings.rebuild import RebuildSettings


@dataclass(frozen=True)
class RebuildOptions:
    """The options of the command."""

    history_from: datetime | None = None
    """Read only messages published from then on."""
    restart: bool = False
    keep_old: bool = False
    accept_loss: bool = False


@dataclass(frozen=True)
class Context:
    """What every phase needs. The broker's client is connected only while the topic is read: see `broker_of`."""

    settings: RebuildSettings
    options: RebuildOptions
    control: psycopg.Connection
    """In autocommit: for states, positions, and definitions of tables."""
    stop: Stop
    reporter: ProgressReporter


@dataclass(frozen=True)
class Broker:
    """Both connections to the broker."""

    client: Client
    admin: Admin


@contextmanager
def broker_of(settings: RebuildSettings) -> Iterator[Broker]:
    """Connect to the broker for the block. Raises BrokerError."""
    check_reachable(settings)
    client = connect_broker(settings)
    try:
        with admin(settings) as rest:
            yield Broker(client, rest)
    finally:
        client.close()
