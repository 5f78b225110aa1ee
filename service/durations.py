"""Durations as people write them: 90s, 30m, 8h."""

import re

UNITS_S = {"s": 1, "m": 60, "h": 3600}


def seconds(text: str) -> float:
    """The seconds that a text means; raises ValueError with a sentence."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", text.strip())
    if match is None:
        raise ValueError(f"is a number with s, m or h, such as 30m; not '{text}'.")
    return float(match[1]) * UNITS_S[match[2]]
