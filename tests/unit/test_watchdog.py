"""When the watchdog concludes from the broker's statistics of the subscription that delivery has stopped."""

import pytest

from broker.backlog import OwnConsumer, PartitionBacklog
from consumers.receiving.watchdog import DeliveryStoppedError, Observation, Watchdog, stalled
from schemas.errors import BrokerError
from settings.consumer import ConsumerSettings
from testing.services import wait_until

HOLDS_NONE = OwnConsumer(permits=5_000, unacknowledged=0, blocked=False)
WAITING = PartitionBacklog(
    "partition-0", entries=7, delivered=100, held_by_others=0, blocked=False, own_consumer=HOLDS_NONE
)


def why(before: PartitionBacklog, now: PartitionBacklog, *, was_idle: bool = True) -> str:
    """Return the reason, or an empty text."""
    looks = [Observation(at, {found.partition: found}) for at, found in enumerate((before, now))]
    return "".join(stalled(*looks, was_idle=was_idle).values())


@pytest.mark.parametrize(
    ("partition", "seen"),
    [
        (WAITING, "none is delivered although this consumer asked for 5,000 messages"),
        (WAITING._replace(own_consumer=None), "does not know of this consumer"),
        (
            WAITING._replace(own_consumer=HOLDS_NONE._replace(permits=0, unacknowledged=30)),
            "believes that this process holds 30 messages",
        ),
        (WAITING._replace(own_consumer=HOLDS_NONE._replace(permits=0)), "although this process holds none"),
        (
            WAITING._replace(own_consumer=HOLDS_NONE._replace(blocked=True)),
            "although this process holds none",
        ),
    ],
)
def test_a_state_that_lasts_over_two_checks_is_a_stall(partition: PartitionBacklog, seen: str) -> None:
    assert seen in why(partition, partition)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        pytest.param(WAITING._replace(entries=0), WAITING, id="it has just arrived"),
        pytest.param(WAITING, WAITING._replace(entries=0), id="nothing waits now"),
        pytest.param(WAITING, WAITING._replace(delivered=101), id="something was delivered"),
        pytest.param(
            WAITING._replace(held_by_others=7), WAITING._replace(held_by_others=7), id="others hold it"
        ),
        pytest.param(
            WAITING._replace(blocked=True, held_by_others=2),
            WAITING._replace(blocked=True, held_by_others=2),
            id="others hold too many, and none gets any",
        ),
        pytest.param(WAITING._replace(own_consumer=None), WAITING, id="it is just subscribing"),
    ],
)
def test_a_state_that_passes_by_itself_is_not_a_stall(
    before: PartitionBacklog, now: PartitionBacklog
) -> None:
    assert why(before, now) == ""


@pytest.mark.parametrize(
    "own",
    [
        HOLDS_NONE._replace(permits=-600, unacknowledged=5_600),
        HOLDS_NONE._replace(permits=10, unacknowledged=5_600, blocked=True),
    ],
    ids=["its queue is full", "it holds as many as it may"],
)
def test_a_busy_process_that_gets_no_messages_is_not_stalled(own: OwnConsumer) -> None:
    """For example, Postgres is slow: then the broker waits for us."""
    full = WAITING._replace(entries=6_000, own_consumer=own)
    assert why(full, full, was_idle=False) == ""


class Clock:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def watchdog(
    answers: list[PartitionBacklog] | None, clock: Clock, limit: float = 30, **settings: object
) -> Watchdog:
    def ask() -> list[PartitionBacklog]:
        if answers is None:
            raise BrokerError("no answer")
        return answers

    loaded = ConsumerSettings.load(watchdog_seconds=limit, **settings)
    return Watchdog(loaded, "aggregator", ask, clock)


def turn(dog: Watchdog, clock: Clock, seconds: float, *, idle: bool = True, connected: bool = True) -> None:
    """Run rounds of one second; each answer is taken in the round after its request."""
    for _ in range(round(seconds)):
        clock.now += 1
        dog.turned(idle=idle, connected=connected)
        asked = dog._asked
        if asked is not None:
            wait_until(asked.done, "the answer")


def test_the_watchdog_ends_the_process_exactly_when_the_time_is_up() -> None:
    clock = Clock()
    dog = watchdog([WAITING], clock)
    turn(dog, clock, 39)
    with pytest.raises(DeliveryStoppedError, match=r"partition-0: 7 entries wait, .*, for 30 s"):
        turn(dog, clock, 12)
    assert clock.now < 50
    dog.close()


def test_a_broker_that_is_away_in_between_restarts_the_time() -> None:
    clock = Clock()
    dog = watchdog([WAITING], clock)
    for _ in range(5):
        turn(dog, clock, 35)
        turn(dog, clock, 1, connected=False)
    dog.close()


def test_a_loop_that_waited_for_a_database_restarts_the_time() -> None:
    clock = Clock()
    dog = watchdog([WAITING], clock)
    for _ in range(5):
        turn(dog, clock, 35)
        clock.now += 600
    dog.close()


@pytest.mark.parametrize("settings", [{"limit": 0}, {"schema_registry": "bundled"}])
def test_the_watchdog_can_be_switched_off_and_is_off_without_an_admin_rest(
    settings: dict[str, object],
) -> None:
    clock = Clock()
    dog = watchdog([WAITING], clock, **settings)  # type: ignore[arg-type]  # a limit is a number
    turn(dog, clock, 1_000)
    dog.close()


def test_an_admin_rest_that_does_not_answer_is_logged_once_and_ends_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    dog = watchdog(None, clock)
    turn(dog, clock, 200)
    printed = capsys.readouterr()
    assert (printed.out + printed.err).count("watchdog_blind") == 1
    dog.close()
