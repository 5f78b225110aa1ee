"""`qinco-server model evaluate`: error and recall of a codec on vectors, as the papers measure them."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.device import device_called
from service.cli.failure import CommandFailed
from service.cli.model_file import open_codec
from service.cli.model_info import code_bytes
from service.cli.process import share_threads
from service.cli.progress import progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def evaluate(
    file: Annotated[Path, typer.Argument(help="Checkpoint: ours, or a .pt of QINCo's or QINCo2's authors.")],
    base: Annotated[Path, typer.Option(help="Vectors to encode and search: .npy, .fvecs or .bvecs.")],
    queries: Annotated[Path, typer.Option(help="Vectors to search for.")],
    groundtruth: Annotated[
        Path | None,
        typer.Option(help="Neighbours of each query (.npy), nearest first; by default found by exact search."),
    ] = None,
    cosine: Annotated[bool, typer.Option(help="Divide each vector by its length first.")] = False,
    rows: Annotated[int | None, typer.Option(min=1, help="Take only so many vectors of the base.")] = None,
    prefixes: Annotated[bool, typer.Option(help="Measure every prefix of the codes too.")] = False,
    candidates: Annotated[int | None, typer.Option(min=0, help="A when encoding; by default the codec's.")] = None,
    beam: Annotated[int | None, typer.Option(min=1, help="B when encoding; by default the codec's.")] = None,
    device: Annotated[str, typer.Option(help="Where to encode and decode: cpu, cuda, cuda:1 …")] = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads; by default the machine's cores.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure error, recall@1, 10 and 100 by searching all decoded vectors, and time."""
    threads = threads or os.cpu_count() or 1
    share_threads(threads)
    opened = open_codec(file, device_called(device))
    codec = opened.codec
    from model.errors import QincoError
    from model.evaluation import Effort
    from model.evaluation import evaluate as run
    from service.cli.vector_files import open_vectors

    vectors = open_vectors(base)
    if rows is not None and rows > len(vectors):
        raise CommandFailed(f"{base} has {len(vectors)} vectors, fewer than --rows {rows}.")
    is_cut = rows is not None and rows < len(vectors)
    neighbours = None if groundtruth is None or is_cut else _neighbours(groundtruth)
    effort = Effort(candidates, beam, prefixes, cosine)
    try:
        with progress("Evaluating", rows or len(vectors)) as report:
            evaluation = run(codec, vectors[:rows], open_vectors(queries), neighbours, effort, report)
    except QincoError as error:
        raise CommandFailed(str(error)) from error
    figures = {
        "file": opened.path.name,
        "kind": opened.kind,
        "sha256": codec.sha256,
        "vectors": evaluation.vectors,
        "queries": evaluation.queries,
        "candidates": codec.default_candidates if candidates is None else candidates,
        "beam": codec.default_beam if beam is None else beam,
        "threads": threads,
        "encode_us": round(evaluation.encode_us, 2),
        "decode_us": round(evaluation.decode_us, 2),
        "prefixes": [
            {
                "steps": one.steps,
                "bytes": code_bytes(codec, one.steps),
                "mse": one.mse,
                **{f"recall_at_{r}": share for r, share in one.recall.items()},
            }
            for one in evaluation.prefixes
        ],
    }
    if as_json:
        print(json.dumps(figures))
    else:
        _print_table(figures)


def _neighbours(path: Path) -> "NDArray[np.integer]":
    """The neighbours [q, k] of a .npy file; raises CommandFailed."""
    import numpy as np

    from service.cli.vector_files import open_vectors

    neighbours = open_vectors(path)
    if not np.issubdtype(neighbours.dtype, np.integer):
        raise CommandFailed(f"{path} holds {neighbours.dtype}; a ground truth is numbers of vectors, integers [q, k].")
    return neighbours


def _print_table(figures: dict[str, Any]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    title = f"{figures['kind']} on {figures['vectors']} vectors, {figures['queries']} queries"
    caption = (
        f"A = {figures['candidates'] or 'all'}, B = {figures['beam']}; a vector takes {figures['encode_us']:.1f} µs to "
        f"encode, {figures['decode_us']:.2f} µs to decode; threads: {figures['threads']}"
    )
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left", box=SIMPLE_HEAD)
    table.show_edge = table.pad_edge = False
    for column in ("steps", "bytes", "MSE", "R@1", "R@10", "R@100"):
        table.add_column(column, justify="right")
    for one in figures["prefixes"]:
        recall = [f"{one[f'recall_at_{r}']:.2%}" for r in (1, 10, 100)]
        table.add_row(str(one["steps"]), str(one["bytes"]), f"{one['mse']:.6g}", *recall)
    Console().print(table)
