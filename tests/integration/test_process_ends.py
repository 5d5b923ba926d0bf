"""How the command's process ends: when its reader stops early, on a full disk, at Ctrl-C, with ids that look like options."""

import json
import os
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click
import psutil
import pytest

from broker import provision
from broker.client import connect as connect_broker
from cli.main import command
from derive.rows import Batch, DeadLetter
from servers.ports import HOST, free_ports
from servers.pulsar import Pulsar
from settings.broker import BrokerSettings
from settings.database import DatabaseSettings
from store.connection import connect
from store.writing.writer import prepare_session, write_batch
from testing.services import JOBTRAIL, wait_until
from testing.topics import EVENT, own_topic, publish, service_settings
from tests.integration.story import KINO, ago, event, incident, root_of, store_events

SERVICES = {("aggregate",), ("metrics",)}
"""These commands print only a log."""


@pytest.fixture
def environment(database_url: str, pulsar: Pulsar) -> dict[str, str]:
    """Return the environment that names a database with the incident, and a topic with some events."""
    odd = [
        event("OddJob", name, "completed", ago(), **root_of(name)) for name in ("-abc", "-1", "--limit", "-h")
    ]
    store_events(database_url, [*incident(), *odd]).close()
    topic = own_topic(pulsar)
    provision.run(topic, check=False)
    client = connect_broker(topic)
    publish(client, topic.topic, *({**EVENT, "job_id": str(number)} for number in range(20)))
    client.close()
    unset = {name: value for name, value in os.environ.items() if not name.startswith("JOBTRAIL_")}
    return {**unset, **service_settings(topic, database_url), "JOBTRAIL_PROVISION_PARTITIONS": "2"}


@pytest.fixture
def group(environment: dict[str, str]) -> str:
    """Return the id of the failure group."""
    found = json.loads(jobtrail(environment, "failures", "list", "--json").stdout)
    group: str = found[0]["id"]
    return group


def jobtrail(
    environment: dict[str, str], *arguments: str, stdout: int = subprocess.PIPE, stderr: int = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [JOBTRAIL, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def closed_pipe() -> Iterator[int]:
    """Yield the writing end of a pipe whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


def leaves(found: click.Command, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Return the words that call each command, groups excepted."""
    if isinstance(found, click.Group):
        return {leaf for name, child in found.commands.items() for leaf in leaves(child, (*path, name))}
    return {path}


def calls(group: str, folder: Path) -> dict[tuple[str, ...], tuple[int, list[str]]]:
    """Map each command to its exit status, and to arguments that make it print something."""
    file = folder / "event.json"
    file.write_text("{}")
    trace = Path(__file__).parents[1] / "traces" / "bwa-chameleon-medium-001.json.gz"
    return {
        ("lineage", "tree"): (0, ["12345"]),
        ("lineage", "stats"): (0, ["12345"]),
        ("lineage", "children"): (0, ["12345"]),
        ("lineage", "ancestors"): (0, ["page-000-show-0"]),
        ("lineage", "jobs"): (0, ["12345", "--limit", "2000"]),
        ("lineage", "gaps"): (1, ["12345"]),
        ("failures", "list"): (0, []),
        ("failures", "show"): (0, [group]),
        ("runs", "list"): (0, []),
        ("sources",): (0, []),
        ("dead-letters", "list"): (0, []),
        ("dead-letters", "show"): (1, ["6:1:0:-1"]),
        ("dead-letters", "retry"): (0, ["--all"]),
        ("dead-letters", "purge"): (0, ["--all", "--yes"]),
        ("events", "tail"): (0, ["--since", "1h"]),
        ("events", "validate"): (1, [str(file)]),
        ("verify",): (0, []),
        ("retain",): (0, ["--dry-run"]),
        ("provision",): (0, []),
        ("migrate",): (0, []),
        ("import", "wfformat"): (0, ["--namespace", "ns", "--instant", str(trace)]),
        ("rebuild",): (0, ["--check", "--accept-loss"]),
    }


def test_a_reader_that_stops_early_is_not_an_error_for_any_command(
    environment: dict[str, str], group: str, closed_pipe: int, tmp_path: Path
) -> None:
    """The status is unchanged, and no error is printed: `lineage gaps … | head` still ends with the status for gaps."""
    every = calls(group, tmp_path)
    assert set(every) == leaves(command) - SERVICES
    environment["JOBTRAIL_SPOOL_DIR"] = str(tmp_path / "spool")
    for words, (status, arguments) in every.items():
        unread = jobtrail(environment, *words, *arguments, stdout=closed_pipe)
        assert (unread.returncode, len(unread.stderr.splitlines())) == (
            status,
            words[-1] == "show" and status,
        ), words
    assert jobtrail(environment, "runs", "list", "--json", stdout=closed_pipe).returncode == 0


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["lineage", "--help"], ["lineage", "tree", "-h"]]
)
def test_help_that_nobody_reads_is_not_an_error(words: list[str], closed_pipe: int) -> None:
    ended = jobtrail({"PATH": os.environ["PATH"]}, *words, stdout=closed_pipe)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_log_that_nobody_reads_stops_no_service(closed_pipe: int) -> None:
    with socket.create_server((HOST, 0)) as silent:
        url = f"postgresql://jobtrail@{HOST}:{silent.getsockname()[1]}/jobtrail"
        variables = {"JOBTRAIL_DATABASE_URL": url, "JOBTRAIL_AGGREGATOR_PORT": "0"}
        service = subprocess.Popen(
            [JOBTRAIL, "aggregate"],
            env={"PATH": os.environ["PATH"], **variables},
            stdout=closed_pipe,
            stderr=closed_pipe,
        )
        connection, _ = silent.accept()  # it has logged that it listens
        connection.close()
        again, _ = silent.accept()  # it has logged that the database is away, and tries again
        again.close()
        service.terminate()
        assert service.wait(60) == 0


