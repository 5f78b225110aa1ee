"""`make lock`: writes X.lock beside each X.txt here: the same pins, with the hashes of all files that the index has.

All files of a version, whatever their platform: the same lock admits every wheel that a machine may choose.
"""

import re
from pathlib import Path

import httpx
from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

FOLDER = Path(__file__).parent
INDEX = "https://pypi.org/simple"
# Installed apart, with what else pip then chooses.
UNLOCKED = {"clients.txt", "rivals.txt"}

LINK = re.compile(r'href="[^"#]*/([^"#/]+)#sha256=([0-9a-f]{64})"')


def main() -> None:
    with httpx.Client(timeout=60, follow_redirects=True) as index:
        for pins in sorted(FOLDER.glob("*.txt")):
            if pins.name not in UNLOCKED:
                pins.with_suffix(".lock").write_text(lock(pins.name, pins.read_text(), index))


def lock(name: str, pins: str, index: httpx.Client) -> str:
    """The lock of a file of pins: comments go, includes name the other lock, pins get their hashes."""
    lines = [f"# Written by `make lock` from {name}."]
    for line in pins.splitlines():
        if line.startswith("-r "):
            lines.append(line.replace(".txt", ".lock"))
        elif line and not line.startswith("#"):
            requirement, _, _ = line.partition(";")
            package, version = requirement.strip().split("==")
            found = hashes(package, version, index)
            lines.append(" \\\n    ".join([line, *(f"--hash=sha256:{one}" for one in found)]))
    return "\n".join(lines) + "\n"


def hashes(package: str, version: str, index: httpx.Client) -> list[str]:
    """The SHA-256 of every file of a version, sorted."""
    page = index.get(f"{INDEX}/{package}/", headers={"Accept": "text/html"}).raise_for_status().text
    found = {digest for name, digest in LINK.findall(page) if _version(name) == Version(version)}
    if not found:
        raise SystemExit(f"{INDEX} has no files of {package} {version}: mend the pin.")
    return sorted(found)


def _version(file: str) -> Version | None:
    try:
        return parse_wheel_filename(file)[1] if file.endswith(".whl") else parse_sdist_filename(file)[1]
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        return None


if __name__ == "__main__":
    main()
