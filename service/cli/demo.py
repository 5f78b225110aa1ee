"""`qinco-server demo`: the bundled example goes in over HTTP, comes to rest as codes, and is found again."""

import io
import json
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from service.cli.child_server import serving, sigterm_as_exit
from service.cli.connection import ask
from service.cli.failure import CommandFailed
from service.cli.process import share_threads
from service.cli.progress import progress

EXAMPLE = Path(__file__).parents[2] / "examples" / "wordnet"
MODEL = COLLECTION = "wordnet-16"
PATH = f"/collections/{COLLECTION}"
LIMIT = 10
CLIENTS = 4
# Of the bundled queries: motorboat, air travel, coffee urn, bobcat, Lake Constance.
SAMPLES = (16, 22, 36, 38, 57)
SAMPLE_LIMIT = 5
SIZES = ("code_bytes", "ram_bytes_per_vector", "float32_bytes")


@dataclass(frozen=True)
class Example:
    """The bundled data: vectors [n, dim], queries [q, dim], exact neighbours [q, 100], and what each row means."""

    vectors: Path
    queries: NDArray[np.int8]
    neighbours: NDArray[np.int32]
    terms: list[str]
    query_terms: list[str]
    checkpoint: Path


@dataclass(frozen=True)
class Effort:
    """How hard the service looks; `rescored` hits are judged again by their originals."""

    nprobe: int
    shortlist: int
    rerank: int
    rescored: int = 0

    def params(self) -> dict[str, Any]:
        quantization = {"rescore": self.rescored > 0, "oversampling": max(1.0, self.rescored / LIMIT)}
        return {"nprobe": self.nprobe, "shortlist": self.shortlist, "rerank": self.rerank, "quantization": quantization}


# What the service chooses by itself for a collection of this size.
EFFORTS = {
    "codes alone": Effort(nprobe=210, shortlist=40, rerank=40),
    "rescored": Effort(nprobe=210, shortlist=160, rerank=160, rescored=160),
}
LEGEND = """rescored: the best 160 judged by their originals on disk
ceiling: all decoded vectors ranked, codes alone"""


def demo(folder: Path = EXAMPLE, as_json: bool = False) -> None:
    """Start a server of its own, upload the example, search it, print recall; nothing is left behind."""
    with sigterm_as_exit(), tempfile.TemporaryDirectory(prefix="qinco-") as temporary:
        figures = show(read_example(folder), Path(temporary), Console(stderr=as_json))
    if as_json:
        print(json.dumps(figures))


def show(example: Example, temporary: Path, console: Console) -> dict[str, Any]:
    """Run it, tell people how it goes, and return what was measured."""
    recall = recall_table(example)
    figures: dict[str, Any] = {"vectors": len(example.terms), "queries": len(example.queries)}
    with serving(temporary) as server, httpx.Client(base_url=server.url, timeout=120) as client:
        console.print(f"A server is ready at {server.url}, with a temporary data folder.")
        upload_model(client, example)
        seconds = upload_vectors(client, example, console)
        codes = ask(client, "GET", PATH)["codes"]
        console.print(size_table(codes, len(example.terms), seconds))
        figures |= {"encoded_s": seconds} | {name: codes[name] for name in SIZES}
        with console.status("Searching"):
            for title, effort in EFFORTS.items():
                found = search_all(client, example.queries, effort)
                figures[title.replace(" ", "_")] = add_recall(recall, title, example, effort, *found)
            samples = samples_table(client, example)
    with console.status("Ranking all decoded vectors"):
        figures["ceiling"] = add_ceiling(recall, example, temporary / "data")
    console.print(recall)
    console.print(samples)
    return figures


def read_example(folder: Path) -> Example:
    """Everything below `folder`; raises CommandFailed for what is missing."""
    names = ["base.npy", "query.npy", "groundtruth.npy", "terms.txt", "query_terms.txt", f"{MODEL}.safetensors"]
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise CommandFailed(f"{folder} has no {', '.join(missing)}. Run the demo from a checkout of the repository.")
    base, query, groundtruth, terms, query_terms, checkpoint = (folder / name for name in names)
    return Example(base, np.load(query), np.load(groundtruth), lines(terms), lines(query_terms), checkpoint)


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def upload_model(client: httpx.Client, example: Example) -> None:
    ask(client, "PUT", f"/models/{MODEL}", content=example.checkpoint.read_bytes())


def upload_vectors(client: httpx.Client, example: Example, console: Console) -> float:
    """Create the collection, upload all vectors with their terms, wait for their codes; the seconds this took."""
    started = time.perf_counter()
    size = {"size": example.queries.shape[1], "distance": "Cosine"}
    ask(client, "PUT", PATH, json={"vectors": size, "codes": {"model": MODEL}})
    payload = "".join(json.dumps({"terms": terms}) + "\n" for terms in example.terms)
    files = {
        "vectors": ("base.npy", example.vectors.read_bytes()),
        "ids": ("ids.npy", as_npy(np.arange(len(example.terms), dtype=np.uint64))),
        "payload": ("payload.jsonl", payload.encode()),
    }
    ask(client, "POST", f"{PATH}/points/upload", files=files)
    seconds = time.perf_counter() - started
    console.print(f"Uploaded {len(example.terms)} vectors in {seconds:.1f} s; they can be searched already.")
    wait_for_codes(client, len(example.terms))
    return time.perf_counter() - started


