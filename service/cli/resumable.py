"""Vectors uploaded in named parts, each streamed in one request that the server resumes when it is sent again."""

import io
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from service.cli.connection import ask, collection_path, found

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
        if before is None or (before["points"], before["total"]) != (stop - start,) * 2:
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
    rows = max(1, NUMBERS_AT_ONCE // vectors.shape[1])
    for begin in range(start, stop, rows):
        report(begin)
        yield as_sent(vectors[begin : min(begin + rows, stop)]).tobytes()
