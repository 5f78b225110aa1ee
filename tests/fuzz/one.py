"""`python -m tests.fuzz.one READER [OPTION OF LIBFUZZER…]`: one reader under atheris, in a process that it ends."""

import sys
import time

import atheris

import model.kernels.decoding  # noqa: F401  before the others, as Numba cannot compile what is instrumented
from tests.fuzz.corpora import inputs

with atheris.instrument_imports(include=["service.npy", "index_store", "model.checkpoint"]):
    from tests.fuzz.readers import READERS


def main() -> None:
    read = READERS[sys.argv[1]]
    for data in inputs(sys.argv[1]).values():
        read(data)  # kernels are compiled by the first use, which is not to count as slow
    atheris.Setup([sys.argv[0], *sys.argv[2:]], lambda data: read(data) and None)
    print(f"started in {time.process_time():.1f} s of CPU time", file=sys.stderr, flush=True)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