def test_a_pipeline_that_must_not_fail_does_not_fail(environment: dict[str, str]) -> None:
    script = f"set -euo pipefail; {shlex.quote(JOBTRAIL)} lineage jobs 12345 --limit 2000 --json | head -1"
    shown = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "{\n", "")


@pytest.mark.parametrize(
    "arguments", [["runs", "list"], ["--nothing"], ["lineage", "tree", "-abc"], ["failures", "show", "0"]]
)
def test_an_error_that_nobody_reads_keeps_its_status(
    environment: dict[str, str], closed_pipe: int, arguments: list[str]
) -> None:
    environment["JOBTRAIL_DATABASE_URL"] = f"postgresql://{HOST}:{free_ports(1)[0]}/none"
    assert jobtrail(environment, *arguments, stderr=closed_pipe).returncode == 2


def test_an_answer_that_cannot_be_written_ends_with_2(environment: dict[str, str]) -> None:
    with open("/dev/full", "wb") as full:
        ended = jobtrail(environment, "runs", "list", stdout=full.fileno())
    assert (ended.returncode, ended.stderr) == (
        2,
        "jobtrail: cannot write to standard output: No space left on device.\n",
    )


def test_following_ends_when_its_reader_has_gone_even_without_new_events(environment: dict[str, str]) -> None:
    """`events tail --follow | head -1` does not wait for a second event."""
    script = f"{shlex.quote(JOBTRAIL)} events tail --since 1h --follow | head -1; echo ${{PIPESTATUS[0]}}"
    shown = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert (shown.stdout.splitlines()[-1], shown.stderr) == ("0", "")


def test_tail_since_a_time_ends_after_the_existing_events(environment: dict[str, str]) -> None:
    for arguments, lines in (
        (["--since", "1h"], 20),
        (["--since", "30000d"], 20),
        (["--since", "1h", "--job", "7"], 1),
        (["--since", "1h", "--no-follow", "--count", "30"], 20),
        (["--since", "1h", "--count", "3"], 3),
        (["--no-follow"], 0),
    ):
        ended = jobtrail(environment, "events", "tail", *arguments)
        assert (ended.returncode, len(ended.stdout.splitlines()), ended.stderr) == (0, lines, ""), arguments


@pytest.mark.parametrize(
    ("option", "what"),
    [("namespace", "namespace"), ("worker", "worker"), ("source", "source"), ("job", "job")],
)
def test_tail_of_an_unknown_name_is_an_error(environment: dict[str, str], option: str, what: str) -> None:
    ended = jobtrail(environment, "events", "tail", "--since", "1h", f"--{option}", "nope")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"jobtrail: no such {what}: 'nope'; there are: ")


