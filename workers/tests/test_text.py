"""Any text fits an event: whole UTF-8, no NUL, within its limit."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from jobtrail._redact import args_json
from jobtrail._redaction import Redactor
from jobtrail._text import clean, cut_end, cut_middle, identifier, small_map, text_of

# These have lone surrogates and NUL, which st.text() omits or rarely finds.
ANY_TEXT = st.text(st.characters(codec=None) | st.sampled_from("\0\ud800\udfff😀ąz"), max_size=200)
LIMITS = st.integers(min_value=40, max_value=120)
RULES = Redactor()


def fits(text: str, limit: int) -> bool:
    return len(text.encode()) <= limit and "\0" not in text


@given(ANY_TEXT, LIMITS)
def test_identifier_fits_and_is_unchanged_when_fitted_again(text: str, limit: int) -> None:
    made = identifier(text, limit)
    assert fits(made, limit)
    assert identifier(made, limit) == made


@given(st.text("ab", min_size=41, max_size=60), st.text("ab", min_size=41, max_size=60))
def test_long_identifiers_that_differ_stay_different(one: str, other: str) -> None:
    assert (identifier(one, 40) == identifier(other, 40)) == (one == other)


@given(ANY_TEXT, LIMITS)
def test_cut_text_fits_and_keeps_its_beginning(text: str, limit: int) -> None:
    cut = cut_end(text, limit)
    assert fits(cut, limit)
    whole = clean(text)
    assert cut == whole or (cut.endswith("…[cut]") and whole.startswith(cut.removesuffix("…[cut]")))
    assert (cut == whole) == (len(whole.encode()) <= limit)


@given(ANY_TEXT, LIMITS)
def test_cut_middle_fits_and_keeps_both_ends(text: str, limit: int) -> None:
    cut = cut_middle(text, limit)
    whole = clean(text)
    assert fits(cut, limit)
    if cut != whole:
        head, _, tail = cut.partition("…[cut]")
        assert whole.startswith(head)
        assert whole.endswith(tail)
        assert len(tail) >= len(head)


def test_object_that_raises_in_str_gets_a_placeholder() -> None:
    class Hostile:
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert text_of(Hostile()) == "<Hostile: its __str__ raises>"
    assert identifier(None, 10) == ""
    assert identifier(4711, 10) == "4711"


def test_meta_is_text_within_its_limits() -> None:
    assert small_map({1: None, "a": 2.5}, RULES) == {"1": "", "a": "2.5"}
    assert len(small_map({str(number): number for number in range(1000)}, RULES)) == 50
    assert small_map("no mapping", RULES) == {}


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4) | st.tuples(inner)
    ),
    max_leaves=30,
)


@given(PLAIN)
def test_args_are_json_when_not_cut(value: object) -> None:
    text = args_json(value, RULES, 10**6)
    json.loads(text)
    assert fits(text, 10**6)
    assert fits(args_json(value, RULES, 64), 64)


def test_value_that_is_not_json_is_recorded_as_text() -> None:
    class Odd:
        def __repr__(self) -> str:
            return "odd"

    assert json.loads(args_json({"o": Odd(), "b": b"xyz", "n": math.nan, "i": 10**30}, RULES)) == {
        "o": "odd",
        "b": "[3 bytes]",
        "n": "nan",
        "i": "[integer beyond 64 bits]",
    }


def test_hostile_args_are_replaced_by_a_note() -> None:
    class Hostile(Mapping[str, str]):
        def __getitem__(self, key: str) -> str:
            raise RuntimeError("no")

        def __iter__(self) -> Iterator[str]:
            raise RuntimeError("no")

        def __len__(self) -> int:
            return 1

    endless: list[Any] = []
    endless.append(endless)
    assert "could not be recorded: RuntimeError" in args_json(Hostile(), RULES)
    assert "[too deep]" in args_json(endless, RULES)
    assert len(args_json(list(range(10**5)), RULES)) < 2000
    assert len(args_json("x" * 10**7, RULES).encode()) <= 8192
