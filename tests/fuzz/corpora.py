"""Inputs that are kept: seeds made by hand, as files, and what a fuzzer found beside them, in one archive a reader."""

import zipfile
from pathlib import Path

FOLDER = Path(__file__).with_name("corpora")
FOUND = "found.zip"
MOST_FOUND_BYTES = 60_000


def inputs(reader: str) -> dict[str, bytes]:
    """Name → bytes of all that is kept for a reader."""
    return _seeds(reader) | _found(reader)


def keep(reader: str, found: set[bytes]) -> None:
    """Put this, less the seeds, in the place of what was found before; the shortest, as much as there is room for."""
    room = MOST_FOUND_BYTES
    found = found - set(_seeds(reader).values())
    with zipfile.ZipFile(FOLDER / reader / FOUND, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, data in enumerate(sorted(found, key=lambda data: (len(data), data))):
            room -= len(data)
            if room < 0:
                break
            archive.writestr(zipfile.ZipInfo(f"{number:04}"), data)


def _seeds(reader: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((FOLDER / reader).iterdir()) if path.name != FOUND}


def _found(reader: str) -> dict[str, bytes]:
    path = FOLDER / reader / FOUND
    if not path.exists():
        return {}
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
