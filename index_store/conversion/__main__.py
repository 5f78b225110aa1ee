"""The process that reads an authors' `.pt` file: limits itself, then converts, and tells by its exit status."""

import sys
from pathlib import Path

import torch

from index_store.conversion import DISK_FULL, REFUSED, TOO_LARGE
from index_store.faults import FULL
from model import load_codec, save_codec
from model.bounded_memory import limit_memory
from model.errors import QincoError

_LACKS = ("can't allocate memory", "Cannot allocate memory", "bad_alloc")


def main(source: str, target: str, sha256: str, allowed: str) -> int:
    torch.set_num_threads(1)
    limit_memory(int(allowed))
    try:
        save_codec(load_codec(Path(source)), Path(target), {"converted_from": {"sha256": sha256}})
    except QincoError as error:
        print(error)
        return TOO_LARGE if _is_lack_of_memory(error.__cause__) else REFUSED
    except OSError as error:
        if error.errno in FULL:
            return DISK_FULL
        raise
    except (MemoryError, RuntimeError) as error:
        if _is_lack_of_memory(error):
            return TOO_LARGE
        raise
    return 0


def _is_lack_of_memory(error: BaseException | None) -> bool:
    return isinstance(error, MemoryError) or any(told in str(error) for told in _LACKS)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
