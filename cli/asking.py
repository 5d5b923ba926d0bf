"""Shared by all commands that query: settings, a connection, the namespace, common options, and printing."""

import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO, TypeVar

import click

from schemas.errors import OutputError

if TYPE_CHECKING:
    import psycopg

    from settings.answers import AnswersSettings
    from store.answers.verdicts import StuckRule

Command = TypeVar("Command", bound=Callable[..., Any])


class Asking(NamedTuple):
    """An open connection for queries, the settings, and the namespace from option or setting ('' if neither is given)."""

    connection: "psycopg.Connection"
    settings: "AnswersSettings"
    namespace: str

    def namespace_of(self, job: str) -> str:
        """Return the given namespace, else the only one that has the job. Raises InputError, NotFoundError."""
        from store.answers.scope import find_namespace

        return self.namespace or find_namespace(self.connection, job)

    @property
    def rule(self) -> "StuckRule":
        """Return the rule for verdicts, with the floors from the settings."""
        from store.answers.verdicts import StuckRule

        return StuckRule(
            self.settings.stuck_floor_seconds,
            self.settings.lost_floor_seconds,
            self.settings.lost_without_history_seconds,
        )


@contextmanager
def asking(namespace: str | None = None) -> Iterator[Asking]:
    """Connect for a query. Raises StoreError with the reason why the database could not answer, and the cure."""
    from settings.answers import AnswersSettings
    from settings.database import DatabaseSettings
    from store.causes import Access, store_errors
    from store.connection import connect
    from store.migrate import check_version

    settings = AnswersSettings.load(namespace=namespace)
    database = DatabaseSettings.load()
    with (
        store_errors("answer", database, Access.READ),
        connect(
            database,
            "jobtrail command",
            autocommit=True,
            statement_timeout_seconds=settings.answers_statement_timeout_seconds,
        ) as connection,
    ):
        check_version(connection)
        yield Asking(connection, settings, settings.namespace)


def json_option(command: Command) -> Command:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="Answer in JSON, for programs.")(command)


def namespace_option(command: Command) -> Command:
    """Add --namespace."""
    return click.option(
        "--namespace",
        metavar="NAME",
        help="Namespace to query (default: JOBTRAIL_NAMESPACE); inferred from an unambiguous job id.",
    )(command)


def limit_option(default: int, what: str) -> Callable[[Command], Command]:
    """Add --limit."""
    return click.option(
        "--limit",
        type=click.IntRange(1, 100_000),
        default=default,
        show_default=True,
        metavar="N",
        help=f"Show at most N {what}.",
    )


def edges_option(command: Command) -> Command:
    """Add --edges."""
    return click.option(
        "--edges",
        type=click.Choice(["spawned", "depends_on", "all"]),
        default="spawned",
        show_default=True,
        help="Follow who spawned whom, what had to finish first, or both.",
    )(command)


def say(text: str) -> bool:
    """Print to standard output. Return False when its reader has closed it, which is not an error.

    Raises OutputError when it cannot be written for another reason, such as a full disk.
    """
    try:
        click.echo(text)
    except BrokenPipeError:
        discard_output()
        return False
    except OSError as error:
        discard_output()
        raise OutputError(f"cannot write to standard output: {error.strerror}.") from error
    return True


def say_json(value: object) -> bool:
    """Print a value as JSON to standard output. Returns and raises the same as ``say``."""
    from store.answers.as_json import dumps

    return say(dumps(value))


def warn(text: str) -> None:
    """Print to standard error. Discard the text when standard error cannot be written."""
    try:
        click.echo(text, err=True)
    except OSError:
        _discard(sys.stderr)


def discard_output() -> None:
    """Discard what is written to standard output from now on, and what is buffered: Python would write it again at exit."""
    _discard(sys.stdout)


def is_read() -> bool:
    """Return whether standard output can still be read: False for a pipe or a terminal that was closed."""
    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, ValueError, OSError):  # closed from the start, or replaced by a test
        return True
    output = select.poll()
    output.register(descriptor, 0)
    return not any(event & (select.POLLERR | select.POLLHUP) for _, event in output.poll(0))


def _discard(stream: TextIO) -> None:
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())
