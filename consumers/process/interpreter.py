"""How Python itself is set in a service: how often it looks for reference cycles, and how often its threads take turns."""

import gc
import sys

# A batch is tens of thousands of tuples and lists that live until it is committed, and none of them is in a cycle. With
# Python's thresholds the collector walks over all of them again and again: a sixth of the aggregator's time, measured.
_YOUNG_OBJECTS = 200_000
_YOUNG_COLLECTIONS = 20
_MIDDLE_COLLECTIONS = 20

# A thread that Postgres has answered waits for so long until the one that decodes lets it go on, and Postgres with it: a
# dozen times a batch. With Python's 5 ms the aggregator was 5 % slower, in pairs of runs.
_SWITCH_SECONDS = 0.000_5


def set_interpreter() -> None:
    """Once, when a service has been set up: what is there now stays for good, and is never looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, _YOUNG_COLLECTIONS, _MIDDLE_COLLECTIONS)
    sys.setswitchinterval(_SWITCH_SECONDS)
