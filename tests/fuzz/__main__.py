"""`make fuzz`: readers of what strangers send are given made up bytes, for minutes each; they add up in counts.json.

python -m tests.fuzz [--minutes M] [READER…]

It goes on from what is kept in corpora/, and keeps what reached something new. What makes a reader fail stays in
build/fuzz as `crash-…`: mend the reader, and put the file among the seeds. Minutes are of CPU time: beside other work
they take longer. They are counted as they pass, and a run that is killed loses the last one.
"""

import argparse
import json
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

from tests.fuzz.corpora import inputs, keep
from tests.fuzz.progress import read_progress

READERS = ("npy", "filter", "segment", "checkpoint")
COUNTS = Path(__file__).with_name("counts.json")
SCRATCH = Path("build/fuzz")
LONGEST = {"npy": 600, "filter": 600, "segment": 1500, "checkpoint": 6000}
SLOWEST_S, MOST_MIB = 400, 3000  # by the clock, which goes on while others have the processors
COUNTED_EVERY_S = 60


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
    """Whether it did not fail; counts and keeps on the way."""
    corpus, progress, log = SCRATCH / reader, SCRATCH / f"{reader}.progress", SCRATCH / f"{reader}.log"
    shutil.rmtree(corpus, ignore_errors=True)
    corpus.mkdir(parents=True)
    progress.unlink(missing_ok=True)
    for name, data in inputs(reader).items():
        (corpus / name).write_bytes(data)
    done = (0, 0.0)
    with log.open("wb") as told, _started(reader, corpus, progress, told) as fuzzer:
        while fuzzer.poll() is None and done[1] < minutes:
            with suppress(subprocess.TimeoutExpired):
                fuzzer.wait(min(COUNTED_EVERY_S, max(1, (minutes - done[1]) * 60)))
            now = read_progress(progress)
            _count(reader, now[0] - done[0], now[1] - done[1])
            keep(reader, {path.read_bytes() for path in corpus.iterdir()})
            done = now
        is_sound = fuzzer.poll() is None
        fuzzer.terminate()
    if not is_sound:
        print(f"{reader}: {log.read_text(errors='replace')[-3000:]}")
    return is_sound


def _started(reader: str, corpus: Path, progress: Path, told: IO[bytes]) -> "subprocess.Popen[bytes]":
    words = Path(__file__).with_name(f"{reader}.words")
    options = [
        str(corpus), f"-max_len={LONGEST[reader]}", f"-artifact_prefix={SCRATCH}/{reader}-", f"-timeout={SLOWEST_S}",
        f"-rss_limit_mb={MOST_MIB}", *([f"-dict={words}"] if words.exists() else []),
    ]  # fmt: skip
    command = [sys.executable, "-m", "tests.fuzz.one", reader, str(progress), *options]
    return subprocess.Popen(command, stdout=told, stderr=told)


def _count(reader: str, runs: int, minutes: float) -> None:
    counts = json.loads(COUNTS.read_text()) if COUNTS.exists() else {}
    so_far = counts.get(reader, {"minutes": 0, "runs": 0})
    counts[reader] = {"minutes": round(so_far["minutes"] + minutes, 3), "runs": so_far["runs"] + runs}
    COUNTS.write_text(json.dumps(counts, indent=1, sort_keys=True) + "\n")
    print(f"{reader}: {counts[reader]['runs']} runs in {counts[reader]['minutes']:.1f} minutes", flush=True)


if __name__ == "__main__":
    main()
