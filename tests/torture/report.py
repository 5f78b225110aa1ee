"""`python -m tests.torture.report`: brings the table of counts in docs/durability.md up to date."""

import json
from pathlib import Path

from tests.torture.__main__ import COUNTS, ROOMS

PAGE = Path(__file__).parents[2] / "docs/durability.md"
HEAD = "| room | tried | seeds | failed | measured last |\n|---|---|---|---|---|\n"


def table() -> str:
    counts = json.loads(COUNTS.read_text())
    nothing = {"tried": 0, "seeds": 0, "failed": []}
    rows = [(name, counts.get(name, nothing)) for name in ROOMS]
    return HEAD + "".join(
        f"| `{name}` | {one['tried']} | {one['seeds']} | {len(one['failed'])} | {one.get('figures', '')} |\n"
        for name, one in rows
    )


def with_table(page: str) -> str:
    """The page with the table as it is to be; what follows the table stays."""
    before, _, after = page.partition(HEAD)
    rest = after.splitlines(keepends=True)
    while rest and rest[0].startswith("|"):
        rest.pop(0)
    return before + table() + "".join(rest)


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
