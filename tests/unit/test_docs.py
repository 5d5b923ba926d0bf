"""The pages are true where a test can check it: links, commands, settings, files, ports, exit statuses, versions."""

import configparser
import importlib
import importlib.util
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest

from cli.main import ANSWER_IS_NO, COULD_NOT_BE_DONE, command
from consumers.receiving.watchdog import STATUS as WATCHDOG_STATUS
from jobtrail._config import Config
from settings.aggregator import AggregatorSettings
from settings.base import Settings
from settings.broker import BrokerSettings
from settings.metrics import MetricsSettings

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "workers" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
OPERATING = ROOT / "docs" / "operating.md"
LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)")
PACKAGES = (
    *("schemas", "settings", "derive", "broker", "store", "consumers", "publishers", "cli", "workers"),
    *("deploy", "servers", "demo", "testing", "bench", "tests"),
)
"""The folders at the root that hold code or configuration."""

LONGEST_LINE = 140
"""The width of a line of prose."""


def test_every_link_leads_to_a_file_and_a_heading_that_exist() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {link[0]}"
        for page in PAGES
        for link in LINK.finditer(page.read_text(encoding="utf-8"))
        if not leads_somewhere(page, link[1], link[2])
    ]
    assert broken == []


def test_a_broken_link_is_found() -> None:
    assert not leads_somewhere(ROOT / "README.md", "docs/none.md", None)
    assert not leads_somewhere(ROOT / "README.md", "docs/glossary.md", "no-such-heading")
    assert leads_somewhere(ROOT / "README.md", "docs/glossary.md", "what-is-recorded")


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert {name for name in pages if f"]({name}" not in index} == set()


def numbers(version: str) -> list[int]:
    """Return the parts of a version as numbers, to compare them."""
    return [int(part) for part in version.split(".")]


