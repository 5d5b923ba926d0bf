"""Settings of the Python interpreter in a service: how often it collects reference cycles, and how often it switches threads."""

import gc
import sys

# A batch is tens of thousands of tuples and lists that live until it is committed, none of them in a cycle. With Python's
# thresholds the collector visits all of them again and again: this took a sixth of the aggregator's time.
_YOUNG_OBJECTS = 200_000
_YOUNG_COLLECTIONS = 20
_MIDDLE_COLLECTIONS = 20

# A thread that has an answer from Postgres waits up to this long for the decoding thread, a dozen times a batch, and Postgres
# is idle meanwhile. With Python's 5 ms the aggregator was 5 % slower, in pairs of runs.
_SWITCH_SECONDS = 0.000_5


def set_interpreter() -> None:
    """Apply the settings. Call it once when the service is set up: objects that exist now are never visited again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, _YOUNG_COLLECTIONS, _MIDDLE_COLLECTIONS)
    sys.setswitchinterval(_SWITCH_SECONDS)
