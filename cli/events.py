"""`jobtrail events …`: for authors of publishers. Watch events arrive, and check them before they are sent."""

import os
from collections.abc import Generator, Mapping
from contextlib import closing
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.asking import is_read, json_option, say, say_json
from cli.times import PastTime
from schemas.contract import STATES

if TYPE_CHECKING:
    from broker.registry import WriterSchemas
    from schemas.contract import Event

_WAIT_SECONDS = 0.25
"""How soon the command notices an interruption, or that its reader has closed the pipe."""

_MOST_SEEN = 10_000
_NAMES = {"namespace": "namespace", "worker": "worker", "source": "source", "job_id": "job"}


@click.group()
def events() -> None:
    """Watch and check events, for authors of publishers."""


@events.command(short_help="Show the events of the topic, one per line.")
@click.option("--namespace", metavar="NAME", help="Only events of this namespace.")
@click.option("--worker", metavar="NAME", help="Only events of this worker.")
@click.option("--job", metavar="ID", help="Only events of this job.")
@click.option("--state", type=click.Choice(STATES), help="Only events of this state.")
@click.option("--source", metavar="NAME", help="Only events of this source.")
@click.option(
    "--since",
    type=PastTime(),
    metavar="TIME",
    help="Show events published since 10m, 24h, or a time; then end, unless --follow or --count.",
)
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after N lines.")
@click.option(
    "--follow/--no-follow",
    default=None,
    help="Whether to wait for new events; the default, except for --since without --count.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for programs.")
def tail(
    namespace: str | None,
    worker: str | None,
    job: str | None,
    state: str | None,
    source: str | None,
    since: datetime | None,
    count: int | None,
    follow: bool | None,
    as_json: bool,
) -> None:
    """Show the topic's events, one per line, and messages that are not valid events with the reason.

    Follows the topic until Ctrl-C. With --since, shows what was published and ends. Reads without a subscription, so
    consumers lose nothing.
    """
    wanted = {
        "namespace": namespace,
        "worker": worker,
        "job_id": job.removeprefix("#") if job else None,
        "state": state,
        "source": source,
    }
    asked = {name: value for name, value in wanted.items() if value is not None}
    goes_on = follow if follow is not None else since is None or count is not None
    with closing(_lines(asked, since, as_json, follow=goes_on)) as lines:
        for line in islice(lines, count):
            if not say(line):
                return


def _lines(
    asked: Mapping[str, str], since: datetime | None, as_json: bool, *, follow: bool
) -> Generator[str]:
    """Yield a line for each message. End when the output is closed and, unless it follows, at the end of the topic."""
    from broker.client import connect
    from broker.reach import check_reachable
    from broker.registry import WriterSchemas
    from broker.tail import has_more, next_message, open_reader
    from settings.broker import BrokerSettings

    settings = BrokerSettings.load()
    check_reachable(settings)
    client = connect(settings, log_file=os.devnull)
    seen: dict[str, set[str]] = {name: set() for name in asked}
    try:
        schemas = WriterSchemas(client, settings)
        with open_reader(client, settings, since) as reader:
            while is_read() and (follow or has_more(reader, settings)):
                message = next_message(reader, settings, _WAIT_SECONDS)
                line = None if message is None else _line(message, schemas, asked, seen, as_json)
                if line is not None:
                    yield line
        if asked and not follow and is_read():
            _require_seen(asked, seen)
    finally:
        client.close()


def _require_seen(asked: Mapping[str, str], seen: Mapping[str, set[str]]) -> None:
    """Raise NotFoundError if no event has one of the names that were asked for: it may be misspelt."""
    from schemas.errors import NotFoundError
    from store.answers.names import require_known

    for name, what in _NAMES.items():
        if name in asked and not seen[name]:
            raise NotFoundError("no event was published in that time.")
        if name in asked:
            require_known(what, asked[name], sorted(seen[name]))


def _line(
    message: Any,
    schemas: "WriterSchemas",
    asked: Mapping[str, str],
    seen: Mapping[str, set[str]],
    as_json: bool,
) -> str | None:
    """Return the line for a message; None when the filters exclude it. Invalid messages pass every filter.

    The event's values of the fields with a filter are added to ``seen``.
    """
    from cli.render.events import event_json, event_line, invalid_json, invalid_line
    from consumers.receiving.decode import dead_letter
    from schemas.errors import DecodeError

    try:
        event: Event = schemas.decode(message)
    except DecodeError as error:
        letter = dead_letter(message, error.reason, error.detail)
        return invalid_json(letter) if as_json else invalid_line(letter)
    for name, values in seen.items():
        value = getattr(event, name)
        if len(values) < _MOST_SEEN or value == asked[name]:
            values.add(value)
    if any(getattr(event, name) != value for name, value in asked.items()):
        return None
    if as_json:
        return event_json(event, message.topic_name(), str(message.message_id()))
    return event_line(event)


@events.command(short_help="Check the events in files before they are sent.")
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--schema-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Schema of Avro data that has none in the file; by default the contract of this release.",
)
@json_option
@click.pass_context
def validate(context: click.Context, files: tuple[str, ...], schema_file: Path | None, as_json: bool) -> None:
    """Check the events in FILES (- is standard input): JSON, JSON Lines, one Avro datum, or an Avro container.

    JSON may be in UTF-8, UTF-16 or UTF-32, and files may be compressed by gzip, bzip2 or xz. Says why an event would become a
    dead letter, and exits with 1 if any would.
    """
    from cli.event_files import check_file, schema_decoder
    from cli.render.events import advice_only, checked_line, problem_json, problem_line
    from schemas.contract import SCHEMA_TEXT
    from schemas.decode import decoder

    decode = schema_decoder(schema_file) if schema_file else decoder(SCHEMA_TEXT)
    checked = [one for name in files for one in check_file(name, decode)]
    advised = sum(advice_only(one.problems) for one in checked)
    invalid = sum(bool(one.problems) for one in checked) - advised
    found = [(one.file, one.place, problem) for one in checked for problem in one.problems]
    if as_json:
        say_json(
            {
                "events": len(checked),
                "invalid": invalid,
                "problems": [problem_json(*one) for one in found],
            }
        )
    else:
        for one in found:
            say(problem_line(*one))
        say(checked_line(len(checked), invalid, advised))
    if invalid:
        context.exit(1)
