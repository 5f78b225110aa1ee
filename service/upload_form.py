"""An upload as a form: `vectors` (.npy), and optionally `ids` and `payload`, all checked before anything is written."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import anyio.to_thread
import numpy as np
from fastapi import Request
from numpy.typing import NDArray
from starlette.datastructures import FormData, UploadFile

from service.bodies import parse_json
from service.errors import MalformedRequest
from service.npy import NpyHeader, check_vectors, header_of_file, next_rows
from service.point_ids import point_id
from service.points_json import Ids, check_finite, check_payloads, numbered

PARTS = ("vectors", "ids", "payload")


@dataclass
class UploadForm:
    """n checked vectors, still on disk, with their ids and payloads where the form has them."""

    file: BinaryIO
    header: NpyHeader
    chunk_rows: int
    ids: Ids | None
    payloads: list[dict[str, Any] | None] | None

    @property
    def n(self) -> int:
        return self.header.shape[0]

    def next_vectors(self) -> NDArray[np.float32]:
        """The next chunk, float32 [≤ chunk_rows, dim]; none at the end."""
        return next_rows(self.file, self.header, self.chunk_rows)


@asynccontextmanager
async def open_form(request: Request, dim: int, chunk_rows: int) -> AsyncIterator[UploadForm]:
    """Parts come in any order, so all of them rest in temporary files, gone when the block ends."""
    async with request.form(max_files=len(PARTS), max_fields=len(PARTS)) as form:
        yield await anyio.to_thread.run_sync(_read, _parts(form), dim, chunk_rows)


def _parts(form: FormData) -> dict[str, UploadFile]:
    parts: dict[str, UploadFile] = {}
    for name, part in form.multi_items():
        if name not in PARTS or name in parts:
            raise MalformedRequest(f"The form has a part '{name}' too many; it has one each of {', '.join(PARTS)}.")
        if not isinstance(part, UploadFile):
            raise MalformedRequest(f"The part '{name}' of the form must be a file, with a file name.")
        parts[name] = part
    if "vectors" not in parts:
        raise MalformedRequest("The form has no file 'vectors'.")
    return parts


def _read(parts: dict[str, UploadFile], dim: int, chunk_rows: int) -> UploadForm:
    vectors = parts["vectors"]
    header = header_of_file(vectors.file, vectors.size or 0, "vectors")
    check_vectors(header, dim)
    n = header.shape[0]
    form = UploadForm(
        vectors.file,
        header,
        chunk_rows,
        _read_ids(parts["ids"], n) if "ids" in parts else None,
        _read_payloads(parts["payload"], n) if "payload" in parts else None,
    )
    _check_all_finite(form)
    return form


def _check_all_finite(form: UploadForm) -> None:
    """Reads every vector once, and goes back to the first."""
    for first in range(0, form.n, form.chunk_rows):
        check_finite(form.next_vectors(), numbered("Point", first))
    form.file.seek(form.header.start)


def _read_ids(part: UploadFile, n: int) -> Ids:
    """Ids from a .npy of integers, or from a text of UUIDs, one a line."""
    is_npy = part.file.read(1) == b"\x93"
    part.file.seek(0)
    ids: Ids = _ids_of_npy(part) if is_npy else _ids_of_text(part)
    if len(ids) != n:
        raise MalformedRequest(f"'vectors' has {n} vectors, 'ids' {len(ids)} entries; they must be as many.")
    return ids


def _ids_of_npy(part: UploadFile) -> NDArray[np.uint64]:
    header = header_of_file(part.file, part.size or 0, "ids")
    if len(header.shape) != 1 or header.dtype.kind not in "ui":
        found = f"{header.dtype} with shape {header.shape}"
        raise MalformedRequest(f"'ids' must be a one-dimensional .npy of uint64; it is {found}.")
    ids = np.frombuffer(part.file.read(), header.dtype)
    if header.dtype.kind == "i" and (ids < 0).any():
        place = int((ids < 0).argmax())
        raise MalformedRequest(f"ids[{place}]: an id is an integer from 0 to 2^64 - 1, not {ids[place]}.")
    return ids.astype(np.uint64)


def _ids_of_text(part: UploadFile) -> Ids:
    return [point_id(line.strip(), f"ids, line {at}") for at, line in enumerate(_lines(part, "ids"), 1)]


def _read_payloads(part: UploadFile, n: int) -> list[dict[str, Any] | None]:
    payloads = []
    for at, line in enumerate(_lines(part, "payload"), 1):
        try:
            payloads.append(parse_json(line.encode()))
        except MalformedRequest as error:
            raise MalformedRequest(f"'payload', line {at}, is not JSON.") from error
    return check_payloads(payloads, n, "payload")


def _lines(part: UploadFile, what: str) -> list[str]:
    """Lines end with \\n alone: JSON may hold the other separators that `splitlines` knows."""
    try:
        text = part.file.read().decode()
    except UnicodeDecodeError as error:
        raise MalformedRequest(f"'{what}' is not UTF-8.") from error
    return text.removesuffix("\n").split("\n") if text else []
