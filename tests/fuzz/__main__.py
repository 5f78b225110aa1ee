"""`make fuzz`: readers of what strangers send are given made up bytes, for minutes each; they add up in counts.json.

Minutes are the fuzzing process's own, of CPU time: where other work has the processors, they take longer. They are counted
every few, and one that is interrupted loses only the last of these.

python -m tests.fuzz [--minutes M] [READER…]

It goes on from what is kept in corpora/, and keeps what reached something new. What makes a reader fail stays in
build/fuzz as `crash-…`: mend the reader, and put the file among the seeds.
"""

import argparse
import json
import math
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

from tests.fuzz.corpora import inputs, keep

READERS = ("npy", "filter", "segment", "checkpoint")
COUNTS = Path(__file__).with_name("counts.json")
SCRATCH = Path("build/fuzz")
LONGEST = {"npy": 600, "filter": 600, "segment": 1500, "checkpoint": 6000}
COUNTED_EVERY_MINUTES = 4
SLOWEST_S, MOST_MIB = 400, 3000  # by the clock, which goes on while others have the processors
RUNS = re.compile(r"stat::number_of_executed_units: *(\d+)")
STARTED = re.compile(r"started in ([\d.]+) s of CPU time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("readers", nargs="*", help=f"of {', '.join(READERS)}; all by default")
    parser.add_argument("--minutes", type=float, default=5, help="of CPU time, for each reader")
    chosen = parser.parse_args()
    if unknown := set(chosen.readers) - set(READERS):
        parser.error(f"there is no reader {unknown.pop()}")
    failed = [reader for reader in chosen.readers or READERS if not fuzz(reader, chosen.minutes)]
    if failed:
        raise SystemExit(f"Failed: {', '.join(failed)}; {SCRATCH} holds what they failed on.")


def fuzz(reader: str, minutes: float) -> bool:
    """Whether it did not fail."""
    done = 0.0
    while done < minutes:
        used = _fuzz_for(reader, min(COUNTED_EVERY_MINUTES, minutes))
        if used is None:
            return False
        done += used
    return True


def _fuzz_for(reader: str, minutes: float) -> float | None:
    """Minutes of CPU time that these, by the clock, were; None where it failed. Counts and keeps."""
    corpus = SCRATCH / reader
    shutil.rmtree(corpus, ignore_errors=True)
    corpus.mkdir(parents=True)
    for name, data in inputs(reader).items():
        (corpus / name).write_bytes(data)
    words = Path(__file__).with_name(f"{reader}.words")
    before_s = _children_used_s()
    told = _run(
        reader, str(corpus), f"-max_total_time={math.ceil(minutes * 60)}", f"-max_len={LONGEST[reader]}",
        f"-artifact_prefix={SCRATCH}/{reader}-", f"-timeout={SLOWEST_S}", f"-rss_limit_mb={MOST_MIB}",
        "-print_final_stats=1", *([f"-dict={words}"] if words.exists() else []),
    )  # fmt: skip
    runs, start = RUNS.search(told.stderr), STARTED.search(told.stderr)
    if told.returncode != 0 or runs is None or start is None:
        print(f"{reader}: {told.stderr[-3000:]}")
        return None
    used = (_children_used_s() - before_s - float(start[1])) / 60
    keep(reader, {path.read_bytes() for path in corpus.iterdir()})
    _count(reader, used, int(runs[1]))
    return used


def _children_used_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _run(reader: str, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tests.fuzz.one", reader, *options]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)


def _count(reader: str, minutes: float, runs: int) -> None:
    counts = json.loads(COUNTS.read_text()) if COUNTS.exists() else {}
    so_far = counts.get(reader, {"minutes": 0, "runs": 0})
    counts[reader] = {"minutes": round(so_far["minutes"] + minutes, 1), "runs": so_far["runs"] + runs}
    COUNTS.write_text(json.dumps(counts, indent=1, sort_keys=True) + "\n")
    print(f"{reader}: {counts[reader]['runs']} runs in {counts[reader]['minutes']} minutes", flush=True)


if __name__ == "__main__":
    main()
