"""`qinco-server config`: each setting, its value, and where that came from."""

import json
from typing import Annotated

import typer

from service.cli.serve import ConfigFile


def config(
    config: ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print each setting with its value and where it came from."""
    from service.settings import Settings, load_settings, sources

    settings, origins = load_settings(config), sources(config)
    values = {name: _shown(getattr(settings, name)) for name in Settings.model_fields}
    if as_json:
        print(json.dumps({name: {"value": value, "source": origins[name]} for name, value in values.items()}))
        return
    for name, value in values.items():
        print(f"{name:20} {value!s:24} {origins[name]}")


def _shown(value: object) -> object:
    from pydantic import SecretStr

    if isinstance(value, SecretStr):
        return "(set)"
    return value if isinstance(value, int | str | None) else str(value)
