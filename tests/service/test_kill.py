"""What was acknowledged survives SIGKILL: ids, vectors, deletes; any other request is there whole or not at all.

Three clients write to one collection with codes, each to ids of its own, while segments are encoded and merged behind
them. The server is killed at a random moment, started again on the same folder, and everything is compared.
"""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.builders import clustered, tiny_codec
from tests.service.requests import NPY, npy, result
from tests.service.server_process import ForkedServer

KILLS = 20
DIM = 16
COLLECTION = "/collections/c"
IDS_A_CLIENT = 1000

Vectors = dict[int, NDArray[np.float32] | None]  # None: deleted, or never written


@dataclass
class Writer:
    """A client that knows what each of its ids must hold, and what the request under way would change."""

    first_id: int
    act: Callable[["Writer", httpx.Client, random.Random], None]
    acknowledged: Vectors = field(default_factory=dict)
    under_way: Vectors = field(default_factory=dict)
    requests: int = 0

    def run(self, url: str, seed: int) -> None:
        """Writes until the server is gone."""
        rng = random.Random(seed)
        with httpx.Client(base_url=url, timeout=30) as client:
            try:
                while True:
                    self.act(self, client, rng)
                    self.acknowledged |= self.under_way
                    self.under_way = {}
                    self.requests += 1
            except httpx.TransportError:
                return

    def ids(self, rng: random.Random, n: int) -> range:
        start = self.first_id + rng.randrange(IDS_A_CLIENT - n)
        return range(start, start + n)

    def check(self, client: httpx.Client) -> int:
        """Compares every id; returns how many points there are. What was under way counts from now on."""
        found = self._stored(client)
        if self.under_way:
            is_done = [_same(found[id], vector) for id, vector in self.under_way.items()]
            is_undone = [_same(found[id], self.acknowledged.get(id)) for id in self.under_way]
            assert all(is_done) or all(is_undone), "an unacknowledged request was half applied"
            self.acknowledged |= self.under_way if all(is_done) else {}
            self.under_way = {}
        wrong = [id for id, vector in self.acknowledged.items() if not _same(found[id], vector)]
        assert not wrong, f"{len(wrong)} of {len(self.acknowledged)} acknowledged ids differ, first {wrong[:5]}"
        return sum(vector is not None for vector in self.acknowledged.values())

    def _stored(self, client: httpx.Client) -> Vectors:
        ids = list(range(self.first_id, self.first_id + IDS_A_CLIENT))
        body = {"ids": ids, "with_vector": True, "with_payload": False}
        points = result(client.post(f"{COLLECTION}/points", json=body))
        return dict.fromkeys(ids) | {point["id"]: np.array(point["vector"], np.float32) for point in points}


def upsert(writer: Writer, client: httpx.Client, rng: random.Random) -> None:
    ids = writer.ids(rng, rng.randint(1, 60))
    vectors = clustered(len(ids), DIM, seed=rng.randrange(2**32))
    writer.under_way = dict(zip(ids, vectors, strict=True))
    batch = {"ids": list(ids), "vectors": vectors.tolist(), "payloads": [{"id": id} for id in ids]}
    result(client.put(f"{COLLECTION}/points", json={"batch": batch}))


def upload(writer: Writer, client: httpx.Client, rng: random.Random) -> None:
    ids = writer.ids(rng, rng.randint(1, 400))
    vectors = clustered(len(ids), DIM, seed=rng.randrange(2**32))
    writer.under_way = dict(zip(ids, vectors, strict=True))
    url = f"{COLLECTION}/points/upload?first_id={ids[0]}"
    result(client.post(url, content=npy(vectors), headers=NPY))


def upsert_or_delete(writer: Writer, client: httpx.Client, rng: random.Random) -> None:
    if rng.random() < 0.5:
        upsert(writer, client, rng)
        return
    ids = writer.ids(rng, rng.randint(1, 60))
    writer.under_way = dict.fromkeys(ids)
    result(client.post(f"{COLLECTION}/points/delete", json={"points": list(ids)}))


@pytest.mark.slow
def test_whatever_was_acknowledged_survives_twenty_kills(tmp_path: Path) -> None:
    rng = random.Random(7)
    writers = [Writer(i * IDS_A_CLIENT, act) for i, act in enumerate((upsert, upload, upsert_or_delete))]
    server = ForkedServer(tmp_path, encode_batch=100)
    try:
        _make_collection(server, tiny_codec(tmp_path, dim=DIM))
        for kill in range(KILLS):
            _write_until_killed(server, writers, rng.uniform(0.05, 0.8), seed=kill)
            server = ForkedServer(tmp_path, encode_batch=100)
            with httpx.Client(base_url=server.url, timeout=30) as client:
                alive = sum(writer.check(client) for writer in writers)
                assert result(client.post(f"{COLLECTION}/points/count", json={}))["count"] == alive
        assert all(writer.requests > KILLS for writer in writers)
        assert server.terminate() == 0
    finally:
        server.kill()


def _make_collection(server: ForkedServer, checkpoint: Path) -> None:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        result(client.put("/models/tiny", content=checkpoint.read_bytes()))
        body = {"vectors": {"size": DIM, "distance": "Euclid"}, "codes": {"model": "tiny"}}
        result(client.put(COLLECTION, json=body))


def _write_until_killed(server: ForkedServer, writers: list[Writer], after_s: float, seed: int) -> None:
    threads = [
        threading.Thread(target=writer.run, args=(server.url, seed * len(writers) + i))
        for i, writer in enumerate(writers)
    ]
    for thread in threads:
        thread.start()
    threads[0].join(after_s)
    server.kill()
    for thread in threads:
        thread.join()


def _same(one: NDArray[np.float32] | None, other: NDArray[np.float32] | None) -> bool:
    if one is None or other is None:
        return one is other
    return bool(np.array_equal(one, other))
