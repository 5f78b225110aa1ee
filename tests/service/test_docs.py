"""Every route, setting, metric and command is in docs/."""

from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from service import openapi
from service.app import ROUTES, create_app
from service.cli import app as command_line
from service.metrics import TABLE
from service.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_is_in_the_docs(method: str, path: str) -> None:
    assert f"`{method} {path}`" in (DOCS / "api.md").read_text()


def test_the_open_api_document_has_the_same_routes() -> None:
    paths = create_app(Settings(data=Path("unused"))).openapi()["paths"]
    assert {(method.upper(), path) for path, methods in paths.items() for method in methods} == set(ROUTES)


def test_the_open_api_document_is_the_one_that_docs_keep() -> None:
    assert (DOCS / "openapi.json").read_text() == openapi.document(), "the calls have changed: run `make openapi`"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_in_the_docs_with_its_sentence(name: str) -> None:
    field = Settings.model_fields[name]
    line = next(line for line in (DOCS / "settings.md").read_text().splitlines() if f"`QINCO_{name.upper()}`" in line)
    assert field.description
    assert field.description in line
    assert field.default_factory or str(field.default) in line or field.default is None


@pytest.mark.parametrize("name", TABLE)
def test_every_metric_is_in_the_docs_with_its_meaning(name: str) -> None:
    one = TABLE[name]
    assert f"| `{name}` | {one.kind} | {', '.join(one.labels)} | {one.meaning} |" in (DOCS / "metrics.md").read_text()


def commands(group: Any = get_command(command_line), before: str = "") -> list[str]:  # noqa: B008
    """Each command, and each of a group, as it is typed."""
    found = []
    for name, command in group.commands.items():
        found += commands(command, f"{before}{name} ") if hasattr(command, "commands") else [f"{before}{name}"]
    return found


@pytest.mark.parametrize("name", commands())
def test_every_command_is_in_the_docs(name: str) -> None:
    assert f"`qinco-server {name}" in (DOCS / "cli.md").read_text()


def test_the_commands_of_groups_are_found() -> None:
    assert {"serve", "model info", "model convert", "model evaluate"} <= set(commands())
