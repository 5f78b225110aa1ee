"""`qinco-server verify`: every byte of a data folder compared with its checksums, while no server holds it."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.failure import CommandFailed

if TYPE_CHECKING:
    from index_store.verify import Verdict

DAMAGED = 3


def verify(
    data: Annotated[Path, typer.Argument(help="The data folder; no server may hold it.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Read all of a data folder and tell what is damaged: file, byte and why. Status 0: sound; 3: damaged."""
    from index_store import verify as checking
    from model.errors import QincoError

    try:
        verdict = checking.verify(data)
    except (QincoError, OSError) as error:
        raise CommandFailed(str(error)) from error
    if as_json:
        print(json.dumps({"is_sound": not verdict.damages, **asdict(verdict)}))
    else:
        _print(verdict)
    if verdict.damages:
        raise typer.Exit(DAMAGED)


def _print(verdict: "Verdict") -> None:
    for one in verdict.damages:
        place = "" if one.offset is None else f", byte {one.offset}"
        print(f"{one.file}{place}: {one.what}")
    looked_at = (
        f"{verdict.files} files, {verdict.size_bytes} bytes, of {verdict.collections} collections and "
        f"{verdict.models} models"
    )
    print(f"{len(verdict.damages)} damaged of {looked_at}." if verdict.damages else f"Sound: {looked_at}.")
