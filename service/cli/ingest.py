"""`qinco-server ingest`: files of vectors to a running server, over HTTP."""

import io
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.connection import Url, ask, collection_path, connect
from service.cli.failure import CommandFailed
from service.cli.progress import progress
from service.cli.resumable import upload_in_parts

if TYPE_CHECKING:
    import httpx

# Numbers in one request: what is lost at most when the connection breaks.
NUMBERS_PER_REQUEST = 4_000_000
LINES_PER_REQUEST = 256

Files = Annotated[
    list[Path], typer.Argument(help="Files: .npy, .fvecs, .bvecs, .parquet, .h5, or .jsonl with id, vector, payload.")
]


def ingest(
    files: Files,
    collection: Annotated[str, typer.Option(help="Collection to write to.")],
    url: Url = None,
    first_id: Annotated[
        int | None, typer.Option(help="Id of the first vector of arrays; by default after the largest.")
    ] = None,
    upload: Annotated[
        str | None, typer.Option(help="A name of your choice: the same command, run again, goes on where it broke off.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
) -> None:
    """Upload vectors from files into a collection that exists."""
    for file in files if upload is not None else ():
        if file.suffix == ".jsonl":
            raise CommandFailed(
                f"{file}: --upload is for arrays; points with ids of their own can be sent again as is."
            )
    with connect(url) as client:
        total = 0
        for number, file in enumerate(files):
            if file.suffix == ".jsonl":
                total += _ingest_lines(client, collection, file)
            else:
                name = None if upload is None else f"{upload}.{number}"
                sent = _ingest_array(client, collection, file, name, first_id)
                first_id = None if first_id is None else first_id + sent
                total += sent
    print(json.dumps({"points": total}) if as_json else f"Uploaded {total} points to '{collection}'.")


def _ingest_array(client: "httpx.Client", collection: str, file: Path, name: str | None, first_id: int | None) -> int:
    """`name`: of the upload, where it is to be resumed."""
    from service.cli.vector_files import open_vectors

    vectors = open_vectors(file)
    with progress(file.name, len(vectors)) as report:
        if name is None:
            _upload(client, collection, vectors, first_id, report)
        else:
            upload_in_parts(client, collection, name, vectors, first_id, report)
    return len(vectors)


def _upload(
    client: "httpx.Client", collection: str, vectors: Any, first_id: int | None, report: Callable[[int], None]
) -> None:
    import numpy as np

    from service.cli.vector_files import as_sent

    rows = max(1, NUMBERS_PER_REQUEST // vectors.shape[1])
    for start in range(0, len(vectors), rows):
        body = io.BytesIO()
        np.save(body, as_sent(vectors[start : start + rows]))
        answer = ask(
            client,
            "POST",
            f"{collection_path(collection)}/points/upload",
            params={} if first_id is None else {"first_id": first_id + start},
            content=body.getvalue(),
            headers={"Content-Type": "application/x-npy"},
        )
        report(start + answer["points"])


def _ingest_lines(client: "httpx.Client", collection: str, file: Path) -> int:
    """Lines are counted first, so that progress has an end."""
    try:
        with file.open("rb") as lines:
            total = sum(1 for _ in lines)
        done = 0
        with progress(file.name, total) as report, file.open("rb") as lines:
            for points in _batches(file, lines):
                ask(client, "PUT", f"{collection_path(collection)}/points", json={"points": points})
                report(done := done + len(points))
    except OSError as error:
        raise CommandFailed(f"{file} cannot be read: {error.strerror}") from error
    return done


def _batches(file: Path, lines: Iterator[bytes] | io.BufferedReader) -> Iterator[list[Any]]:
    numbered = enumerate(lines, 1)
    while batch := list(islice(numbered, LINES_PER_REQUEST)):
        yield [_point(file, number, line) for number, line in batch if line.strip()]


def _point(file: Path, number: int, line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise CommandFailed(f"{file}, line {number}, is not JSON: {error}") from error
