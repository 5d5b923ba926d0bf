"""Descriptions of an exception: category by table, origin in the job's own code, both ends of the trace."""

import asyncio
import json
import re
import sys
import traceback
import types
from collections.abc import Callable

import pytest

from jobtrail._classify import category_of, error_of, origin_of
from jobtrail._redaction import Redactor
from jobtrail._stack import capture, render, size_of
from jobtrail._text import STACKTRACE_LIMIT

RULES = Redactor()


class BookingError(ValueError):
    pass


class SoldOut(BookingError):
    jobtrail_category = "sold_out"
    jobtrail_fingerprint = "sold-out"


def raised(function: Callable[[], object]) -> Exception:
    try:
        function()
    except Exception as error:  # noqa: BLE001  # any exception is tested
        return error
    raise AssertionError("nothing was raised")


def fail() -> None:
    raise BookingError("no seats")


@pytest.mark.parametrize(
    ("error", "category"),
    [
        (TimeoutError(), "timeout"),
        (ConnectionResetError(), "connection"),
        (PermissionError(), "permission"),
        (FileNotFoundError(), "not_found"),
        (json.JSONDecodeError("x", "", 0), "invalid_data"),
        (KeyError("x"), "invalid_data"),
        (MemoryError(), "out_of_memory"),
        (AssertionError(), "assertion"),
        (asyncio.CancelledError(), "cancelled"),
        (RuntimeError(), "error"),
        (ExceptionGroup("two", [TimeoutError(), ValueError()]), "timeout"),
        (SoldOut(), "sold_out"),
    ],
)
def test_default_categories(error: BaseException, category: str) -> None:
    assert category_of(error, {}) == category


def test_table_of_the_user_comes_first_by_class_or_name_along_the_mro() -> None:
    here = f"{BookingError.__module__}.BookingError"
    assert category_of(BookingError(), {ValueError: "bad_input"}) == "bad_input"
    assert category_of(BookingError(), {ValueError: "bad_input", here: "booking"}) == "booking"
    assert category_of(TimeoutError(), {"builtins.OSError": "system"}) == "system"


def test_error_has_type_message_and_fingerprint() -> None:
    error = error_of(SoldOut("showtime 4711"), {}, ())
    assert error["type"].endswith("test_classify.SoldOut")
    assert (error["message"], error["fingerprint"]) == ("showtime 4711", "sold-out")


def test_origin_is_the_innermost_frame_outside_installed_code() -> None:
    error = raised(lambda: json.loads("{"))
    assert origin_of(error.__traceback__, ()).endswith(
        "test_classify:test_origin_is_the_innermost_frame_outside_installed_code.<locals>.<lambda>"
    )
    assert origin_of(None, ()) == ""


def test_own_code_limits_the_search_for_the_origin() -> None:
    library = types.ModuleType("kino.fetch")
    exec("def fetch(go):\n    return go()", vars(library))
    error = raised(lambda: library.fetch(fail))
    assert origin_of(error.__traceback__, ("kino",)) == "kino.fetch:fetch"
    assert origin_of(error.__traceback__, ("kinoteka",)).endswith(":fail")


def test_trace_prints_as_python_prints_it() -> None:
    def outer() -> None:
        try:
            fail()
        except BookingError as problem:
            raise RuntimeError("import failed") from problem

    error = raised(outer)
    error.add_note("while importing")
    expected = "".join(traceback.format_exception(error))
    without_underlining = [line for line in expected.splitlines() if not re.fullmatch(r" +[~^]+", line)]
    assert without_underlining == render(capture(error), RULES).splitlines()


def test_members_of_a_group_are_printed() -> None:
    group = ExceptionGroup("two", [raised(fail), TimeoutError("late")])
    text = render(capture(group), RULES)
    assert "BookingError: no seats" in text
    assert "TimeoutError: late" in text


def test_long_trace_keeps_both_ends_within_its_limit() -> None:
    deep = raised(lambda: _descend(sys.getrecursionlimit()))
    text = render(capture(deep), RULES)
    assert "outer frames left out" in text
    assert (
        text.endswith("RecursionError: maximum recursion depth exceeded\n") or "RecursionError" in text[-300:]
    )
    chained: BaseException = ValueError("x" * 10_000)
    for number in range(20):
        following = RuntimeError(f"{number} " + "y" * 4_000)
        following.__cause__ = chained
        chained = following
    text = render(capture(chained), RULES)
    assert len(text.encode()) <= STACKTRACE_LIMIT
    assert "…[cut]" in text
    assert size_of(capture(chained)) < 10_000


def _descend(depth: int) -> int:
    return _descend(depth - 1) + 1


def test_captured_trace_keeps_no_variables_alive() -> None:
    import gc
    import weakref

    class Big:
        pass

    def run() -> "tuple[weakref.ref[Big], object]":
        big = Big()
        return weakref.ref(big), capture(raised(lambda: int(str(big))))

    reference, kept = run()
    gc.collect()
    assert reference() is None
    assert kept


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")

    def __getattribute__(self, name: str) -> object:
        if name.startswith("jobtrail"):
            raise RuntimeError("no")
        return super().__getattribute__(name)


def test_unprintable_exception_is_still_described() -> None:
    def throw() -> None:
        raise Unprintable

    error = error_of(raised(throw), {}, ())
    assert error["message"] == "<Unprintable: its __str__ raises>"
    assert error["origin"].endswith(":test_unprintable_exception_is_still_described.<locals>.throw")