def test_one_version_everywhere() -> None:
    """Both packages and the image have the version of the newest release in the changelog, or one in development after it."""
    pipeline = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert tomllib.loads((ROOT / "workers" / "pyproject.toml").read_text())["project"]["version"] == pipeline
    for name in ("Dockerfile", "docker-compose.yml"):
        tags = set(re.findall(r"jobtrail:(\d[\w.]*)", (ROOT / name).read_text()))
        assert tags == {pipeline}, name
    released = re.findall(
        r"^## \[(\d[\w.]*)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    if ".dev" in pipeline:
        assert numbers(pipeline.split(".dev")[0]) > numbers(released[0])
    else:
        assert released[0] == pipeline


def test_every_command_of_the_docs_exists_with_these_options() -> None:
    """This holds wherever a page shows `jobtrail …`: in a block, a line, a table or a systemd unit."""
    problems = [
        f"{page.relative_to(ROOT)}: {' '.join(words)}: {problem}"
        for page in current_pages()
        for words in calls(page.read_text(encoding="utf-8"))
        if (problem := problem_of(words))
    ]
    assert problems == []


@pytest.mark.parametrize(
    ("shown", "problem"),
    [
        ("`jobtrail rebuild --check`", None),
        ("    $ jobtrail lineage tree 12345 --lines 3 | head -1", None),
        ("```sh\nJOBTRAIL_NAMESPACE=x .venv/bin/jobtrail runs list --limit 5  # five\n```", None),
        ("`jobtrail dead-letters list|purge --before 30d`", "no option --before"),
        ("`jobtrail dead-letters purge --before 30d`", None),
        ("`jobtrail lineage trees 12345`", "no command trees"),
        ("```sh\ndocker compose run --rm aggregator failures list --sinse 24h\n```", "no option --sinse"),
        ("```ini\nExecStart=/opt/jobtrail/.venv/bin/jobtrail aggregates\n```", "no command aggregates"),
    ],
)
def test_a_command_that_does_not_exist_is_found(shown: str, problem: str | None) -> None:
    found = list(calls(shown))
    assert found
    assert next(filter(None, map(problem_of, found)), None) == problem


def test_every_setting_of_the_docs_exists() -> None:
    known = settings_of_the_pipeline() | {f"JOBTRAIL_{field.name.upper()}" for field in fields(Config)}
    code = [path for folder in PACKAGES for path in (ROOT / folder).rglob("*.py")]
    for path in (
        *code,
        *(ROOT / name for name in ("conftest.py", "Makefile", "docker-compose.yml", "Dockerfile")),
    ):
        known |= set(re.findall(r"JOBTRAIL_[A-Z0-9_]+", path.read_text(encoding="utf-8")))
    unknown = {
        f"{page.relative_to(ROOT)}: {name}"
        for page in current_pages()
        for name in re.findall(r"JOBTRAIL_[A-Z0-9_]*[A-Z0-9]\b", page.read_text(encoding="utf-8"))
        if name not in known
    }
    assert unknown == set()


def test_every_file_and_folder_of_the_docs_exists() -> None:
    """Only text in backticks that begins with a folder of the project is checked."""
    first = "|".join((*PACKAGES, "docs", "requirements"))
    missing = {
        f"{page.relative_to(ROOT)}: {path}"
        for page in current_pages()
        for path in re.findall(rf"`((?:{first})/[\w./-]*)`", page.read_text(encoding="utf-8"))
        if not (ROOT / path).exists() and "NNNN" not in path
    }
    assert missing == set()


def test_every_make_command_and_module_of_the_docs_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    unknown = set()
    for page in current_pages():
        text = page.read_text(encoding="utf-8")
        unknown |= {
            f"make {name}" for name in re.findall(r"(?:`|^    |^)make ([a-z]+)\b", text, re.MULTILINE)
        } - {f"make {name}" for name in targets}
        unknown |= {
            name
            for name in re.findall(r"python -m ([a-z][\w.]*)", text)
            if importlib.util.find_spec(name) is None
        }
    assert unknown == set()


def test_the_ports_of_the_docs_are_the_defaults() -> None:
    """The ports of our services, the broker and docker-compose.yml; two more are for Pulsar with TLS."""
    defaults = {
        AggregatorSettings.model_fields["aggregator_port"].default,
        MetricsSettings.model_fields["metrics_port"].default,
        *(
            urlsplit(BrokerSettings.model_fields[name].default).port
            for name in ("pulsar_url", "pulsar_admin_url")
        ),
        *(
            int(port)
            for port in re.findall(r"127\.0\.0\.1:(\d+):", (ROOT / "docker-compose.yml").read_text())
        ),
    }
    pulsar_tls = {6651, 8443}
    shown = {
        int(port)
        for page in current_pages()
        for port in re.findall(
            r"(?:://[\w.]+|HOST|127\.0\.0\.1):(\d{4,5})\b", page.read_text(encoding="utf-8")
        )
    }
    assert shown - pulsar_tls <= defaults
    assert {9464, 9465} <= shown


def test_the_exit_statuses_of_the_docs_are_those_of_the_code() -> None:
    services = statuses(OPERATING.read_text(encoding="utf-8"))
    assert set(services) == {0, WATCHDOG_STATUS, COULD_NOT_BE_DONE}
    assert "watchdog" in services[WATCHDOG_STATUS]
    answers = statuses((ROOT / "docs" / "answers.md").read_text(encoding="utf-8"))
    assert {0, ANSWER_IS_NO, COULD_NOT_BE_DONE} <= set(answers)


def test_systemd_restarts_a_service_unless_that_cannot_help() -> None:
    (text,) = re.findall(
        r"^```ini\n(\[Unit\].*?)^```$", OPERATING.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text)
    assert unit["Service"]["Restart"] == "always"
    assert int(unit["Service"]["RestartPreventExitStatus"]) == COULD_NOT_BE_DONE
    lock_timeout = AggregatorSettings.model_fields["database_lock_timeout_seconds"].default
    assert int(unit["Service"]["TimeoutStopSec"]) > lock_timeout


def test_every_folder_is_on_the_map_and_the_arrows_are_the_contract() -> None:
    page = (ROOT / "docs" / "how-it-works.md").read_text(encoding="utf-8")
    table = page.split("## Where things are")[1]
    assert set(re.findall(r"^\| `(\w+)/` \|", table, re.MULTILINE)) == set(PACKAGES)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    arrows = " → ".join(layer.replace(" | ", ", ") for layer in layers)
    for name in ("docs/how-it-works.md", "CONTRIBUTING.md"):
        assert arrows in (ROOT / name).read_text(encoding="utf-8"), name


def test_every_dependency_has_its_reason() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8").replace("\\[", "[")
    chosen = {
        re.split(r"[=\[]", line)[0]
        for path in (ROOT / "requirements").glob("*.in")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line and not line.startswith(("#", "-"))
    }
    tables = "\n".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| "))
    assert {
        name for name in chosen if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", tables)
    } == set()


def test_the_table_of_results_has_the_measured_values() -> None:
    """It has every aim of the last whole bench run, and whether it was reached."""
    page = (ROOT / "docs" / "measurements.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| (\*\*missed\*\*|reached) \| `(\w+)` \| ([^|]+) \|", page, re.MULTILINE))
    kept = json.loads((ROOT / "docs" / "measurements.json").read_text(encoding="utf-8"))["parts"]
    aims = {
        ("reached" if aim["reached"] else "**missed**", part, aim["what"])
        for part, found in kept.items()
        for aim in found["aims"]
    }
    assert {row for row in rows if "(by hand)" not in row[2]} == aims


def test_the_documented_memory_of_the_consumers_was_measured() -> None:
    kept = json.loads((ROOT / "docs" / "measurements.json").read_text(encoding="utf-8"))["parts"]["memory"]
    most = {
        aim["what"].partition(",")[0]: f"{aim['measured']:.0f} MB"
        for aim in kept["aims"]
        if aim["what"].endswith("most memory")
    }
    rows = re.findall(
        r"^\| `(jobtrail \w+)` \| \| \| (\d+ MB) \|$", OPERATING.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert dict(rows) == most


def test_services_log_to_standard_error() -> None:
    """As operating.md says: standard output is only for the answers of commands."""
    log = "import structlog; from consumers.process.log import configure_log; from settings.service import ServiceSettings; "
    log += "configure_log(ServiceSettings.load(), 'test'); structlog.get_logger().info('said')"
    done = subprocess.run([sys.executable, "-c", log], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, "said" in done.stderr) == ("", True)
    assert "Logs go to standard error" in OPERATING.read_text(encoding="utf-8")


def test_lines_of_prose_are_short() -> None:
    long = [
        f"{page.relative_to(ROOT)}:{number}: {len(line)}"
        for page in PAGES
        if page.name != "settings.md"  # settings/document.py writes its lines
        for number, line in prose(page.read_text(encoding="utf-8"))
        if len(line) > LONGEST_LINE
    ]
    assert long == []


def test_fences_of_code_blocks_have_lines_of_their_own() -> None:
    """If a block and its fences are joined to one line, it looks like prose, and its commands cannot be copied."""
    joined = [
        f"{page.relative_to(ROOT)}:{number}"
        for page in PAGES
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
        if "```" in line and not re.fullmatch(r" *```\w*", line)
    ]
    assert joined == []


def leads_somewhere(page: Path, target: str, heading: str | None) -> bool:
    path = (page.parent / target).resolve() if target else page
    if not path.exists():
        return False
    return heading is None or path.suffix != ".md" or heading in _headings(path)


def current_pages() -> list[Path]:
    """Return all pages but the changelog, which describes the past."""
    return [page for page in PAGES if page.name != "CHANGELOG.md"]


def calls(text: str) -> Iterator[list[str]]:
    """Return the calls of the `jobtrail` command that a page shows, as the words after `jobtrail`."""
    for line in shown_lines(text):
        for part in re.split(r"&&|\|\||;|\$\(", line):
            yield from _calls_in(part)


def shown_lines(text: str) -> Iterator[str]:
    """Return the lines of code blocks, with continued lines joined, and the texts in backticks outside them."""
    fenced = re.findall(r"^ *```\w*\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^ *```\w*\n.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for block in (*fenced, "\n".join(re.findall(r"^    (.*)$", rest, re.MULTILINE))):
        for line in block.replace("\\\n", " ").splitlines():
            yield re.sub(r"(^|\s)#\s.*$", "", line.strip().removeprefix("$ ").removeprefix("ExecStart="))
    for code in re.findall(r"`([^`]+)`", re.sub(r"^    .*$", "", rest, flags=re.MULTILINE)):
        yield " ".join(code.split())


def _calls_in(line: str) -> Iterator[list[str]]:
    words = [word for word in _words(line) if not re.match(r"^[A-Z][A-Z0-9_]*=", word)]
    if words[:3] == ["docker", "compose", "run"]:
        words = ["jobtrail", *words[words.index("aggregator") + 1 :]] if "aggregator" in words else []
    if len(words) < 2 or words[0].rpartition("/")[2] != "jobtrail":
        return
    words = words[1:]
    for end in ("|", ">", "2>", "<", "…", "&"):
        words = words[: words.index(end)] if end in words else words
    # list|show: each of them.
    alternatives = next(
        (word.split("|") for word in words if re.fullmatch(r"[a-z-]+(\|[a-z-]+)+", word)), [""]
    )
    for chosen in alternatives:
        yield [chosen if chosen and "|" in word else word for word in words]


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:  # prose with an apostrophe
        return line.split()


def problem_of(words: list[str]) -> str | None:
    """Return the part of a call that does not exist; None when every part exists."""
    here: click.Command = command
    arguments_only = False
    for word in (word.strip("[],") for word in words):
        if word == "--":
            arguments_only = True
        elif arguments_only:
            continue
        elif re.match(r"--?[a-z]", word):
            name = word.split("=")[0]
            options = {
                name for option in here.params if isinstance(option, click.Option) for name in option.opts
            }
            if name not in {*options, "--help", "-h"}:
                return f"no option {name}"
        elif isinstance(here, click.Group):
            if word not in here.commands:
                return f"no command {word}"
            here = here.commands[word]
    return None


def settings_of_the_pipeline() -> set[str]:
    """Return every variable that a class in settings/ reads."""
    for path in (ROOT / "settings").glob("*.py"):
        importlib.import_module(f"settings.{path.stem}")
    classes, found = [Settings], set()
    while classes:
        one = classes.pop()
        found |= {f"JOBTRAIL_{name.upper()}" for name in one.model_fields}
        classes += one.__subclasses__()
    return found


def statuses(text: str) -> dict[int, str]:
    """Return the rows of a page's table of exit statuses."""
    table = text.split("| exit status | means |")[1].split("\n\n", maxsplit=1)[0]
    return {
        int(number): meaning
        for numbers, meaning in re.findall(r"^\| ([\d, ]+) \| (.+) \|$", table, re.MULTILINE)
        for number in numbers.split(",")
    }


def prose(text: str) -> Iterator[tuple[int, str]]:
    """Return lines with their numbers, without code blocks, tables and pictures."""
    in_block = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            in_block = not in_block
        elif not in_block and not line.startswith(("|", "    ", "![")):
            yield number, line


def _headings(page: Path) -> set[str]:
    """Return the anchors that forges make from a page's headings."""
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}
