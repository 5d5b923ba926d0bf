"""The measurements of `make bench`, by name, in the order they run."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from bench.frame import Options, Result, Say


@dataclass(frozen=True)
class Part:
    """One measurement."""

    name: str
    about: str
    run: Callable[[Options, Say], Result]


def _module(name: str) -> Callable[[Options, Say], Result]:
    """Return the `run` of a module, imported at the first call: a part that is left out costs nothing."""

    def run(options: Options, say: Say) -> Result:
        result: Result = import_module(f"bench.{name}").run(options, say)
        return result

    return run


PARTS = (
    Part(
        "throughput",
        "one aggregator, beside naive consumers and Pulsar's own JDBC sink",
        _module("throughput"),
    ),
    Part("metrics", "the metrics consumer, beside the aggregator", _module("metrics")),
    Part("replicas", "two and four aggregators, and the locks they wait for", _module("replicas")),
    Part("bad_input", "the aggregator beside messages that are not events", _module("bad_input")),
    Part("scale", "the aggregator with 10⁵ and 10⁶ (--full: 10⁷) jobs stored", _module("scale")),
    Part("retention", "the aggregator while ten days of old rows are deleted", _module("retention")),
    Part("rebuild", "a rebuild beside the live aggregator", _module("rebuild")),
    Part("latency", "from event() in a worker to visible in Postgres", _module("latency")),
    Part("questions", "how long questions take while the aggregator works", _module("questions")),
    Part("memory", "memory of both consumers over a long stream", _module("memory")),
    Part("sdk", "what the SDK costs a job", _module("sdk")),
    Part("sdk_rate", "how many events one process can publish", _module("sdk_rate")),
)
"""Throughput comes first: other parts are compared with its rates."""
