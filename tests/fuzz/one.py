"""`python -m tests.fuzz.one READER PROGRESS [OPTION OF LIBFUZZER…]`: a reader under atheris, which ends the process."""

import sys
from pathlib import Path

import atheris

import model.kernels.decoding  # noqa: F401  before the others, as Numba cannot compile what is instrumented
from tests.fuzz.corpora import inputs
from tests.fuzz.progress import noting

with atheris.instrument_imports(include=["service.npy", "index_store", "model.checkpoint"]):
    from tests.fuzz.readers import READERS


def main() -> None:
    read = READERS[sys.argv[1]]
    for data in inputs(sys.argv[1]).values():
        read(data)  # kernels are compiled by the first use, which is not to count as slow
    atheris.Setup([sys.argv[0], *sys.argv[3:]], noting(Path(sys.argv[2]), read))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
