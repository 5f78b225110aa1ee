"""The snippets of the pages on clients run; those of packages that are not installed are skipped."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PRINTED = {"from-qdrant.md": "1", "langchain.md": "an apple", "llama-index.md": "an apple", "httpx.md": "1"}
SNIPPETS = [
    (page, code)
    for page in PRINTED
    for code in re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
]


@pytest.mark.parametrize(("page", "code"), SNIPPETS, ids=[page for page, _ in SNIPPETS])
def test_a_snippet_prints_what_it_finds(url: str, page: str, code: str, capsys: pytest.CaptureFixture[str]) -> None:
    for package in re.findall(r"^(?:from|import) (\w+)", code, re.MULTILINE):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    exec(compile(code.replace("http://localhost:6333", url), page, "exec"), {})
    assert capsys.readouterr().out.strip() == PRINTED[page]


def test_every_page_has_one_snippet() -> None:
    assert [page for page, _ in SNIPPETS] == list(PRINTED)