def as_npy(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def wait_for_codes(client: httpx.Client, total: int) -> None:
    """Show progress until every vector is encoded."""
    pending = total
    with progress("Encoding", total) as report:
        while pending:
            pending = ask(client, "GET", PATH)["codes"]["pending"]
            report(total - pending)
            time.sleep(0.1)


def new_table(title: str, caption: str | None = None) -> Table:
    """Plain enough to be read in a log, narrow enough for 80 columns."""
    table = Table(title=f"\n{title}", title_justify="left", caption=caption, caption_justify="left", box=SIMPLE_HEAD)
    table.show_edge = table.pad_edge = False
    return table


def size_table(codes: dict[str, Any], vectors: int, seconds: float) -> Table:
    table = new_table("What a vector takes")
    for column in ("vectors", "uploaded, encoded", "code", "RAM a vector", "as float32"):
        table.add_column(column, justify="right")
    table.add_row(f"{vectors}", f"{seconds:.1f} s", *(f"{codes[name]:.4g} bytes" for name in SIZES))
    return table


def recall_table(example: Example) -> Table:
    table = new_table(f"Recall against exact search, {len(example.queries)} queries", LEGEND)
    table.add_column("search")
    for column in ("recall@1", "10-recall@10", "queries/s", "nprobe", "shortlist", "re-rank"):
        table.add_column(column, justify="right")
    return table


def add_recall(
    table: Table, title: str, example: Example, effort: Effort, found: Sequence[Sequence[int]], seconds: float
) -> dict[str, float]:
    first, ten = recalls(found, example.neighbours)
    sizes = [f"{size}" for size in (effort.nprobe, effort.shortlist, effort.rerank)]
    table.add_row(title, f"{first:.1%}", f"{ten:.1%}", f"{len(found) / seconds:.0f}", *sizes)
    return {"recall_at_1": first, "10_recall_at_10": ten, "queries_per_s": len(found) / seconds}


def add_ceiling(table: Table, example: Example, data: Path) -> dict[str, float]:
    """What codes alone would reach if every vector were decoded for every query."""
    share_threads(os.cpu_count() or 1)
    from service.cli.ceiling import rank_all_decoded  # imports torch, which nothing before needs

    queries = example.queries.astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    found = rank_all_decoded(data, COLLECTION, example.checkpoint, queries, LIMIT).tolist()
    first, ten = recalls(found, example.neighbours)
    table.add_row("ceiling", f"{first:.1%}", f"{ten:.1%}", "–", "all", "all", "all")
    return {"recall_at_1": first, "10_recall_at_10": ten}


def search_all(client: httpx.Client, queries: NDArray[np.int8], effort: Effort) -> tuple[list[list[int]], float]:
    """The ids found for each query, and the seconds it took: one query a request, from several clients at once."""
    search = partial(search_one, client, effort)
    search(queries[0])
    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as clients:
        found = list(clients.map(search, queries))
    return found, time.perf_counter() - started


def search_one(client: httpx.Client, effort: Effort, query: NDArray[np.int8]) -> list[int]:
    body = {"query": query.tolist(), "limit": LIMIT, "with_payload": False, "params": effort.params()}
    return [point["id"] for point in ask(client, "POST", f"{PATH}/points/query", json=body)["points"]]


def recalls(found: Sequence[Sequence[int]], exact: NDArray[np.int32]) -> tuple[float, float]:
    """recall@1 and 10-recall@10: how often the nearest came first, and how many of the ten nearest were found."""
    nearest = [truth[:LIMIT].tolist() for truth in exact]
    first = np.mean([ids[:1] == truth[:1] for ids, truth in zip(found, nearest, strict=True)])
    ten = np.mean([len({*ids} & {*truth}) / LIMIT for ids, truth in zip(found, nearest, strict=True)])
    return float(first), float(ten)


def samples_table(client: httpx.Client, example: Example) -> Table:
    table = new_table("Five queries and what lies nearest")
    table.add_column("query")
    table.add_column("neighbours, nearest first", overflow="fold")
    for row in SAMPLES:
        body = {"query": example.queries[row].tolist(), "limit": SAMPLE_LIMIT, "with_payload": True}
        points = ask(client, "POST", f"{PATH}/points/query", json=body)["points"]
        table.add_row(short(example.query_terms[row]), " · ".join(short(point["payload"]["terms"]) for point in points))
    return table


def short(terms: str) -> str:
    """The first term of several."""
    return terms.split(", ")[0]
