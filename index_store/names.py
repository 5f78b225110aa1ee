"""What collections, models and vectors may be called: names that are safe as file names."""

import re

from index_store.errors import InvalidConfig

LONGEST_NAME = 255
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")


def check_name(name: str, what: str, longest: int = LONGEST_NAME) -> None:
    """Raise InvalidConfig unless a name is 1 to `longest` letters, digits, '_', '-', '.', not starting with a dot."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > longest:
        raise InvalidConfig(
            f"The name of a {what} is 1 to {longest} letters, digits, '_', '-' and '.', not starting with a dot; "
            f"{name!r:.80} is not."
        )
