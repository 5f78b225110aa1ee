"""A server that clients write to until it is killed or stopped, and what they find when it is started again.

Each client writes to ids of its own, knows what each must hold, and what the request under way would change. Segments
are encoded and merged behind them, and one more client takes snapshots and has all encoded anew.
"""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from tests.builders import clustered, tiny_codec
from tests.service.requests import NPY, npy, result
from tests.service.server_process import READY_S, ForkedServer

DIM = 16
COLLECTION = "/collections/c"
IDS_A_CLIENT = 1000
MOST_ANSWERED, MOST_LATER_S = 15, 0.1
TRAINED = 0.03
"""How often a training begins or ends, among snapshots: its process takes seconds of a core to start."""
STOPPED = (httpx.TransportError, ConnectionError)

Payload = dict[str, Any]
Point = tuple[NDArray[np.float32], Payload] | None  # None: deleted, or never written


@dataclass
class Writer:
    """A client that knows what each of its ids must hold, and what the request under way would change."""

    first_id: int
    act: Callable[["Writer", httpx.Client, random.Random], None]
    answered: threading.Semaphore
    acknowledged: dict[int, Point] = field(default_factory=dict)
    refusal: AssertionError | None = None
    under_way: dict[int, Point] = field(default_factory=dict)
    requests: int = 0

    def run(self, url: str, seed: int) -> None:
        """Writes until the server is gone, or refuses something: none of this may be refused."""
        rng = random.Random(seed)
        with client_of(url) as client:
            try:
                while True:
                    self.act(self, client, rng)
                    self.acknowledged |= self.under_way
                    self.under_way = {}
                    self.requests += 1
                    self.answered.release()
            except STOPPED:
                return
            except AssertionError as refusal:
                self.refusal = refusal

    def ids(self, rng: random.Random, n: int) -> range:
        start = self.first_id + rng.randrange(IDS_A_CLIENT - n)
        return range(start, start + n)

    def check(self, client: httpx.Client) -> int:
        """Compares every id; returns how many points there are. What was under way counts from now on."""
        found = self._stored(client)
        if self.under_way:
            is_done = [_same(found[id], point) for id, point in self.under_way.items()]
            is_undone = [_same(found[id], self.acknowledged.get(id)) for id in self.under_way]
            assert all(is_done) or all(is_undone), "an unacknowledged request was half applied"
            self.acknowledged |= self.under_way if all(is_done) else {}
            self.under_way = {}
        wrong = [id for id, point in self.acknowledged.items() if not _same(found[id], point)]
        assert not wrong, f"{len(wrong)} of {len(self.acknowledged)} acknowledged ids differ, first {wrong[:5]}"
        return sum(point is not None for point in self.acknowledged.values())

    def _stored(self, client: httpx.Client) -> dict[int, Point]:
        ids = list(range(self.first_id, self.first_id + IDS_A_CLIENT))
        points = result(client.post(f"{COLLECTION}/points", json={"ids": ids, "with_vector": True}))
        found: dict[int, Point] = dict.fromkeys(ids)
        for point in points:
            found[point["id"]] = np.array(point["vector"], np.float32), point["payload"] or {}
        return found


def upsert(writer: Writer, client: httpx.Client, rng: random.Random) -> None:
    ids = writer.ids(rng, rng.randint(1, 60))
    vectors = clustered(len(ids), DIM, seed=rng.randrange(2**32))
    payloads = [{"id": id, "at": rng.randrange(1000)} for id in ids]
    writer.under_way = {id: (vector, own) for id, vector, own in zip(ids, vectors, payloads, strict=True)}
    batch = {"ids": list(ids), "vectors": vectors.tolist(), "payloads": payloads}
    result(client.put(f"{COLLECTION}/points", json={"batch": batch}))


def upload(writer: Writer, client: httpx.Client, rng: random.Random) -> None:
    ids = writer.ids(rng, rng.randint(1, 400))
    vectors = clustered(len(ids), DIM, seed=rng.randrange(2**32))
    writer.under_way = {id: (vector, {}) for id, vector in zip(ids, vectors, strict=True)}
    url = f"{COLLECTION}/points/upload?first_id={ids[0]}"
    result(client.post(url, content=npy(vectors), headers=NPY))


