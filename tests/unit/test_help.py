"""The help of the command: what people read first."""

from collections.abc import Iterator

import click
import pytest

from cli.main import command, run


def groups(group: click.Group, path: str = "jobtrail") -> Iterator[tuple[str, click.Group]]:
    """Yield every group with the words that call it."""
    yield path, group
    for name, child in group.commands.items():
        if isinstance(child, click.Group):
            yield from groups(child, f"{path} {name}")


@pytest.mark.parametrize(("path", "group"), [*groups(command)], ids=[path for path, _ in groups(command)])
def test_no_summary_is_cut_at_80_columns(path: str, group: click.Group) -> None:
    text = group.get_help(click.Context(group, info_name=path, terminal_width=80))
    assert "Commands:" in text
    assert "..." not in text.partition("Commands:")[2]


def test_a_command_of_a_group_is_named_with_its_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tree", "12345"]) == 2
    assert "Did you mean `jobtrail lineage tree`?" in capsys.readouterr().err
