"""`jobtrail dead-letters …`: messages that were no valid event; look at them, try them again, delete them."""

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


@click.group("dead-letters")
def dead_letters() -> None:
    """Messages that were no valid event: why, how many, and what to do."""


def _reason_option(command: Command) -> Command:
    words = [reason.value for reason in DeadLetterReason]
    return click.option(
        "--reason", type=click.Choice(words), metavar="WORD", help="Only those of this reason: malformed, …"
    )(command)


def _topic_option(command: Command) -> Command:
    return click.option("--topic", metavar="TOPIC", help="Only those of this topic, the partition included.")(
        command
    )


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


@dead_letters.command()
@click.argument("message")
@_topic_option
@json_option
def show(message: str, topic: str | None, as_json: bool) -> None:
    """Show one dead letter by the id of its MESSAGE: its bytes, and what they read as."""
    from cli.render.dead_letters import letter_json, letter_page
    from store.answers.dead_letters import get_dead_letter

    with asking() as ask:
        found = get_dead_letter(ask.connection, message, topic=topic)
    if as_json:
        say_json(letter_json(found))
    else:
        say(letter_page(found))


@dead_letters.command()
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
    help="Decode by this version of the broker's instead of the one each message names.",
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
    """Try dead letters again: the MESSAGE named, or those of a reason or topic, or --all.

    What can be read now is stored, and its dead letter removed, in one transaction. Ends with 1 when any is left.
    """
    from cli.render.dead_letters import retried_json, retried_page
    from consumers.process.barriers import reached
    from consumers.retry import retry as try_again

    wanted = _wanted(message, reason, topic, every=every)
    with _writing() as connection, _decoder(schema_file, schema_version) as decode:
        if message is not None:
            _demand_one(connection, message, topic)
        done = try_again(
            connection,
            decode,
            wanted,
            keep_reasons=schema_file is not None or schema_version is not None,
            reached=reached,
            on_part=_say_progress,
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
    """Delete dead letters for good. A rebuild brings back those that the topic still has."""
    from cli.render.words import plural
    from store.writing.dead_letters import count_matching
    from store.writing.dead_letters import purge as delete

    wanted = _wanted(message, reason, topic, every=every, before=before)
    with _writing() as connection:
        if message is not None:
            _demand_one(connection, message, topic)
        count = count_matching(connection, wanted)
        if count and not yes:
            warn(f"{plural(count, 'dead letter')} would be deleted, payloads and all.")
            if not click.confirm("Delete them?", err=True):
                warn("nothing was deleted.")
                context.exit(1)
        deleted = sum(delete(connection, wanted)) if count else 0
    if as_json:
        say_json({"deleted": deleted})
    else:
        say(f"deleted {plural(deleted, 'dead letter')}.")


def _wanted(
    message: str | None,
    reason: str | None,
    topic: str | None,
    *,
    every: bool,
    before: datetime | None = None,
) -> "DeadLetterFilter":
    """What the options name. Raises UsageError unless they name something, so that nothing is meant by accident."""
    from store.answers.dead_letters import stored_message_id
    from store.writing.dead_letters import DeadLetterFilter

    named = [value for value in (message, reason, topic, before) if value is not None]
    if every == bool(named):
        raise click.UsageError("say which: a message, --reason, --topic … or --all, and not both.")
    return DeadLetterFilter(reason, topic, stored_message_id(message) if message else None, before)


def _demand_one(connection: "psycopg.Connection", message: str, topic: str | None) -> None:
    """Raises NotFoundError or InputError unless exactly one topic has such a dead letter."""
    from store.answers.dead_letters import get_dead_letter

    get_dead_letter(connection, message, topic=topic)


@contextmanager
def _writing() -> "Iterator[psycopg.Connection]":
    """A connection that writes as the aggregator does, to tables of this release; what fails is a StoreError."""
    from derive.fingerprint import VERSION
    from settings.database import DatabaseSettings
    from store.causes import Access, store_errors
    from store.connection import connect
    from store.migrate import check_version
    from store.writing.writer import check_fingerprint_version

    settings = DatabaseSettings.load()
    with store_errors("do it", settings, Access.CHANGE), connect(settings, "jobtrail command") as connection:
        check_version(connection)
        check_fingerprint_version(connection, VERSION)
        connection.rollback()
        yield connection


@contextmanager
def _decoder(schema_file: Path | None, schema_version: int | None) -> "Iterator[LetterDecoder]":
    """By the schema in a file, or by the broker's registry."""
    if schema_file is not None:
        if schema_version is not None:
            raise click.UsageError("--schema-file and --schema-version are two answers to one question.")
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


def _say_progress(done: "Retried") -> None:
    """On standard error, and only where a person looks on."""
    if sys.stderr.isatty():
        click.echo(f"\rtried {done.tried}, stored {done.stored}", err=True, nl=False)
