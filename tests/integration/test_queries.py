"""Every named query fits the real schema, and is used."""

import ast
import re
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import psycopg

from settings.database import DatabaseSettings
from store.connection import connect
from store.queries import queries, subjects
from store.retention.session import Pace, Session
from store.writing.writer import prepare_session

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("store", "consumers", "cli", "demo", "publishers", "testing", "bench")


class Uses:
    """The queries that the code names: `X["name"]` where `X = queries("subject")`, in the module or imported.

    If such an X is indexed by anything but a literal, or iterated, every string literal of that module counts as a name.
    """

    def __init__(self) -> None:
        self.named: set[str] = set()
        self._subjects: dict[str, dict[str, str]] = {}

    def read(self, modules: Mapping[str, str]) -> None:
        """Read the sources of modules, by their dotted name."""
        trees = {name: ast.parse(source) for name, source in modules.items()}
        for name, tree in trees.items():
            self._subjects[name] = {
                target.id: subject
                for node in ast.walk(tree)
                if isinstance(node, ast.Assign | ast.AnnAssign)
                and node.value is not None
                and (subject := _subject(node.value)) is not None
                for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
                if isinstance(target, ast.Name)
            }
        for name, tree in trees.items():
            known = dict(self._subjects[name])
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and node.module in self._subjects:
                    theirs = self._subjects[node.module]
                    known |= {
                        one.asname or one.name: theirs[one.name] for one in node.names if one.name in theirs
                    }
            self._add_uses(tree, known)

    def _add_uses(self, tree: ast.Module, known: Mapping[str, str]) -> None:
        texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Subscript):
                subject = _subject(node.value) or (
                    known.get(node.value.id) if isinstance(node.value, ast.Name) else None
                )
                if subject is None:
                    continue
                index = node.slice.value if isinstance(node.slice, ast.Constant) else None
                self.named |= {
                    f"{subject}.{name}"
                    for name in queries(subject)
                    if name == index or (index is None and name in texts)
                }
            elif isinstance(node, ast.Attribute) and node.attr == "values":
                subject = _subject(node.value)
                if subject is not None:
                    self.named |= {f"{subject}.{name}" for name in queries(subject)}


def _subject(node: ast.expr) -> str | None:
    """Return the subject of `queries("subject")`; None for any other expression."""
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "queries"
        and len(node.args) == 1
        and isinstance(node.args[0], ast.Constant)
    ):
        return str(node.args[0].value)
    return None


def unused(modules: Mapping[str, str]) -> list[str]:
    """Return the queries that no module names."""
    uses = Uses()
    uses.read(modules)
    every = [f"{subject}.{name}" for subject in subjects() for name in queries(subject)]
    return [name for name in every if name not in uses.named]


def test_every_query_can_be_prepared_on_the_real_schema(database_url_each: str) -> None:
    """Two kinds cannot be prepared: the files of temporary tables, which are run as the sessions do, and a LOCK."""
    with closing(
        connect(DatabaseSettings.load(database_url=database_url_each), "jobtrail test")
    ) as connection:
        prepare_session(connection)
        with connection.transaction():
            Session(connection, Pace(), batch_rows=1)
        prepared = 0
        for subject in subjects():
            for name, query in queries(subject).items():
                statement = " ".join(line for line in query.splitlines() if not line.startswith("--")).split()
                if statement[0] in ("CREATE", "LOCK"):
                    continue
                _prepare(connection, f"{subject}_{name}", query)
                prepared += 1
        assert prepared > 20


def test_every_query_is_used() -> None:
    code = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path.read_text(encoding="utf-8")
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    }
    assert unused(code) == []


def test_an_unused_query_is_found_although_its_name_occurs_elsewhere() -> None:
    """The same name in another module, or of another subject, is not a use."""
    name = "answers_lineage.stage_states"
    assert name in unused({})
    assert name in unused({"a": 'WORDS = ["stage_states"]'})
    assert name in unused({"a": 'Q = queries("answers_jobs")\nrun(Q["stage_states"])'})
    assert name not in unused({"a": 'Q = queries("answers_lineage")\nrun(Q["stage_states"])'})
    assert name not in unused(
        {"a": 'Q = queries("answers_lineage")', "b": 'from a import Q\nrun(Q["stage_states"])'}
    )


def _prepare(connection: psycopg.Connection, name: str, query: str) -> None:
    numbers: dict[str, int] = {}
    text = re.sub(r"%\((\w+)\)s", lambda found: f"${numbers.setdefault(found[1], len(numbers) + 1)}", query)
    with connection.transaction():
        connection.execute(f"PREPARE {name} AS {text.rstrip(';')}".replace("%%", "%").encode())
