"""The filter grammar, and from a filter to the rows that it matches."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Filter:
    """Conditions on a point; made by `Filter.parse`."""

    @classmethod
    def parse(cls, value: Any) -> "Filter":
        """The filter that a JSON object says; raises InvalidFilter naming what is not supported."""
        raise NotImplementedError
