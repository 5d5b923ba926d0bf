"""Shows the demo's progress: a live line on a terminal, plain lines elsewhere."""

import contextlib
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator

_PLAIN_EVERY_SECONDS = 2.0
_NOTE_COLUMN = 32


class Screen:
    """Standard output."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()
        self._has_colours = self._is_terminal and not os.environ.get("NO_COLOR")
        self._live = ""
        self._said_at = 0.0

    @property
    def width(self) -> int:
        """The width in columns; 80 when not known."""
        return shutil.get_terminal_size().columns

    def say(self, text: str = "") -> None:
        """Print lines that stay."""
        self._clear()
        print(text, flush=True)

    def heading(self, *lines: str) -> None:
        """Print an empty line and a heading."""
        self.say()
        for line in lines:
            self.say(self._styled("1", line))

    def quote(self, command: str) -> None:
        """Print a command as a person would type it; on a terminal a long one is wrapped."""
        lines = self._wrapped(f"$ {command}", room_for=" \\")
        for line in lines[:-1]:
            self.say(self._styled("36", f"{line} \\"))
        self.say(self._styled("36", lines[-1]))

    def show(self, output: str) -> None:
        """Print a command's output. Lines too long for the terminal are cut if they have columns, else wrapped."""
        for line in output.rstrip("\n").splitlines():
            if not self._is_terminal or len(line) <= self.width:
                self.say(line)
            elif "  " in line.strip():
                self.say(line[: self.width - 1] + "…")
            else:
                self.say("\n".join(self._wrapped(line)))

    def done(self, text: str, note: str = "") -> None:
        """Print that a step succeeded."""
        line = f"{text:<{_NOTE_COLUMN}}  {self._styled('2', note)}" if note else text
        self.say(f"  {self._styled('32', '✓')} {line}")

    def failed(self, text: str) -> None:
        """Print that a step failed."""
        self.say(f"  {self._styled('31', '✗')} {text}")

    def now(self, text: str) -> None:
        """Show the progress: on a terminal in place of the last such line, elsewhere as a new line now and then."""
        if self._is_terminal:
            line = f"  … {text}"[: self.width - 1]
            if line != self._live:
                self._clear()
                print(line, end="", flush=True)
                self._live = line
        elif text != self._live and time.monotonic() - self._said_at >= _PLAIN_EVERY_SECONDS:
            print(f"  … {text}", flush=True)
            self._live, self._said_at = text, time.monotonic()

    @contextlib.contextmanager
    def step(self, text: str) -> Iterator[Callable[[str], None]]:
        """Show that a step is running, and how long it took when the block ends well.

        Yields a function that adds a note to the final line.
        """
        notes: list[str] = []
        began = time.monotonic()
        if self._is_terminal:
            self.now(text)
        yield notes.append
        self.done(text, "  ".join([f"{time.monotonic() - began:4.1f} s", *notes]))

    def _wrapped(self, line: str, room_for: str = "") -> list[str]:
        if not self._is_terminal:
            return [line]
        return textwrap.wrap(
            line, self.width - len(room_for), subsequent_indent="    ", break_on_hyphens=False
        )

    def _clear(self) -> None:
        if self._is_terminal and self._live:
            print("\r\x1b[2K", end="")
            self._live = ""

    def _styled(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._has_colours and text else text
