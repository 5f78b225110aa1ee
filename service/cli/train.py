"""`qinco-server train`: a codec from a file of vectors; the work is in model.training."""

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from service.cli.device import device_called
from service.cli.failure import CommandFailed
from service.cli.model_file import check_output
from service.cli.process import share_threads
from service.cli.training_display import display

if TYPE_CHECKING:
    from model.training.peers import Peers

UNITS_BYTES = {"MB": 10**6, "GB": 10**9, "TB": 10**12}
UNITS_S = {"s": 1, "m": 60, "h": 3600}


def train(
    vectors: Annotated[Path, typer.Argument(help="Vectors to train on: .npy, .fvecs, .bvecs, .parquet or .h5.")],
    out: Annotated[Path, typer.Option(help="Checkpoint to write (.safetensors).")],
    bytes: Annotated[int, typer.Option(min=1, max=256, help="Bytes of a code.")] = 16,
    preset: Annotated[Literal["XS", "S", "M", "L"], typer.Option(help="Size of the network.")] = "S",
    family: Annotated[
        Literal["QINCo2", "QINCo", "QINCo-LR"], typer.Option(help="What to train; docs/models.md tells them apart.")
    ] = "QINCo2",
    slices: Annotated[
        int, typer.Option(min=1, help="Cut vectors into so many slices with a codec each (PQ-QINCo); without lists.")
    ] = 1,
    rotate: Annotated[bool, typer.Option(help="Turn vectors by OPQ's rotation before they are cut.")] = False,
    lists: Annotated[int | None, typer.Option(min=0, help="IVF lists; 0 for none. By default about 4 · √n.")] = None,
    beam: Annotated[int, typer.Option(min=1, help="B: hypotheses kept while encoding.")] = 4,
    candidates: Annotated[int, typer.Option(min=0, help="A: codewords looked at for each hypothesis.")] = 4,
    preselection_blocks: Annotated[int, typer.Option(min=0, help="L_s: blocks of the network that pre-selects.")] = 0,
    epochs: Annotated[float, typer.Option(min=0, help="Passes over the data, without --time-budget.")] = 20.0,
    time_budget: Annotated[str | None, typer.Option(help="Time for everything, such as 90s, 30m or 8h.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Of AdamW, at its highest; by default the preset's.")
    ] = None,
    schedule: Annotated[
        Literal["cosine", "paper"], typer.Option(help="How the rate goes; paper: as QINCo2's authors have it.")
    ] = "cosine",
    batch: Annotated[int, typer.Option(min=1, help="Vectors of a batch.")] = 256,
    cosine: Annotated[bool, typer.Option(help="Divide each vector by its length first.")] = False,
    skip: Annotated[int, typer.Option(min=0, help="Rows at the start of the file to leave out of training.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    allow_constant: Annotated[bool, typer.Option(help="Accept dimensions with one value in all vectors.")] = False,
    memory: Annotated[
        str | None, typer.Option(help="Memory to train in, such as 8GB; by default half of what is available.")
    ] = None,
    baselines: Annotated[bool, typer.Option(help="Also train Faiss' PQ, OPQ, RQ, LSQ of as many bytes.")] = False,
    tensorboard: Annotated[Path | None, typer.Option(help="Folder to write TensorBoard's curves to.")] = None,
    state_part_size: Annotated[
        str | None, typer.Option(help="Keep the state for --resume in parts of at most so much, such as 50MB.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Continue the training of OUT that was interrupted.")] = False,
    device: Annotated[str, typer.Option(help="Where to train: cpu, cuda, cuda:1 …")] = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads; by default the machine's cores.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was measured as JSON.")] = False,
) -> None:
    """Train a codec and write its checkpoint, ready for PUT /models/NAME.

    On several GPUs: `torchrun --nproc-per-node 4 --no-python qinco-server train … --device cuda`.
    """
    share_threads(threads or os.cpu_count() or 1)
    check_output(out)
    _check_slices(slices, rotate, lists)
    budget_s = None if time_budget is None else _seconds(time_budget)
    from model.errors import QincoError
    from model.training import Recipe, write_report
    from model.training import train as run
    from model.training.peers import joined
    from model.training.sliced import train_sliced
    from service.cli.vector_files import open_vectors, without_first

    recipe = Recipe(
        family=family,
        steps=bytes,
        preset=preset,
        lists=lists,
        beam=beam,
        candidates=candidates,
        preselection_blocks=preselection_blocks,
        epochs=epochs,
        time_budget_s=budget_s,
        batch=batch,
        learning_rate=learning_rate,
        schedule=schedule,
        normalise=cosine,
        allow_constant=allow_constant,
        seed=seed,
    )
    try:
        where = device_called(device)
        with joined(where) as peers, display(tensorboard if peers.is_first else None) as report:
            _check_alone(peers, slices)
            how = (
                resume,
                where,
                _size_bytes("--memory", memory),
                baselines,
                _size_bytes("--state-part-size", state_part_size),
            )
            rows = without_first(open_vectors(vectors), skip)
            if slices == 1:
                training = run(rows, recipe, out, report, *how, peers)
            else:
                training = train_sliced(rows, recipe, slices, out, report, rotate, *how)
        if not peers.is_first:
            return
        page = write_report(training, out)
    except (QincoError, OSError) as error:
        raise CommandFailed(str(error)) from error
    print(json.dumps(training) if as_json else _summary(out, page, training["quality"]))


def _check_slices(slices: int, rotate: bool, lists: int | None) -> None:
    if slices > 1 and lists:
        raise CommandFailed("--slices and --lists do not go together: a codec of slices has no lists of its own.")
    if slices == 1 and rotate:
        raise CommandFailed("--rotate turns vectors before they are cut: say into how many --slices.")


def _summary(out: Path, page: Path, quality: dict[str, float]) -> str:
    return (
        f"Wrote {out}, {out.stat().st_size / 1e6:.1f} MB, and {page.name}. On vectors set apart: "
        f"MSE {quality['mse']:.5g} (pairwise {quality['mse_pairwise']:.5g}, additive {quality['mse_additive']:.5g}), "
        f"recall@1 {quality['recall_at_1']:.1%}, recall@10 {quality['recall_at_10']:.1%} of {quality['queries']} "
        f"queries among {quality['vectors']} decoded vectors."
    )


def _check_alone(peers: "Peers", slices: int) -> None:
    if peers.count > 1 and slices > 1:
        raise CommandFailed("--slices are trained by one process: start qinco-server itself, not torchrun.")


def _size_bytes(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(MB|GB|TB)", text.strip())
    if match is None or float(match[1]) == 0:
        raise CommandFailed(f"{option} is a number with MB, GB or TB, such as 50MB; not '{text}'.")
    return max(1, int(float(match[1]) * UNITS_BYTES[match[2]]))


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", text.strip())
    if match is None:
        raise CommandFailed(f"--time-budget is a number with s, m or h, such as 30m; not '{text}'.")
    return float(match[1]) * UNITS_S[match[2]]