def change(writer: Writer, client: httpx.Client, rng: random.Random) -> None:
    """An upsert, a delete, or new payloads for some of the points that are there."""
    what = rng.random()
    if what < 0.4:
        upsert(writer, client, rng)
    elif what < 0.7:
        ids = writer.ids(rng, rng.randint(1, 60))
        writer.under_way = dict.fromkeys(ids)
        result(client.post(f"{COLLECTION}/points/delete", json={"points": list(ids)}))
    else:
        alive = [(id, point) for id, point in writer.acknowledged.items() if point is not None]
        chosen = rng.sample(alive, min(len(alive), rng.randint(1, 30)))
        if chosen:
            at = rng.randrange(1000)
            writer.under_way = {id: (vector, {**payload, "at": at}) for id, (vector, payload) in chosen}
            body = {"payload": {"at": at}, "points": [id for id, _ in chosen]}
            result(client.post(f"{COLLECTION}/points/payload", json=body))


def disturb(url: str, seed: int) -> None:
    """Snapshots, put back under another name, and codes made anew, until the server is gone; refusals are no matter."""
    rng = random.Random(seed)
    with client_of(url) as client:
        try:
            while True:
                if rng.random() < TRAINED:
                    _train(client)
                if rng.random() < 0.7:
                    client.post(f"{COLLECTION}/reencode", json={"model": "tiny" if rng.random() < 0.5 else "other"})
                made = client.post(f"{COLLECTION}/snapshots").json().get("result")
                if made:
                    client.put("/collections/copy/snapshots/recover", json={"location": f"c/{made['name']}"})
                    client.delete(f"{COLLECTION}/snapshots/{made['name']}")
        except STOPPED:
            return


def _train(client: httpx.Client) -> None:
    """Begin a training, or cancel the one that began before the last kill, which goes on after it."""
    jobs = client.get("/jobs").json()["result"]["jobs"]
    training = [job["id"] for job in jobs if job["kind"] == "train" and job["state"] in ("waiting", "running")]
    if training:
        client.delete(f"/jobs/{training[0]}")
    else:
        client.post(f"{COLLECTION}/train", json={"name": f"own-{len(jobs)}", "time_budget": "1h"})


def client_of(url: str) -> httpx.Client:
    """A client made without certificates, which take longer to read than a round of requests."""
    return httpx.Client(base_url=url, timeout=READY_S, verify=False)


class Siege:
    """A data folder, its server, and the clients that write to it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder, self._rng = folder, random.Random(seed)
        acts = (upsert, upload, change)
        self._answered = threading.Semaphore(0)
        self.writers = [Writer(place * IDS_A_CLIENT, act, self._answered) for place, act in enumerate(acts)]
        self.server = self._start()
        with client_of(self.server.url) as client:
            for name, steps in (("tiny", 4), ("other", 3)):
                result(client.put(f"/models/{name}", content=tiny_codec(folder, dim=DIM, steps=steps).read_bytes()))
            body = {"vectors": {"size": DIM, "distance": "Euclid"}, "codes": {"model": "tiny"}}
            result(client.put(COLLECTION, json=body))

    def kill(self) -> None:
        """SIGKILL at a random moment, a start, and everything compared."""
        self._write_until(self.server.kill)
        self._start_and_check()

    def stop(self) -> None:
        """SIGTERM at a random moment: status 0; a start, and everything compared."""
        self._write_until(self._terminate)
        self._start_and_check()

    def close(self) -> None:
        self.server.kill()

    def _start(self) -> ForkedServer:
        return ForkedServer(self._folder, encode_batch=100)

    def _terminate(self) -> None:
        assert self.server.terminate() == 0, "SIGTERM did not end it in order"

    def _write_until(self, end: Callable[[], None]) -> None:
        seed = self._rng.randrange(2**32)
        url = self.server.url
        threads = [
            threading.Thread(target=writer.run, args=(url, seed + place)) for place, writer in enumerate(self.writers)
        ]
        threads.append(threading.Thread(target=disturb, args=(url, seed)))
        for thread in threads:
            thread.start()
        for _ in range(self._rng.randint(1, MOST_ANSWERED)):  # however busy the machine is, something was written
            assert self._answered.acquire(timeout=READY_S)
        threads[0].join(self._rng.uniform(0, MOST_LATER_S))
        end()
        for thread in threads:
            thread.join()
        for writer in self.writers:
            if writer.refusal is not None:
                raise writer.refusal

    def _start_and_check(self) -> None:
        self.server = self._start()
        with client_of(self.server.url) as client:
            alive = sum(writer.check(client) for writer in self.writers)
            assert result(client.post(f"{COLLECTION}/points/count", json={}))["count"] == alive


def _same(one: Point, other: Point) -> bool:
    if one is None or other is None:
        return one is other
    return bool(np.array_equal(one[0], other[0])) and one[1] == other[1]
