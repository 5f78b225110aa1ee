"""Read a Dockerfile into stages of instructions: as much of its grammar as docker/Dockerfile uses."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Instruction:
    word: str
    rest: str


@dataclass
class Stage:
    name: str
    base: str
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, word: str) -> list[str]:
        return [instruction.rest for instruction in self.instructions if instruction.word == word]

    def command(self, word: str) -> list[str]:
        """The last CMD, ENTRYPOINT or HEALTHCHECK, as a list of arguments."""
        rest = self.all(word)[-1]
        command: list[str] = json.loads(rest[rest.index("[") :])
        return command

    def environment(self) -> dict[str, str]:
        return dict(pair.split("=", 1) for rest in self.all("ENV") for pair in rest.split())

    def arguments(self) -> dict[str, str]:
        """The build arguments that have a default."""
        return dict(rest.split("=", 1) for rest in self.all("ARG") if "=" in rest)


def read_dockerfile(path: Path) -> dict[str, Stage]:
    """The stages of a Dockerfile by name, in order."""
    stages: dict[str, Stage] = {}
    current = Stage("", "")
    for word, rest in _instructions(path.read_text()):
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            current = stages[name] = Stage(name, base)
        else:
            current.instructions.append(Instruction(word, rest))
    return stages


def _instructions(text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    split = [line.split(None, 1) for line in joined.splitlines()]
    return [(word.upper(), rest) for word, rest in split]
