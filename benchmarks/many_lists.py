"""`python -m benchmarks.many_lists SIFT`: a checkpoint of the authors' format with 2^20 lists, stored and searched.

SIFT is the folder of the whole data set. The lists' centroids are its million vectors and midpoints between some, the
network is untrained (every step adds its codeword, drawn from residuals): sizes and times are those of a real
IVF-QINCo2 of preset XS and 8 bytes, errors are not. The points are vectors of the data set with noise added, the
queries its own.
Writes benchmarks/results/many_lists.json. Linux only: resident memory is read from /proc.
"""

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.machine import machine
from index_store import CodesConfig, Collection, CollectionConfig, SearchPlan, Store, VectorConfig
from model import PRESETS, NetworkCodec
from model.coarse import CoarseQuantiser

RESULT = Path(__file__).parent / "results" / "many_lists.json"
LISTS, STEPS, CODEWORDS, DIM = 1 << 20, 8, 256, 128
POINTS, NOISE = 100_000, 12.0
MEAN, STD = 27.0, 33.0
ASKED, TIMED = 2_000, 300
THREADS = 2
MB = 1e6

Float32 = NDArray[np.float32]


def main() -> None:
    folder = Path(sys.argv[1])
    rng = np.random.default_rng(1)
    queries = np.load(folder / "query.npy").astype(np.float32)[:ASKED]
    figures: dict[str, Any] = {"machine": machine(), "lists": LISTS, "dim": DIM, "bytes_per_vector": STEPS}
    with tempfile.TemporaryDirectory() as place:
        checkpoint, data = Path(place) / "ivf.pt", Path(place) / "data"
        vectors = all_vectors(folder)
        write_checkpoint(checkpoint, vectors, rng)
        figures["pt_mb"] = round(checkpoint.stat().st_size / MB)
        noisy = vectors[rng.permutation(1_000_000)[:POINTS]] + rng.normal(scale=NOISE, size=(POINTS, DIM))
        points = noisy.clip(0, 255).round().astype(np.float32)
        del vectors, noisy
        figures |= stored_and_searched(checkpoint, data, points, queries)
        figures["start_s"] = seconds(lambda: Store.open(data, threads=THREADS).close())
    RESULT.write_text(json.dumps(figures, indent=2) + "\n")
    print(RESULT.read_text())


def stored_and_searched(checkpoint: Path, data: Path, points: Float32, queries: Float32) -> dict[str, Any]:
    """What it takes to store the model, to make its graph, and to encode and search points with it."""
    before_mb = resident_mb()
    store = Store.open(data, threads=THREADS)
    put_s = seconds(lambda: store.put_model("m", checkpoint))
    collection = store.create_collection("c", config())
    collection.upsert(np.arange(len(points), dtype=np.uint64), {"default": points})
    collection.encode_pending(256)
    codec = collection.codes.codecs()[0]
    assert isinstance(codec, NetworkCodec)
    compared, exact_us = assigned(codec, queries[:500])
    meanwhile = {"query_ms": query_ms(collection, queries[:20]), "assign_us": exact_us}
    made = making(store, data)
    found, graph_us = assigned(codec, queries[:500])
    assignment = {
        "us": graph_us,
        "recall": round(float((found == compared).mean()), 4),
        "extra_squared_distance": excess(codec, queries[:500], found, compared),
    }
    encode_s = seconds(lambda: encode_all(collection))
    figures = {
        "put_s": put_s,
        "while_the_graph_is_made": meanwhile,
        "graph": made,
        "assignment_by_graph": assignment,
        "points": len(points),
        "encode_us": round(1e6 * encode_s / len(points)),
        "query_ms": query_ms(collection, queries),
        "recall_at_1_rescored": recall(collection, queries),
        "codec_mb": round(store.models_ram_bytes() / MB),
        "resident_mb": resident_mb() - before_mb,
    }
    store.close()
    return figures


def making(store: Store, data: Path) -> dict[str, int]:
    """Wait for the graph; what making it took, and how large it is."""
    began, before_s = time.perf_counter(), cpu_s(resource.getrusage(resource.RUSAGE_CHILDREN))
    until_ready(store)
    return {
        "cpu_s": round(cpu_s(resource.getrusage(resource.RUSAGE_CHILDREN)) - before_s),
        "waited_s": round(time.perf_counter() - began),
        "graph_mb": round((data / "models" / "m.graph").stat().st_size / MB),
        "checkpoint_mb": round((data / "models" / "m.safetensors").stat().st_size / MB),
    }


def all_vectors(folder: Path) -> Float32:
    """The million vectors of the data set, and midpoints of neighbours in the file to make up 2^20."""
    vectors = np.concatenate([np.load(folder / name) for name in ("base.npy", "learn.npy")]).astype(np.float32)
    more = LISTS - len(vectors)
    return np.concatenate([vectors, (vectors[:more] + vectors[more : 2 * more]) / 2])


