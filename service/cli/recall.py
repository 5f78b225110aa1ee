"""`qinco-server recall`: has a running server measure a collection's recall, and prints what it takes to reach more."""

import json
import time
from typing import Annotated, Any

import typer

from service.cli.connection import Url, ask, collection_path, connect
from service.cli.failure import CommandFailed

TARGETS = (0.5, 0.8, 0.9, 0.95, 0.99)
ASK_EVERY_S = 0.5


def recall(
    collection: Annotated[str, typer.Argument(help="Collection to measure.")],
    sample: Annotated[int, typer.Option(help="Queries asked: recent ones, or the collection's own points.")] = 1000,
    limit: Annotated[int, typer.Option(help="Hits compared with exact search.")] = 10,
    using: Annotated[str | None, typer.Option(help="Named vector, where there are several.")] = None,
    url: Url = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was measured as JSON.")] = False,
) -> None:
    """Measure recall against exact search, and what it takes to reach more or less of it."""
    with connect(url) as client:
        body = {"sample": sample, "limit": limit, "using": using}
        job = ask(client, "POST", f"{collection_path(collection)}/recall", json=body)
        while job["ended"] is None:
            time.sleep(ASK_EVERY_S)
            job = ask(client, "GET", f"/jobs/{job['id']}")
    if job["error"]:
        raise CommandFailed(job["error"])
    measured = (job["result"] or {}).get("measured")
    if measured is None:
        raise CommandFailed("There is nothing to measure yet: no vector is encoded.")
    print(json.dumps(measured)) if as_json else _print_table(measured)


def _print_table(measured: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    asked = f"{measured['sample']} {measured['queries']}, {measured['limit']} hits each"
    table = Table("target_recall", "measured", "nprobe", "rescored", "ms a query", title=f"Recall on {asked}")
    for target in TARGETS:
        reached = [one for one in measured["operating_points"] if one["recall"] - one["deviation"] >= target]
        point = min(reached, key=lambda one: one["cost_ms"], default=None)
        if point is None:
            table.add_row(f"{target:.2f}", "not reached: search is exact", "", "", "")
        else:
            row = f"{point['recall']:.3f}", str(point["nprobe"]), str(point["rescored"]), f"{point['cost_ms']:.2f}"
            table.add_row(f"{target:.2f}", *row)
    console = Console()
    console.print(table)
    console.print(f"By default: {measured['default']:.3f}")
