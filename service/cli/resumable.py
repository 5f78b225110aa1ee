"""Vectors uploaded in named parts, each streamed in one request that the server resumes when it is sent again."""

import io
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from service.cli.connection import ask, collection_path, found
from service.cli.failure import CommandFailed

if TYPE_CHECKING:
    import httpx

# Numbers in a part: what is sent once more at most, where a server or a connection broke off.
NUMBERS_PER_PART = 64_000_000
NUMBERS_AT_ONCE = 1_000_000


def upload_in_parts(
    client: "httpx.Client",
    collection: str,
    name: str,
    vectors: Any,
    first_id: int | None,
    report: Callable[[int], None],
) -> None:
    """Upload vectors [n, dim] as NAME.0, NAME.1, …: a part that is stored is passed over, one that broke off goes on.

    Raises CommandFailed, also where the server has other vectors under these names.
    """
    path = f"{collection_path(collection)}/points/upload"
    rows = max(1, NUMBERS_PER_PART // vectors.shape[1])
    for number, start in enumerate(range(0, len(vectors), rows)):
        part, stop = f"{name}.{number}", min(start + rows, len(vectors))
        before = found(client, path, {"upload": part})
        if before is not None and (before["points"], before["total"]) == (stop - start,) * 2:
            if before["vectors_crc32"] != _checksum(vectors, start, stop):
                raise CommandFailed(
                    f"Vectors {start} to {stop - 1} are not those that were uploaded as '{part}': run the command with "
                    "the same files as before, or choose another name."
                )
        else:
            ask(
                client,
                "POST",
                path,
                params={"upload": part} if first_id is None else {"upload": part, "first_id": first_id + start},
                content=_streamed(vectors, start, stop, report),
                headers={"Content-Type": "application/x-npy"},
            )
        report(stop)


def _streamed(vectors: Any, start: int, stop: int, report: Callable[[int], None]) -> Iterator[bytes]:
    """Some of the vectors as an .npy file, piece by piece."""
    import numpy as np

    from service.cli.vector_files import as_sent

    head = io.BytesIO()
    kind = as_sent(vectors[start : start + 1]).dtype
    shape = {
        "descr": np.lib.format.dtype_to_descr(kind),
        "fortran_order": False,
        "shape": (stop - start, vectors.shape[1]),
    }
    np.lib.format.write_array_header_1_0(head, shape)
    yield head.getvalue()
    for begin, end in _pieces(vectors, start, stop):
        report(begin)
        yield as_sent(vectors[begin:end]).tobytes()


def _checksum(vectors: Any, start: int, stop: int) -> int:
    """The CRC-32 of some of the vectors, as the server keeps it of what it stored."""
    import numpy as np

    from service.cli.vector_files import as_sent

    value = 0
    for begin, end in _pieces(vectors, start, stop):
        value = zlib.crc32(as_sent(vectors[begin:end]).astype(np.float32).tobytes(), value)
    return value


def _pieces(vectors: Any, start: int, stop: int) -> Iterator[tuple[int, int]]:
    rows = max(1, NUMBERS_AT_ONCE // vectors.shape[1])
    return ((begin, min(begin + rows, stop)) for begin in range(start, stop, rows))
