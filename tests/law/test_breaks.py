"""Every deliberate break still finds its code. `python -m tests.law.mutations` shows whether the tests catch it."""

import pytest

from tests.law.breaks import BREAKS, Break
from tests.law.mutations import AnchorGoneError, check_anchors


@pytest.mark.parametrize("one", BREAKS, ids=lambda one: one.name)
def test_the_code_that_a_break_replaces_occurs_once(one: Break) -> None:
    check_anchors(one)


def test_a_break_whose_code_is_gone_is_reported() -> None:
    gone = Break("gone", (BREAKS[0].edits[0]._replace(old="no such text"),))
    with pytest.raises(AnchorGoneError, match="found it 0 times"):
        check_anchors(gone)


def test_no_two_breaks_have_one_name() -> None:
    assert len({one.name for one in BREAKS}) == len(BREAKS)
