"""The process that trains: `python -m service.training.child FOLDER ALLOWED_BYTES DEVICE`.

It reads vectors.npy and recipe.json in the folder and writes model.safetensors with a report beside it. Each line of
its output is a JSON object: {"stage": sentence}, {"progress": figures}, {"done": what the checkpoint tells},
{"refused": sentence}.
It ends when its input does, and so with the server, whatever ends that.
"""

import json
import os
import resource
import sys
import threading
import traceback
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np

from model.errors import QincoError
from model.training import Progress, Recipe, can_go_on, state_path, train, write_report

NICENESS = 12
"""Behind queries, and behind the encoding worker too. Where these take all cores, a fifteenth of one remains for it:
with 19 it would be a seventieth, and a busy service would never be trained."""


def main(folder: Path, allowed_bytes: int, device: str) -> None:
    _be_modest(allowed_bytes)
    threading.Thread(target=_end_with_the_input, daemon=True).start()
    recipe = Recipe(**json.loads((folder / "recipe.json").read_text()))
    out = folder / "model.safetensors"
    vectors = np.load(folder / "vectors.npy", mmap_mode="r", allow_pickle=False)
    try:
        told = train(vectors, recipe, out, _report, can_go_on(state_path(out)), device, allowed_bytes // 2)
        write_report(told, out)
    except QincoError as error:
        _say("refused", str(error))
    except MemoryError:
        _say("refused", f"Training takes more than the {allowed_bytes >> 20} MiB that it may: choose a smaller preset.")
    except OSError as error:
        traceback.print_exc()
        _say(
            "refused", f"The training's files could not be written ({error.strerror}): free some room, and train again."
        )
    else:
        _say("done", told)


def _report(news: str | Progress) -> None:
    if isinstance(news, str):
        _say("stage", news)
    else:
        _say("progress", {**asdict(news), "share": news.done, "warning": news.warning})


def _say(kind: str, what: object) -> None:
    print(json.dumps({kind: what}), flush=True)


def _be_modest(allowed_bytes: int) -> None:
    """Yield the processor to whoever serves, bound the heap, and be the first to go where memory runs out."""
    os.nice(NICENESS)
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_DATA, (allowed_bytes, allowed_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with suppress(OSError):  # not everywhere allowed
            Path("/proc/self/oom_score_adj").write_text("1000")


def _end_with_the_input() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
