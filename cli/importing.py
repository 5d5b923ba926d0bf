"""`jobtrail import …`: replay recorded executions through the SDK and the broker."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.asking import say, say_json

if TYPE_CHECKING:
    from publishers.wfformat.play import Progress


@click.group("import")
def import_group() -> None:
    """Replay recorded executions as events."""


@import_group.command(short_help="Import recorded workflows, each as a run.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--namespace", metavar="NAME", help="Namespace of the runs (default: JOBTRAIL_NAMESPACE).")
@click.option("--speed", type=float, metavar="N", help="Replay N times as fast as recorded.")
@click.option("--instant", is_flag=True, help="Do not wait between events.")
@click.option(
    "--original-times",
    is_flag=True,
    help="Keep the recorded times; by default they are shifted so that the run ends now.",
)
@click.option(
    "--run-id", metavar="ID", help="Id of the root job, for a single file; by default a new one each time."
)
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON, for programs.")
def wfformat(
    files: tuple[Path, ...],
    namespace: str | None,
    speed: float | None,
    instant: bool,
    original_times: bool,
    run_id: str | None,
    as_json: bool,
) -> None:
    """Import FILES in WfCommons' WfFormat 1.0 to 1.6 (.json or .json.gz), each as a separate run."""
    from cli.render.safe_text import safe
    from publishers.wfformat.play import run
    from schemas.errors import SettingsError
    from settings.answers import AnswersSettings

    name = AnswersSettings.load(namespace=namespace).namespace
    if not name:
        raise SettingsError("no namespace for the runs: set --namespace or JOBTRAIL_NAMESPACE.")
    report = run(
        files,
        name,
        speed=speed,
        instant=instant,
        original_times=original_times,
        run_id=run_id,
        progress=_print_progress,
    )
    if as_json:
        say_json(
            [
                {
                    "root": imported.root_job_id,
                    "namespace": report.namespace,
                    "file": str(imported.path),
                    "workflow": imported.workflow,
                    "tasks": imported.tasks,
                    "edges": imported.edges,
                    "events": imported.events,
                }
                for imported in report.runs
            ]
        )
        return
    for imported in report.runs:
        say(
            f"#{safe(imported.root_job_id)}  {safe(imported.workflow)}: {imported.tasks} tasks, "
            f"{imported.edges} edges, {imported.events} events"
        )


def _print_progress(progress: "Progress") -> None:
    """Print progress to standard error, only if that is a terminal; standard output has nothing but the answer."""
    from cli.render.safe_text import safe

    if not sys.stderr.isatty():
        return
    whole = progress.run.events
    end = "\n" if progress.published >= whole else ""
    click.echo(
        f"\r{safe(progress.run.root_job_id)}: {progress.published} of {whole} events{end}", err=True, nl=False
    )
