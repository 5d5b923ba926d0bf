"""How often Python looks for reference cycles in a service.

A batch is tens of thousands of dicts and lists that live until it is committed, and none of them is in a cycle. With
Python's thresholds the collector walks over all of them again and again: a sixth of the aggregator's time, measured.
"""

import gc

_YOUNG_OBJECTS = 200_000
_YOUNG_COLLECTIONS = 20
_MIDDLE_COLLECTIONS = 20


def collect_rarely() -> None:
    """Once, when a service has been set up: what is there stays for good, and what comes is looked at rarely."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, _YOUNG_COLLECTIONS, _MIDDLE_COLLECTIONS)
