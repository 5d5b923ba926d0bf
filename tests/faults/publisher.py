"""One publisher of the fault matrix, a process of its own, by Pulsar's own client: `python -m tests.faults.publisher ORDERS`.

It publishes its share of a seeded stream of events until its standard input ends, then waits for every answer, sends
again what was refused or timed out, and prints what it did as JSON. Of each event that the broker accepted (callback with
result Ok) the digest is in the tally: that is the truth that nobody may lose. What timed out may be in the topic or not.
"""

import contextlib
import io
import json
import os
import queue
import random
import sys
import threading
import time
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import fastavro
import pulsar

from schemas.contract import SCHEMA_TEXT
from testing.publish import EncodedEvents
from testing.workload import events

DIGEST_BYTES = 16
SLICE_SECONDS = 0.25
SEND_TIMEOUT_MILLIS = 8_000
GARBAGE = 1 / 1_500
_DISAGREEING = 5
"""Of so many jobs one, whose events do not agree on what they are about."""
MOST_JOBS = 10_000_000
MOST_PENDING = 5_000


class Orders(NamedTuple):
    """What a publisher is told. It takes every event of the stream whose number leaves ``share`` when divided by ``of``."""

    url: str
    topic: str
    seed: int
    share: int
    of: int
    events_a_second: float
    start_us: int
    clock_seconds: int = 0
    """Its clock is so much ahead of the others'."""
    duplicated: float = 0.0
    """The part of its events that it sends once more, some of them much later."""
    backwards: bool = False
    """Each slice of its events is sent last first."""
    tally: str = ""
    """The file of digests."""


def digest(payload: bytes) -> bytes:
    """What the tally keeps of an event."""
    return blake2b(payload, digest_size=DIGEST_BYTES).digest()


def main() -> int:
    orders = Orders(**json.loads(sys.argv[1]))
    stop = threading.Event()
    threading.Thread(target=_wait_for_the_end_of_input, args=[stop], daemon=True).start()
    print(json.dumps(_publish(orders, stop)), flush=True)
    return 0


def _wait_for_the_end_of_input(stop: threading.Event) -> None:
    while os.read(0, 1):
        pass
    stop.set()


def _publish(orders: Orders, stop: threading.Event) -> dict[str, int]:
    client = pulsar.Client(orders.url, logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error))
    said = dict.fromkeys(("accepted", "timed_out", "duplicates", "slices_backwards", "garbage"), 0)
    pending = _Pending()
    producer = _producer(client, orders.topic)
    rng = random.Random(orders.seed * 1_000 + orders.share)
    later: list[tuple[str, bytes]] = []
    with Path(orders.tally).open("wb") as tally:
        try:
            stream = _share(orders)
            slice_events = max(1, round(orders.events_a_second * SLICE_SECONDS))
            while not stop.wait(SLICE_SECONDS):
                if pending.count() > MOST_PENDING:  # the broker is away: what waits is enough to be lost
                    pending.settle(producer, tally, said, wait=False)
                    continue
                part = [next(stream) for _ in range(slice_events)]
                if rng.random() < GARBAGE * slice_events:
                    part.append((part[0][0], part[0][1][: len(part[0][1]) // 2]))
                    said["garbage"] += 1
                again = [one for one in part if rng.random() < orders.duplicated]
                later += again
                rng.shuffle(later)
                due, later = later[: len(again)], later[len(again) :]
                said["duplicates"] += len(due)
                if orders.backwards:
                    part.reverse()
                    said["slices_backwards"] += 1
                for key, payload in part + due:
                    pending.send(producer, key, payload)
                pending.settle(producer, tally, said, wait=False)
            while pending.settle(producer, tally, said, wait=True):
                pass
        finally:
            client.close()
    return said


class _Pending:
    """What was sent and not answered yet."""

    def __init__(self) -> None:
        self._answers: queue.SimpleQueue[tuple[bool, str, bytes]] = queue.SimpleQueue()
        self._open = 0

    def send(self, producer: Any, key: str, payload: bytes) -> None:
        def answered(result: Any, _id: object) -> None:
            self._answers.put((result == pulsar.Result.Ok, key, payload))

        self._open += 1
        producer.send_async(payload, answered, partition_key=key)

    def count(self) -> int:
        """How many."""
        return self._open

    def settle(self, producer: Any, tally: io.BufferedWriter, said: dict[str, int], *, wait: bool) -> bool:
        """Note the answers that came (all, with ``wait``), send again what was not accepted; whether anything is open."""
        if wait:
            with contextlib.suppress(pulsar.PulsarException):  # what failed is in the answers
                producer.flush()
        while self._open:
            try:
                accepted, key, payload = self._answers.get(timeout=1.0 if wait else 0.0)
            except queue.Empty:
                break
            self._open -= 1
            if accepted:
                tally.write(digest(payload))
                said["accepted"] += 1
            else:
                said["timed_out"] += 1
                self.send(producer, key, payload)
        return self._open > 0


def _producer(client: pulsar.Client, topic: str) -> Any:
    """A broker that is away is waited for."""
    while True:
        try:
            return client.create_producer(
                topic,
                schema=EncodedEvents(),
                batching_enabled=True,
                batching_max_messages=200,
                batching_max_publish_delay_ms=20,
                max_pending_messages=50_000,
                max_pending_messages_across_partitions=200_000,
                block_if_queue_full=True,
                send_timeout_millis=SEND_TIMEOUT_MILLIS,
            )
        except pulsar.PulsarException:
            time.sleep(0.5)


def _share(orders: Orders) -> Iterator[tuple[str, bytes]]:
    writer = fastavro.parse_schema(json.loads(SCHEMA_TEXT))
    shift_us = orders.clock_seconds * 1_000_000
    for number, event in enumerate(events(MOST_JOBS, orders.seed, orders.start_us)):
        if number % orders.of != orders.share:
            continue
        event["occurred_at"] += shift_us
        if "started_at" in event:
            event["started_at"] += shift_us
        if int(event["job_id"]) % _DISAGREEING == 0:
            # Each event says another source and thing, with what COPY must escape.
            event["source"] = f"{event['source']} {event['state']}"
            event["external_id"] = f"films\\{number % 7}" if number % 2 else f"film\t{number % 7}\n"
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, writer, event)
        yield event["job_id"], stream.getvalue()


if __name__ == "__main__":
    sys.exit(main())
