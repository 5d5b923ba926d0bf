"""`jobtrail dead-letters …`: inspect, retry and delete messages that were not valid events."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cli.asking import asking, json_option, limit_option, say, say_json, warn
from cli.times import PastTime
from schemas.dead_letter_reasons import DeadLetterReason

if TYPE_CHECKING:
    import psycopg

    from consumers.retry import LetterDecoder, Retried
    from store.writing.dead_letters import DeadLetterFilter

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group("dead-letters", short_help="Inspect, retry or delete messages that are not events.")
def dead_letters() -> None:
    """Inspect, retry or delete messages that were not valid events."""


def _reason_option(command: Command) -> Command:
    words = [reason.value for reason in DeadLetterReason]
    return click.option(
        "--reason", type=click.Choice(words), metavar="WORD", help="Only those with this reason: malformed, …"
    )(command)


def _topic_option(command: Command) -> Command:
    return click.option(
        "--topic", metavar="TOPIC", help="Only those of this topic, including its partition."
    )(command)


@dead_letters.command("list")
@_reason_option
@_topic_option
@click.option(
    "--since", type=PastTime(), metavar="TIME", help="Only those published since: 30m, 24h, 7d, or a time."
)
@limit_option(50, "dead letters")
@json_option
def list_letters(
    reason: str | None, topic: str | None, since: datetime | None, limit: int, as_json: bool
) -> None:
    """Count dead letters by reason, and list the newest."""
    from cli.render.dead_letters import letters_json, letters_page
    from store.answers.dead_letters import get_dead_letters

    with asking() as ask:
        found = get_dead_letters(ask.connection, reason=reason, topic=topic, since=since, limit=limit)
    if as_json:
        say_json(letters_json(found))
    else:
        say(letters_page(found))


@dead_letters.command(short_help="Show one dead letter: its bytes, and what they hold.")
@click.argument("message")
@_topic_option
@json_option
def show(message: str, topic: str | None, as_json: bool) -> None:
    """Show one dead letter by its MESSAGE id: its bytes, and what they decode to."""
    from cli.render.dead_letters import letter_json, letter_page
    from store.answers.dead_letters import get_dead_letter

    with asking() as ask:
        found = get_dead_letter(ask.connection, message, topic=topic)
    if as_json:
        say_json(letter_json(found))
    else:
        say(letter_page(found))


@dead_letters.command(short_help="Read dead letters again, and store those that are events.")
@click.argument("message", required=False)
@_reason_option
@_topic_option
@click.option("--all", "every", is_flag=True, help="All of them.")
@click.option(
    "--schema-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The Avro schema they were written with, where the broker has lost it.",
)
@click.option(
    "--schema-version",
    type=click.IntRange(0),
    metavar="N",
    help="Decode by this schema version of the broker, not by the version in each message.",
)
@json_option
@click.pass_context
def retry(
    context: click.Context,
    message: str | None,
    reason: str | None,
    topic: str | None,
    every: bool,
    schema_file: Path | None,
    schema_version: int | None,
    as_json: bool,
) -> None:
    """Retry dead letters: one MESSAGE, those with a reason or topic, or --all.

    A message that can be decoded now is stored, and its dead letter is removed in the same transaction. Exits with 1 when
    any dead letter is left.
    """
    from cli.render.dead_letters import retried_json, retried_page
    from consumers.process.barriers import reached
    from consumers.retry import retry as try_again

    chosen = _filter(message, reason, topic, every=every)
    with _writing() as connection, _decoder(schema_file, schema_version) as decode:
        if message is not None:
            _require_one(connection, message, topic)
        done = try_again(
            connection,
            decode,
            chosen,
            keep_reasons=schema_file is not None or schema_version is not None,
            reached=reached,
            on_part=_print_progress,
        )
    if as_json:
        say_json(retried_json(done))
    else:
        say(retried_page(done))
    if done.left:
        context.exit(1)


@dead_letters.command()
@click.argument("message", required=False)
@_reason_option
@_topic_option
@click.option(
    "--before", type=PastTime(), metavar="TIME", help="Only those published before: 30d, or a time."
)
@click.option("--all", "every", is_flag=True, help="All of them.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_context
def purge(
    context: click.Context,
    message: str | None,
    reason: str | None,
    topic: str | None,
    before: datetime | None,
    every: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Delete dead letters permanently. A rebuild restores those that are still in the topic."""
    from cli.render.words import plural
    from store.writing.dead_letters import count_matching
    from store.writing.dead_letters import purge as delete

    chosen = _filter(message, reason, topic, every=every, before=before)
    with _writing() as connection:
        if message is not None:
            _require_one(connection, message, topic)
        count = count_matching(connection, chosen)
        if count and not yes:
            warn(f"{plural(count, 'dead letter')} would be deleted, with their payloads.")
            if not click.confirm("Delete them?", err=True):
                warn("nothing was deleted.")
                context.exit(1)
        deleted = sum(delete(connection, chosen)) if count else 0
    if as_json:
        say_json({"deleted": deleted})
    else:
        say(f"deleted {plural(deleted, 'dead letter')}.")


def _filter(
    message: str | None,
    reason: str | None,
    topic: str | None,
    *,
    every: bool,
    before: datetime | None = None,
) -> "DeadLetterFilter":
    """Return the filter that the options give. Raises UsageError without any, so that nothing is deleted by accident."""
    from store.answers.dead_letters import stored_message_id
    from store.writing.dead_letters import DeadLetterFilter

    named = [value for value in (message, reason, topic, before) if value is not None]
    if every == bool(named):
        raise click.UsageError(
            "select dead letters by a message, --reason, --topic …, or use --all; not both."
        )
    return DeadLetterFilter(reason, topic, stored_message_id(message) if message else None, before)


def _require_one(connection: "psycopg.Connection", message: str, topic: str | None) -> None:
    """Check that exactly one topic has this dead letter. Raises NotFoundError or InputError."""
    from store.answers.dead_letters import get_dead_letter

    get_dead_letter(connection, message, topic=topic)


@contextmanager
def _writing() -> "Iterator[psycopg.Connection]":
    """Connect to write to tables of this release, as the aggregator does. Raises StoreError when the database fails."""
    from derive.fingerprint import VERSION
    from settings.database import DatabaseSettings
    from store.causes import Access, store_errors
    from store.connection import connect
    from store.migrate import check_version
    from store.writing.writer import check_fingerprint_version

    settings = DatabaseSettings.load()
    with (
        store_errors("change the dead letters", settings, Access.CHANGE),
        connect(settings, "jobtrail command") as connection,
    ):
        check_version(connection)
        check_fingerprint_version(connection, VERSION)
        connection.rollback()
        yield connection


@contextmanager
def _decoder(schema_file: Path | None, schema_version: int | None) -> "Iterator[LetterDecoder]":
    """Return a decoder by the schema in a file, or by the broker's registry."""
    if schema_file is not None:
        if schema_version is not None:
            raise click.UsageError("use --schema-file or --schema-version, not both.")
        from cli.event_files import schema_decoder

        by_file = schema_decoder(schema_file)
        yield lambda letter: by_file(letter.payload)
        return
    from broker.client import connect
    from consumers.retry import broker_decoder
    from settings.broker import BrokerSettings

    settings = BrokerSettings.load()
    client = connect(settings, log_file=os.devnull)
    try:
        yield broker_decoder(client, settings, schema_version)
    finally:
        client.close()


def _print_progress(done: "Retried") -> None:
    """Print progress to standard error, only if that is a terminal."""
    if sys.stderr.isatty():
        click.echo(f"\rtried {done.tried}, stored {done.stored}", err=True, nl=False)
