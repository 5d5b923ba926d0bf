"""Reads back what the SDK published, with Pulsar's client and fastavro, and no code of the SDK."""

import io
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import fastavro
import pulsar

import jobtrail

Event = dict[str, Any]

_SCHEMA_FILE = Path(__file__).parents[2] / "schemas" / "job_event.avsc"


def _plain(avro: Any) -> Any:
    if isinstance(avro, dict):
        return {name: _plain(value) for name, value in avro.items() if name != "logicalType"}
    return [_plain(item) for item in avro] if isinstance(avro, list) else avro


CONTRACT = fastavro.parse_schema(_plain(json.loads(_SCHEMA_FILE.read_text())))


def decode(payload: bytes) -> Event:
    """Decode one event with the contract's file, and assert that no byte is left over."""
    buffer = io.BytesIO(payload)
    event = fastavro.schemaless_reader(buffer, CONTRACT, None)
    assert buffer.tell() == len(payload)
    assert isinstance(event, dict)
    return event


class Topic(NamedTuple):
    """The topic of one test."""

    url: str
    name: str

    def read(self, *, flush: bool = True) -> list[Event]:
        """Flush the SDK, then return every event of the topic in the order of publishing."""
        if flush:
            assert jobtrail.flush(30), jobtrail.stats()
        return [decode(payload) for _, payload in self.messages()]

    def await_events(self, enough: Callable[[list[Event]], bool], seconds: float = 30) -> list[Event]:
        """Read until ``enough`` accepts the events, and return them."""
        end = time.monotonic() + seconds
        while not enough(found := self.read(flush=False)):
            assert time.monotonic() < end, f"not enough after {seconds} s: {found}"
        return found

    def messages(self, patience_seconds: float = 0.5) -> list[tuple[str, bytes]]:
        """Return key and payload of every message; stop when no message comes for a while."""
        client = pulsar.Client(self.url, logger=pulsar.FileLogger(pulsar.LoggerLevel.Error, os.devnull))
        found = []
        try:
            consumer = client.subscribe(
                self.name,
                f"reading-{time.monotonic_ns()}",
                initial_position=pulsar.InitialPosition.Earliest,
            )
            while True:
                message = consumer.receive(int(patience_seconds * 1000))
                found.append((message.partition_key(), message.data()))
        except pulsar.Timeout:
            return found
        finally:
            client.close()


def only(events: list[Event], **wanted: object) -> Event:
    """Return the only event that has these values."""
    (found,) = those(events, **wanted)
    return found


def those(events: list[Event], **wanted: object) -> list[Event]:
    """Return the events that have these values."""
    return [event for event in events if all(event[name] == value for name, value in wanted.items())]
