"""`python -m tests.fuzz.one READER [OPTION OF LIBFUZZER…]`: one reader under atheris, in a process that it ends."""

import sys

import atheris

with atheris.instrument_imports(include=["service.npy", "index_store", "model.checkpoint", "model.config"]):
    from tests.fuzz.readers import READERS


def main() -> None:
    read = READERS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], lambda data: read(data) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
