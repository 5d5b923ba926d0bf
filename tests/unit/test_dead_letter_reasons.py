"""Every reason that the code gives is explained in docs/dead-letters.md, and no other."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
GIVEN = re.compile(r'(?:DecodeError\(|reason, detail = |dead_letter\([^"]*)\s*\(?\s*"([a-z]+(?:_[a-z]+)*)",')


def test_the_table_has_a_line_for_every_reason() -> None:
    code = "\n".join(
        (ROOT / name).read_text(encoding="utf-8")
        for name in (
            "schemas/decode.py",
            "broker/registry.py",
            "consumers/receiving/decode.py",
            "consumers/writing/isolation.py",
        )
    )
    text = (ROOT / "docs/dead-letters.md").read_text(encoding="utf-8")
    table = text.split("## The reasons")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(GIVEN.findall(code))
