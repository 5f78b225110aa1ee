"""What is logged while tests run, in this process and by servers they start, holds no key, payload or vector.

Keys are those below, which tests use. Payloads and vectors are whatever clients of services in this process sent last.
"""

import json
import logging
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from service.logs import TextLines

ADMIN_KEY, READER_KEY = "admin-6e1f4c", "reader-6e1f4c"
KEYS = (ADMIN_KEY, READER_KEY)
LOGGERS = ("service", "index_store", "model")
# Where clients send what nobody is to read: below these names, in whatever bodies.
SECRET = {"payload", "payloads", "vector", "query", "value", "any", "text"}
SHORTEST = 8  # shorter ones stand in sentences by chance
NUMBERS_IN_A_ROW = re.compile(r"-?\d+\.\d{5,}(e-?\d+)?,?\s+-?\d+\.\d{5,}")
LARGEST_BODY = 64 * 1024


class Told(logging.Handler):
    """Collects what should not have been logged; `forget` gives it, and begins anew."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(TextLines())
        self._found: list[str] = []
        self._sent: deque[bytes] = deque(maxlen=20)

    def emit(self, record: logging.LogRecord) -> None:
        self.look_at(self.format(record))

    def note_sent(self, body: bytes) -> None:
        """What a client sent; of the last few, nothing may be logged."""
        if body.startswith((b"{", b"[")) and len(body) <= LARGEST_BODY:
            self._sent.append(body)

    def look_at(self, text: str) -> None:
        secrets = [*KEYS, *(one for body in list(self._sent) for one in _secrets_of(body))]
        told = next((secret for secret in secrets if secret in text), None) or NUMBERS_IN_A_ROW.search(text)
        if told:
            self._found.append(f"{told!r} in: {text[:2000]}")

    def look_at_file(self, log: Path) -> None:
        """A log that a server has written."""
        if log.exists():
            self.look_at(log.read_text(errors="replace"))

    def forget(self) -> list[str]:
        found, self._found = self._found, []
        self._sent.clear()
        return found


TOLD = Told()


def _secrets_of(body: bytes) -> Iterator[str]:
    try:
        yield from _strings(json.loads(body), is_secret=False)
    except ValueError:
        return


def _strings(value: Any, is_secret: bool) -> Iterator[str]:
    """Strings and long numbers below a name that makes them secret."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _strings(one, is_secret or name in SECRET)
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one, is_secret)
    elif is_secret and isinstance(value, str | float) and len(str(value)) >= SHORTEST and len(set(str(value))) > 3:
        yield str(value)
