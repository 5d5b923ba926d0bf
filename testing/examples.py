"""How many random examples a test tries: all of them, or a tenth in the fast loop (`make unit`)."""

import os

VARIABLE = "JOBTRAIL_TEST_QUICK"


def examples(count: int) -> int:
    """Return the number of examples to try, of ``count`` that the whole suite tries."""
    return count // 10 if os.environ.get(VARIABLE) else count
