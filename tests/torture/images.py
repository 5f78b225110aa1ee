"""What a disk may hold after a crash, made from a recording: after a kill, all up to a moment; after a power cut, what
was synced, and of the rest anything: some writes and not others, torn ones, names in another order.

Folders are files too: an entry lasts once its folder is synced. A rename is one step, as every journalling file system
makes it.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tests.torture.recording import Change

SECTOR = 512
ROOT = 0


@dataclass
class Disk:
    """Files by number, and names: (folder, name) → file. Folders are numbers in `folders`."""

    contents: dict[int, bytearray] = field(default_factory=dict)
    names: dict[tuple[int, str], int] = field(default_factory=dict)
    folders: set[int] = field(default_factory=lambda: {ROOT})
    numbers: dict[int, int] = field(default_factory=dict)  # in a recording → here, of files that were there before

    def copy(self) -> "Disk":
        return Disk(
            {file: bytearray(data) for file, data in self.contents.items()}, dict(self.names), set(self.folders)
        )

    def folder_of(self, path: str) -> tuple[int, str]:
        """The folder that a path lies in, as it is now, and its name there."""
        parts = PurePosixPath(path.lstrip("/")).parts
        at = ROOT
        for part in parts[:-1]:
            at = self.names[at, part]
        return at, parts[-1]

    def apply(self, change: Change) -> None:
        """Do what was done, with the paths as they are on this disk."""
        if change.kind == "w":
            write(self.content(change.file), change.offset, change.data)
        elif change.kind == "t":
            cut(self.content(change.file), change.offset)
        elif change.kind in "oD":
            self.know(change)
        elif change.kind in "cdrulx":
            for key, file in entries(self, change):
                self.put(key, file)
            self.note(change)

    def know(self, change: Change) -> None:
        """A file that was there before the recording began gets the number that it has in it."""
        if change.file in self.numbers or change.file in self.contents or change.file in self.folders:
            return
        self.numbers[change.file] = ROOT if not change.path else self.names[self.folder_of(change.path)]

    def number(self, file: int) -> int:
        return self.numbers.get(file, file)

    def content(self, file: int) -> bytearray:
        return self.contents.setdefault(self.number(file), bytearray())

    def put(self, key: tuple[int, str], file: int | None) -> None:
        if file is None:
            self.names.pop(key, None)
        else:
            self.names[key] = file

    def note(self, change: Change) -> None:
        """A new file or folder is there, even where its name is not yet."""
        if change.kind == "d":
            self.folders.add(change.file)
        elif change.kind == "c":
            self.contents.setdefault(change.file, bytearray())

    def lay_out(self, target: Path, folder: int = ROOT) -> None:
        """Write all that has a name into an empty folder."""
        target.mkdir(exist_ok=True)
        for (at, name), file in self.names.items():
            if at != folder:
                continue
            if file in self.folders:
                self.lay_out(target / name, file)
            else:
                (target / name).write_bytes(self.contents.get(file, b""))


def entries(disk: Disk, change: Change) -> list[tuple[tuple[int, str], int | None]]:
    """The names that a change gives or takes: (folder, name) → file, or none."""
    if change.kind in "cd":
        return [(disk.folder_of(change.path), change.file)]
    if change.kind in "ux":
        return [(disk.folder_of(change.path), None)]
    moved = disk.names[disk.folder_of(change.path)]
    linked: list[tuple[tuple[int, str], int | None]] = [(disk.folder_of(change.other), moved)]
    return linked if change.kind == "l" else [(disk.folder_of(change.path), None), *linked]


def write(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def cut(content: bytearray, size: int) -> None:
    if size < len(content):
        del content[size:]
    else:
        content.extend(bytes(size - len(content)))


def after_power_cut(changes: Sequence[Change], rng: random.Random) -> Disk:
    """A disk that may be found when the power goes after these changes, of a life that began with an empty folder."""
    now = Disk()  # as the process saw it: where paths led
    last_sync: dict[int, int] = {}
    for place, change in enumerate(changes):
        if change.kind == "D" and not change.path:
            now.know(change)
        if change.kind == "s":
            last_sync[now.number(change.file)] = place
    share = rng.choice([0.0, 0.2, 0.5, 0.8, 1.0])
    kept = Disk()
    for place, change in enumerate(changes):
        if change.kind in "wt":
            if place <= last_sync.get(change.file, -1) or rng.random() < share:
                kept.apply(change)
            elif change.kind == "w" and rng.random() < share / 4:
                torn = rng.randrange(len(change.data) // SECTOR + 1) * SECTOR
                write(kept.content(change.file), change.offset, change.data[:torn])
        elif change.kind in "cdrulx":
            kept.note(change)
            named = entries(now, change)
            (folder, _), _ = named[-1]  # of a rename, where it leads
            is_synced = place < last_sync.get(folder, -1)
            if is_synced or rng.random() < share:
                moved = {file for _, file in named}
                for key, file in named:
                    if change.kind != "r" or file is not None or kept.names.get(key) in moved:
                        kept.put(key, file)
        now.apply(change)
    return kept


def notes(changes: Iterable[Change]) -> tuple[set[int], int | None]:
    """Which steps were acknowledged by then, and the one that was under way, if any."""
    files = {change.file for change in changes if change.kind == "c" and change.path == "/notes"}
    text = b"".join(change.data for change in changes if change.kind == "w" and change.file in files).decode()
    done: set[int] = set()
    begun: int | None = None
    for line in text.splitlines():
        what, place = line.split()
        if what == "begin":
            begun = int(place)
        else:
            done.add(int(place))
            begun = None
    return done, begun