def write_checkpoint(path: Path, centroids: Float32, rng: np.random.Generator) -> None:
    """An IVF-QINCo2 checkpoint as its authors save one."""
    sizes = PRESETS["XS"]
    D_e, D_h = sizes["embedding"], sizes["hidden"]
    model = {
        "data_mean": torch.full((DIM,), MEAN),
        "data_std": torch.tensor(STD),
        "steps.0.ivf_centroids.weight": torch.from_numpy((centroids - MEAN) / STD),
    }
    for m in range(1, 1 + STEPS):
        codebook = torch.from_numpy(rng.normal(scale=NOISE / STD / m, size=(CODEWORDS, DIM)).astype(np.float32))
        model |= {
            f"steps.{m}.codebook.weight": codebook,
            f"steps.{m}.substep.codebook.weight": codebook.clone(),
            f"steps.{m}.in_proj.weight": torch.randn(D_e, DIM) / DIM**0.5,
            f"steps.{m}.out_proj.weight": torch.zeros(DIM, D_e),
            f"steps.{m}.concat.mlp.weight": torch.randn(D_e, D_e + DIM) / (D_e + DIM) ** 0.5,
            f"steps.{m}.concat.mlp.bias": torch.zeros(D_e),
            f"steps.{m}.residual_blocks.0.up_proj.weight": torch.randn(D_h, D_e) / D_e**0.5,
            f"steps.{m}.residual_blocks.0.down_proj.weight": torch.randn(D_e, D_h) / D_h**0.5,
        }
    parameters = {
        "K": CODEWORDS, "M": STEPS, "de": D_e, "dh": D_h, "L": sizes["blocks"], "A": 4, "B": 4,
        "ivf_in_use": True, "ivf_K": LISTS,
    }  # fmt: skip
    torch.save({"parameters": parameters, "data_dim": DIM, "model": model}, path)


def config() -> CollectionConfig:
    return CollectionConfig({"default": VectorConfig(DIM, "Euclid")}, {"default": CodesConfig("m", originals="uint8")})


def encode_all(collection: Collection) -> None:
    """Encode what is pending, in batches as the service does."""
    while collection.encode_pending(8192):
        pass


def assigned(codec: NetworkCodec, vectors: Float32) -> tuple[NDArray[np.int64], int]:
    """The list of each vector, and microseconds of CPU for one."""
    assert isinstance(codec.coarse, CoarseQuantiser)
    x = codec.weights.normalise(vectors)
    began = time.process_time()
    lists = np.concatenate([codec.coarse.nearest(x[begin : begin + 256]) for begin in range(0, len(x), 256)])
    return lists, round(1e6 * (time.process_time() - began) / len(vectors))


def excess(codec: NetworkCodec, vectors: Float32, found: NDArray[np.int64], compared: NDArray[np.int64]) -> float:
    """How much further the centroids found are than the nearest, as a share of the squared distance."""
    assert codec.coarse is not None
    x, coarse = codec.weights.normalise(vectors), codec.coarse
    near, nearest = (np.square(x - coarse.rows(lists)).sum() for lists in (found, compared))
    return round(float(near / nearest) - 1, 6)


def query_ms(collection: Collection, queries: Float32) -> dict[str, float]:
    """Milliseconds for one query of ten neighbours with the defaults, by the codes alone."""
    times = []
    for query in queries[:TIMED]:
        times.append(seconds(lambda q=query: collection.query(q[None], SearchPlan(10, rescore=False)), 6))  # type: ignore[misc]
    return {"p50": round(1e3 * float(np.median(times)), 2), "p99": round(1e3 * float(np.quantile(times, 0.99)), 2)}


def recall(collection: Collection, queries: Float32) -> float:
    """How often the nearest point is found first, rescored by the originals, with the defaults."""
    asked = queries[:500]
    found = collection.query(asked, SearchPlan(1))
    true = collection.query(asked, SearchPlan(1, exact=True))
    return round(float(np.mean([a[0].id == b[0].id for a, b in zip(found, true, strict=True)])), 4)


def until_ready(store: Store) -> None:
    """Wait for the graph as an operator would, by looking."""
    while (state := store.list_graph("m")) is not None and state.state != "ready":
        time.sleep(1)


def seconds(work: Callable[[], object], digits: int = 2) -> float:
    began = time.perf_counter()
    work()
    return round(time.perf_counter() - began, digits)


def cpu_s(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


def resident_mb() -> int:
    """What the process has in memory, file-backed pages included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 10**6


if __name__ == "__main__":
    main()
