"""Fingerprints: varying parts of a message are masked, distinguishing ones are kept, and no message takes long."""

import os
import re
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derive.fingerprint import fingerprint, title


def same(one: str, other: str, origin: str = "") -> bool:
    return fingerprint("Error", one, origin, "") == fingerprint("Error", other, origin, "")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("movie 4711 is not ready", "movie 12 is not ready"),
        ("took 30.5 s", "took 2 s"),
        ("GET https://a.example/x?id=1 failed", "GET https://b.example/y/2?q=z failed"),
        ("job 6f9619ff-8b86-d011-b42d-00c04fc964ff gone", "job 11111111-2222-3333-4444-555555555555 gone"),
        ("at 2026-11-22T20:51:03Z", "at 2025-01-01 00:00:00.5+02:00"),
        ("cannot connect to 10.0.0.1:5432", "cannot connect to 192.168.1.20:5433"),
        ("cannot read /tmp/a1/b.txt", "cannot read /var/lib/x/y.json"),
        ("mail to anna@example.org bounced", "mail to bob.b@mail.example.com bounced"),
        ("ids 1, 2, 3 missing", "ids 7 missing"),
        ("object at 0x7f00aa", "object at 0x55"),
        (
            "commit 3f786850e387550fdab836ed7e6dc881de23001b",
            "commit 89e6c98d92887913cadf06b2adb97f26cde4849b",
        ),
    ],
)
def test_varying_parts_of_a_message_make_no_difference(one: str, other: str) -> None:
    """Numbers, ids, times, addresses and paths are masked, so the failures are one group."""
    assert same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("HTTP 500 from the server", "HTTP 404 from the server"),
        ("exit code 1", "exit code 137"),
        ("status: 503", "status: 429"),
        ("timed out", "refused"),
        ("column 'title' does not exist", "column 'year' does not exist"),
    ],
)
def test_parts_that_distinguish_failures_are_kept(one: str, other: str) -> None:
    """A status, an exit code, a reason, and without an origin a quoted identifier, are kept."""
    assert not same(one, other)


def test_quoted_data_is_masked_if_the_origin_distinguishes_failures() -> None:
    """The names of films differ, but the origin is the same."""
    assert same("no hall for 'Cinema Paradiso'", 'no hall for "Żegnaj, Królowo"', origin="app.halls:find")
    assert not same("no hall", "no hall 'x'", origin="app.halls:find")
    assert fingerprint("E", "m", "a:f", "") != fingerprint("E", "m", "a:g", "")


def test_the_publishers_own_fingerprint_is_used_unchanged() -> None:
    """Then the message does not matter."""
    assert fingerprint("E", "one", "", "mine") == fingerprint("E", "other", "", "mine") == "mine"


def test_a_shorter_number_before_the_cut_does_not_split_a_group() -> None:
    """Long messages are cut; text after the cut must not move into the key."""
    tail = "".join(f" word{chr(97 + index % 26)}" for index in range(400))
    assert same("movie 1 failed" + tail, "movie 1234567 failed" + tail)


def test_the_title_is_one_line_and_names_the_type_if_there_is_no_message() -> None:
    """A person reads it in a list."""
    assert title("MovieNotReady", "movie 12\n is  not ready", "") == "movie <n> is not ready"
    assert title("Timeout\nError", "", "") == "Timeout Error"


@given(st.text(max_size=3000), st.text(max_size=50), st.booleans())
def test_any_text_has_a_fingerprint_and_a_title(message: str, error_type: str, with_origin: bool) -> None:
    """No text raises an error, and a title is one line."""
    origin = "module:function" if with_origin else ""
    assert re.fullmatch(r"[0-9a-f]+", fingerprint(error_type, message, origin, ""))
    assert "\n" not in title(error_type, message, origin)


def test_another_process_computes_the_same_fingerprints() -> None:
    """With another hash seed and an empty cache: a rebuild a year later finds the same groups."""
    program = (
        "from derive.fingerprint import fingerprint, id_of_group\n"
        "for message in ('movie 12 is not ready', '', 'Zażółć\\u2028gęślą', 'x' * 5000):\n"
        "    own = fingerprint('E', message, 'module:function', '')\n"
        "    print(own, id_of_group(('n', 's', 'c', 'E', own)))\n"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1
    assert len(set(printed.pop().splitlines())) == 4


@pytest.mark.parametrize(
    "unit", ["a", "1", "/", "'", '"', "a.", "a@", "/tmp", "0x", "1.", "a:", " ", "deadbeef1", "://", "é"]
)
def test_hostile_messages_take_no_longer_than_others(unit: str) -> None:
    """20 kB of any one pattern is masked within 50 ms, because every quantifier and the examined text are bounded."""
    message = unit * (20_000 // len(unit))
    started = time.process_time()
    fingerprint("E", message, "", "")
    fingerprint("E", message, "origin:f", "")
    assert time.process_time() - started < 0.05
