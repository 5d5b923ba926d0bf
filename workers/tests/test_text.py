"""Any text fits an event: whole UTF-8, no NUL, within its limit; and secrets never leave the process."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtrail._redact import DEFAULT_SECRET_KEYS, args_json, secret_keys, without_url_passwords
from jobtrail._text import clean, cut_end, cut_middle, identifier, small_map, text_of

# With lone surrogates and NUL, which st.text() leaves out or finds seldom.
ANY_TEXT = st.text(st.characters(codec=None) | st.sampled_from("\0\ud800\udfff😀ąz"), max_size=200)
LIMITS = st.integers(min_value=40, max_value=120)
SECRET = secret_keys(DEFAULT_SECRET_KEYS)


def fits(text: str, limit: int) -> bool:
    return len(text.encode()) <= limit and "\0" not in text


@given(ANY_TEXT, LIMITS)
def test_identifier_fits_and_stays_as_it_is_when_made_again(text: str, limit: int) -> None:
    made = identifier(text, limit)
    assert fits(made, limit)
    assert identifier(made, limit) == made


@given(st.text("ab", min_size=41, max_size=60), st.text("ab", min_size=41, max_size=60))
def test_long_identifiers_that_differ_stay_apart(one: str, other: str) -> None:
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


def test_text_that_raises_when_asked_is_named() -> None:
    class Hostile:
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert text_of(Hostile()) == "<Hostile: its __str__ raises>"
    assert identifier(None, 10) == ""
    assert identifier(4711, 10) == "4711"


def test_meta_is_text_within_its_limits() -> None:
    assert small_map({1: None, "a": 2.5}) == {"1": "", "a": "2.5"}
    assert len(small_map({str(number): number for number in range(1000)})) == 50
    assert small_map("no mapping") == {}


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4) | st.tuples(inner)
    ),
    max_leaves=30,
)


@given(PLAIN)
def test_args_are_json_when_not_cut(value: object) -> None:
    text = args_json(value, SECRET, 10**6)
    json.loads(text)
    assert fits(text, 10**6)
    assert fits(args_json(value, SECRET, 64), 64)


KEYS = st.sampled_from(DEFAULT_SECRET_KEYS).flatmap(
    lambda key: st.sampled_from([key, key.upper(), key.replace("_", "-"), f"db_{key}", f"{key.title()}Value"])
)


@given(KEYS, st.integers(min_value=0, max_value=5), st.booleans())
def test_secret_keys_are_redacted_at_any_depth(key: str, depth: int, in_list: bool) -> None:
    value: Any = {key: "hunter2", "kept": 1}
    for _ in range(depth):
        value = [value] if in_list else {"inner": value}
    text = args_json(value, SECRET)
    assert "hunter2" not in text
    assert "[redacted]" in text
    assert '"kept": 1' in text


def test_what_is_not_json_is_given_as_text() -> None:
    class Odd:
        def __repr__(self) -> str:
            return "odd"

    assert json.loads(args_json({"o": Odd(), "b": b"xyz", "n": math.nan, "i": 10**30}, SECRET)) == {
        "o": "odd",
        "b": "[3 bytes]",
        "n": "nan",
        "i": "[integer beyond 64 bits]",
    }


def test_hostile_args_are_recorded_as_such() -> None:
    class Hostile(Mapping[str, str]):
        def __getitem__(self, key: str) -> str:
            raise RuntimeError("no")

        def __iter__(self) -> Iterator[str]:
            raise RuntimeError("no")

        def __len__(self) -> int:
            return 1

    endless: list[Any] = []
    endless.append(endless)
    assert "could not be recorded: RuntimeError" in args_json(Hostile(), SECRET)
    assert "[too deep]" in args_json(endless, SECRET)
    assert len(args_json(list(range(10**5)), SECRET)) < 2000
    assert len(args_json("x" * 10**7, SECRET).encode()) <= 8192


def test_passwords_in_urls_are_redacted() -> None:
    assert (
        without_url_passwords("cannot reach postgres://app:hunter2@db:5432/x")
        == "cannot reach postgres://app:[redacted]@db:5432/x"
    )
    assert "hunter2" not in args_json(["redis://:hunter2@cache"], SECRET)


@pytest.mark.parametrize("names", [[], ["", "--"]])
def test_no_names_match_nothing(names: list[str]) -> None:
    assert isinstance(secret_keys(names), re.Pattern)
    assert args_json({"a": 1}, secret_keys(names)) == '{"a": 1}'
