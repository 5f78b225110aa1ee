"""The snippets of docs/from-qdrant.md run; those of packages that are not installed are skipped."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "from-qdrant.md"
SNIPPETS = re.findall(r"## ([^\n]+)\n+```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
PRINTED = {"qdrant-client": "1", "LangChain": "an apple", "LlamaIndex": "an apple", "No client at all": "1"}


@pytest.mark.parametrize(("title", "code"), SNIPPETS, ids=[title for title, _ in SNIPPETS])
def test_a_snippet_prints_what_it_finds(url: str, title: str, code: str, capsys: pytest.CaptureFixture[str]) -> None:
    for package in re.findall(r"^(?:from|import) (\w+)", code, re.MULTILINE):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    exec(compile(code.replace("http://localhost:6333", url), str(PAGE), "exec"), {})
    assert capsys.readouterr().out.strip() == PRINTED[title]


def test_every_snippet_is_run() -> None:
    assert {title for title, _ in SNIPPETS} == PRINTED.keys()
