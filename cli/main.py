"""The entry point: the commands, and how each ends.

0: done, or the answer is yes. 1: the answer is no (no such job, gaps, differences). 2: it could not be done. What went
wrong goes to standard error in one line. A traceback is for whoever sets JOBTRAIL_TRACEBACK=1.
"""

import os
import sys

import click

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
from schemas.errors import JobtrailError, NotFoundError
from schemas.redaction import redact

ANSWER_IS_NO = 1
COULD_NOT_BE_DONE = 2
TRACEBACK_VARIABLE = "JOBTRAIL_TRACEBACK"


def _say_version(context: click.Context) -> None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        installed = version("jobtrail-pipeline")
    except PackageNotFoundError:  # run from a checkout that was not installed
        installed = "(not installed)"
    click.echo(f"jobtrail {installed}")
    context.exit(0)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda context, _, asked: _say_version(context) if asked else None,
    help="Say the version.",
)
def command() -> None:
    """What failed, why, how often, and what did it hold up?"""


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
    """Run the command and end the process with its status."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    try:
        status = command.main(arguments, prog_name="jobtrail", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return COULD_NOT_BE_DONE
    except (click.Abort, KeyboardInterrupt):
        return _complain("interrupted before it was done", COULD_NOT_BE_DONE)
    except NotFoundError as error:
        return _complain(error, ANSWER_IS_NO)
    except JobtrailError as error:
        return _complain(error, COULD_NOT_BE_DONE)
    except BrokenPipeError:
        # Whoever read our output has enough. What is buffered must not be tried again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - the last place: a defect of ours, said in a line and ended with 2
        return _complain(
            f"{type(error).__name__}: {error}. This is a defect of jobtrail; {TRACEBACK_VARIABLE}=1 shows where.",
            COULD_NOT_BE_DONE,
        )
    return status if isinstance(status, int) else 0


def _complain(what: object, status: int) -> int:
    from cli.render.safe_text import safe

    if os.environ.get(TRACEBACK_VARIABLE):
        import traceback

        click.echo(redact(traceback.format_exc()), err=True)
    click.echo(f"jobtrail: {safe(' '.join(redact(str(what)).split()), 2_000)}", err=True)
    return status


if __name__ == "__main__":
    main()
