"""The entry point: the list of commands, and their exit statuses.

0: done, or the answer is yes. 1: the answer is no (no such job, gaps, differences). 2: it could not be done; one line on
standard error says why, and JOBTRAIL_TRACEBACK=1 adds a traceback. 130: interrupted by Ctrl-C; nothing is printed. When the
reader of a pipe closes it, the command ends as if everything had been read.
"""

import contextlib
import json
import os
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from cli.asking import discard_output, is_read, warn
from cli.dead_letters import dead_letters
from cli.events import events
from cli.failures import failures
from cli.importing import import_group
from cli.lineage import lineage
from cli.operate import aggregate, metrics, migrate, provision
from cli.rebuild import rebuild
from cli.retain import retain
from cli.runs import runs
from cli.sources import sources
from cli.verify import verify
from schemas.errors import JobtrailError, NotFoundError, OutputError, SettingsError
from schemas.redaction import redact

ANSWER_IS_NO = 1
COULD_NOT_BE_DONE = 2
INTERRUPTED = 130
TRACEBACK_VARIABLE = "JOBTRAIL_TRACEBACK"

_SERVICES = {"aggregate": "aggregator", "metrics": "metrics"}
"""The commands that are services, and the names in their logs. They warn of unknown settings there, not on standard error."""


def _print_version(context: click.Context) -> None:
    from settings.version import installed_version

    click.echo(f"jobtrail {installed_version()}")
    context.exit(0)


class _Jobtrail(click.Group):
    """A click group that passes interruptions and closed pipes on to ``run``.

    click itself would print an empty line for an interruption, and exit with status 1 for a closed pipe.
    """

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        try:
            return super().make_context(*args, **more)
        except KeyboardInterrupt as error:
            raise _InterruptedError from error
        except BrokenPipeError as error:  # --help and --version are printed here
            raise _UnreadError from error

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; name the group of one that is looked for at the top."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            groups = [
                name
                for name, group in self.commands.items()
                if isinstance(group, click.Group) and args[0] in group.commands
            ]
            if not groups:
                raise
            meant = " or ".join(f"`{ctx.command_path} {name} {args[0]}`" for name in groups)
            raise click.UsageError(f"No such command '{args[0]}'. Did you mean {meant}?", ctx) from error

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _InterruptedError from error
        except BrokenPipeError as error:
            if not is_read():  # the --help of a command below is printed here
                raise _UnreadError from error
            raise OutputError("something that this command writes to was closed.") from error


class _InterruptedError(Exception):
    """The user pressed Ctrl-C."""


class _UnreadError(Exception):
    """The reader of the output has closed it, so nothing is left to do."""


@click.group(
    cls=_Jobtrail, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda context, _, asked: _print_version(context) if asked else None,
    help="Show the version and exit.",
)
@click.pass_context
def command(context: click.Context) -> None:
    """What failed, why, how often, and what did it hold up?"""
    if context.invoked_subcommand not in _SERVICES:
        _warn_of_unknown_names()


for _command in (
    lineage,
    failures,
    runs,
    sources,
    dead_letters,
    events,
    verify,
    provision,
    migrate,
    aggregate,
    metrics,
    rebuild,
    retain,
    import_group,
):
    command.add_command(_command)


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit with its status."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        status = command.main(arguments, prog_name="jobtrail", standalone_mode=False)
    except click.ClickException as error:
        return _refuse(error, arguments)
    except click.Abort as error:
        if isinstance(error.__context__, EOFError):
            return _complain(
                "expected an answer, got the end of the input: nothing was done.", COULD_NOT_BE_DONE
            )
        return INTERRUPTED
    except _InterruptedError:
        return INTERRUPTED
    except _UnreadError:
        discard_output()
        return 0
    except NotFoundError as error:
        return _complain(error, ANSWER_IS_NO, arguments)
    except SettingsError as error:
        if arguments[0] in _SERVICES:  # it has no log yet, and a missing setting may be a misspelt one
            _warn_of_unknown_names()
        return _complain(error, COULD_NOT_BE_DONE, arguments)
    except JobtrailError as error:
        return _complain(error, COULD_NOT_BE_DONE, arguments)
    except Exception as error:  # noqa: BLE001 - the last resort: report a bug of jobtrail in one line
        return _complain(
            f"{type(error).__name__}: {error}. This is a defect of jobtrail; {TRACEBACK_VARIABLE}=1 shows where.",
            COULD_NOT_BE_DONE,
            arguments,
        )
    return status if isinstance(status, int) else 0


def _refuse(error: click.ClickException, arguments: Sequence[str]) -> int:
    """Print what is wrong with the arguments, with a hint for an argument that was read as an option."""
    with contextlib.suppress(BrokenPipeError):
        error.show()
    if isinstance(error, click.NoSuchOption) and not error.possibilities and error.ctx is not None:
        taken = next((word for word in arguments if word.startswith(error.option_name)), error.option_name)
        if any(isinstance(parameter, click.Argument) for parameter in error.ctx.command.params):
            warn(
                f"An id or a file that begins with - goes after --: {error.ctx.command_path} -- {shlex.quote(taken)}"
            )
    return COULD_NOT_BE_DONE


def _warn_of_unknown_names() -> None:
    from cli.render.safe_text import safe
    from settings.names import unknown_names

    for unknown in unknown_names():
        warn(f"jobtrail: {safe(unknown, 500)}")


def _complain(what: object, status: int, arguments: Sequence[str] = ()) -> int:
    from cli.render.safe_text import safe

    if os.environ.get(TRACEBACK_VARIABLE):
        import traceback

        warn(redact(traceback.format_exc()))
    said = " ".join(redact(str(what)).split())
    service = _SERVICES.get(arguments[0]) if arguments else None
    if service and _logs_json():
        warn(_last_line(said, status, service))
    else:
        warn(f"jobtrail: {safe(said, 2_000)}")
    return status


def _logs_json() -> bool:
    from settings.service import ServiceSettings

    try:
        return ServiceSettings.load().log_format == "json"
    except SettingsError:
        return False


def _last_line(error: str, status: int, service: str) -> str:
    """Return the last line of a service's log in JSON, in the form of the lines before it."""
    moment = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    fields = {"error": error, "status": status, "event": "ended", "service": service, "level": "error"}
    return json.dumps({**fields, "timestamp": moment})


if __name__ == "__main__":
    main()
