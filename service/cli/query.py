"""`qinco-server query`: asks a running server for the nearest points."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.connection import Url, ask, collection_path, connect
from service.cli.failure import CommandFailed


def query(
    collection: Annotated[str, typer.Argument(help="Collection to search.")],
    vector: Annotated[
        Path | None, typer.Option(help="File with the vector: .npy, or a JSON list; - reads JSON from standard input.")
    ] = None,
    id: Annotated[str | None, typer.Option(help="Search by the vector of the point with this id instead.")] = None,
    limit: Annotated[int, typer.Option(help="Points wanted.")] = 10,
    filter: Annotated[str | None, typer.Option(help="Filter, as JSON.")] = None,
    nprobe: Annotated[int | None, typer.Option(help="Lists read.")] = None,
    exact: Annotated[bool, typer.Option(help="Brute force over the originals.")] = False,
    url: Url = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Print the points nearest to a vector, or to a point."""
    if (vector is None) == (id is None):
        raise CommandFailed("Give either --vector or --id.")
    body = {
        "query": _read_vector(vector) if vector is not None else _id(str(id)),
        "limit": limit,
        "filter": None if filter is None else _json(filter, "--filter"),
        "with_payload": True,
        "params": {"nprobe": nprobe, "exact": exact},
    }
    with connect(url) as client:
        points = ask(client, "POST", f"{collection_path(collection)}/points/query", json=body)["points"]
    if as_json:
        print(json.dumps(points))
    else:
        _print_table(points)


def _read_vector(path: Path) -> Any:
    try:
        if path.suffix == ".npy":
            from service.cli.vector_files import open_array

            return open_array(path).reshape(-1).tolist()
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
        return _json(text, "Standard input" if str(path) == "-" else str(path))
    except (OSError, ValueError) as error:
        raise CommandFailed(f"{path} cannot be read: {error}") from error


def _id(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdecimal() else text


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise CommandFailed(f"{what} is not JSON: {error}") from error


def _print_table(points: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("id", "score", "payload")
    for point in points:
        payload = json.dumps(point["payload"], ensure_ascii=False) if point["payload"] else ""
        table.add_row(str(point["id"]), f"{point['score']:.4f}", payload)
    Console().print(table)
