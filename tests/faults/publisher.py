"""One publisher of the fault matrix, a process that uses Pulsar's own client: `python -m tests.faults.publisher ORDERS`.

It publishes its share of a seeded stream of events until its standard input ends. Then it waits for every answer, sends
refused and timed-out events again, and prints its counts as JSON. The tally has the digest of each event that the broker
accepted (a callback with the result Ok); none of these may be lost. A send that timed out may or may not be in the topic.
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
"""One of this many jobs has events with contradicting fields."""
MOST_JOBS = 10_000_000
MOST_PENDING = 5_000


class Orders(NamedTuple):
    """A publisher's orders. It takes the events whose number in the stream is ``share`` modulo ``of``."""

    url: str
    topic: str
    seed: int
    share: int
    of: int
    events_a_second: float
    start_us: int
    clock_seconds: int = 0
    """How far its clock is ahead of the others'."""
    duplicated: float = 0.0
    """The fraction of its events that it sends twice, some of them much later."""
    backwards: bool = False
    """Whether each slice of its events is sent in reverse."""
    tally: str = ""
    """The path of the file of digests."""


def digest(payload: bytes) -> bytes:
    """Return the digest of an event, which the tally keeps."""
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
    counts = dict.fromkeys(("accepted", "timed_out", "duplicates", "slices_backwards", "garbage"), 0)
    pending = _Pending()
    producer = _producer(client, orders.topic)
    rng = random.Random(orders.seed * 1_000 + orders.share)
    later: list[tuple[str, bytes]] = []
    with Path(orders.tally).open("wb") as tally:
        try:
            stream = _share(orders)
            slice_events = max(1, round(orders.events_a_second * SLICE_SECONDS))
            while not stop.wait(SLICE_SECONDS):
                if pending.count() > MOST_PENDING:  # the broker is away: enough is waiting already
                    pending.take_answers(producer, tally, counts, wait=False)
                    continue
                part = [next(stream) for _ in range(slice_events)]
                if rng.random() < GARBAGE * slice_events:
                    part.append((part[0][0], part[0][1][: len(part[0][1]) // 2]))
                    counts["garbage"] += 1
                again = [one for one in part if rng.random() < orders.duplicated]
                later += again
                rng.shuffle(later)
                due, later = later[: len(again)], later[len(again) :]
                counts["duplicates"] += len(due)
                if orders.backwards:
                    part.reverse()
                    counts["slices_backwards"] += 1
                for key, payload in part + due:
                    pending.send(producer, key, payload)
                pending.take_answers(producer, tally, counts, wait=False)
            while pending.take_answers(producer, tally, counts, wait=True):
                pass
        finally:
            client.close()
    return counts


class _Pending:
    """The messages that were sent and not answered yet."""

    def __init__(self) -> None:
        self._answers: queue.SimpleQueue[tuple[bool, str, bytes]] = queue.SimpleQueue()
        self._open = 0

    def send(self, producer: Any, key: str, payload: bytes) -> None:
        def answered(result: Any, _id: object) -> None:
            self._answers.put((result == pulsar.Result.Ok, key, payload))

        self._open += 1
        producer.send_async(payload, answered, partition_key=key)

    def count(self) -> int:
        """Return how many messages are not answered yet."""
        return self._open

    def take_answers(
        self, producer: Any, tally: io.BufferedWriter, counts: dict[str, int], *, wait: bool
    ) -> bool:
        """Record the answers (all, with ``wait``), and send refused messages again; return whether any answer is outstanding."""
        if wait:
            with contextlib.suppress(pulsar.PulsarException):  # the answers contain the failures
                producer.flush()
        while self._open:
            try:
                accepted, key, payload = self._answers.get(timeout=1.0 if wait else 0.0)
            except queue.Empty:
                break
            self._open -= 1
            if accepted:
                tally.write(digest(payload))
                counts["accepted"] += 1
            else:
                counts["timed_out"] += 1
                self.send(producer, key, payload)
        return self._open > 0


def _producer(client: pulsar.Client, topic: str) -> Any:
    """Return a producer; wait for a broker that is away."""
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
            # Each event has another source and external id, with characters that COPY must escape.
            event["source"] = f"{event['source']} {event['state']}"
            event["external_id"] = f"films\\{number % 7}" if number % 2 else f"film\t{number % 7}\n"
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, writer, event)
        yield event["job_id"], stream.getvalue()


if __name__ == "__main__":
    sys.exit(main())