def test_tail_with_a_count_waits_for_its_lines(environment: dict[str, str]) -> None:
    """Scripts use this to wait for an event."""
    waiting = subprocess.Popen(
        [JOBTRAIL, "events", "tail", "--since", "1h", "--count", "21"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert waiting.stdout is not None
    with waiting:
        assert len([waiting.stdout.readline() for _ in range(20)]) == 20
        assert waiting.poll() is None
        topic = environment["JOBTRAIL_TOPIC"]
        client = connect_broker(own_topic_settings(environment))
        publish(client, topic, {**EVENT, "job_id": "the last"})
        client.close()
        assert "#the last" in waiting.stdout.readline()
        assert waiting.wait(60) == 0


def test_ctrl_c_ends_a_waiting_command_without_output() -> None:
    """The status is 130, as a shell gives it after SIGINT."""
    with socket.create_server((HOST, 0)) as silent:
        url = f"postgresql://jobtrail@{HOST}:{silent.getsockname()[1]}/jobtrail"
        for arguments in (["runs", "list"], ["migrate"], ["verify"], ["dead-letters", "purge", "--all"]):
            waiting = subprocess.Popen(
                [JOBTRAIL, *arguments],
                env={"PATH": os.environ["PATH"], "JOBTRAIL_DATABASE_URL": url},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            connection, _ = silent.accept()
            with connection:
                waiting.send_signal(signal.SIGINT)
                assert (*waiting.communicate(timeout=60), waiting.returncode) == (b"", b"", 130), arguments


def test_ctrl_c_ends_following_without_output(environment: dict[str, str]) -> None:
    following = subprocess.Popen(
        [JOBTRAIL, "events", "tail", "--since", "1h", "--follow"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert following.stdout is not None
    for _ in range(20):
        following.stdout.readline()
    following.send_signal(signal.SIGINT)
    assert (*following.communicate(timeout=60), following.returncode) == (b"", b"", 130)


@pytest.mark.parametrize("interrupted", [True, False], ids=["ctrl-c", "end of the input"])
def test_an_unanswered_question_deletes_nothing(database_url: str, interrupted: bool) -> None:
    with closing(connect(DatabaseSettings.load(database_url=database_url), "jobtrail tests")) as session:
        prepare_session(session)
        letter = DeadLetter("t", "(1,0,0,-1)", "malformed", "bad", b"?", "k", ago(), 0)
        write_batch(session, Batch(dead_letters=[letter]))
        asking = subprocess.Popen(
            [JOBTRAIL, "dead-letters", "purge", "--all"],
            env={"PATH": os.environ["PATH"], "JOBTRAIL_DATABASE_URL": database_url},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        assert asking.stderr is not None
        question = b""
        while b"Delete them? [y/N]:" not in question:
            question += asking.stderr.read(1)
        if interrupted:
            wait_until(
                lambda: psutil.Process(asking.pid).status() == psutil.STATUS_SLEEPING, "it to read the answer"
            )
            asking.send_signal(signal.SIGINT)
            asking.wait(60)
        out, err = asking.communicate(timeout=60)
        if interrupted:
            assert (out, err.strip(), asking.returncode) == (b"", b"", 130)
        else:
            assert (out, asking.returncode) == (b"", 2)
            assert b"expected an answer, got the end of the input: nothing was done." in err
        assert session.execute("SELECT count(*) FROM jobtrail.dead_letters").fetchone() == (1,)


def own_topic_settings(environment: dict[str, str]) -> BrokerSettings:
    return BrokerSettings.load(
        pulsar_url=environment["JOBTRAIL_PULSAR_URL"], topic=environment["JOBTRAIL_TOPIC"]
    )


@pytest.mark.parametrize("job", ["-abc", "-1"])
def test_the_error_for_an_id_that_looks_like_an_option_shows_what_to_type(
    environment: dict[str, str], job: str
) -> None:
    environment["JOBTRAIL_NAMESPACE"] = KINO
    refused = jobtrail(environment, "lineage", "stats", job, "--json")
    assert refused.returncode == 2
    hint = refused.stderr.splitlines()[-1]
    assert hint == f"An id or a file that begins with - goes after --: jobtrail lineage stats -- {job}"
    _, *words = shlex.split(hint.partition(": ")[2])
    assert job in jobtrail(environment, *words).stdout


def test_ids_that_look_like_options_work_after_two_dashes_or_with_a_hash(
    environment: dict[str, str],
) -> None:
    for job in ("--limit", "-h", "-abc"):
        for words in (["--", job], [f"#{job}"]):
            ended = jobtrail(environment, "lineage", "stats", *words)
            assert (ended.returncode, ended.stderr) == (0, ""), words
            assert f"#{job}" in ended.stdout
    ended = jobtrail(environment, "events", "tail", "--since", "1h", "--job", "-abc")
    assert ended.stderr.startswith("jobtrail: no such job: '-abc'; there are: ")


def test_a_misspelt_option_is_not_mistaken_for_an_id(environment: dict[str, str]) -> None:
    refused = jobtrail(environment, "lineage", "children", "12345", "--limt", "5")
    assert refused.returncode == 2
    assert "--limit" in refused.stderr
    assert "goes after --" not in refused.stderr
