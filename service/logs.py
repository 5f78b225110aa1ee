"""Logs: a sentence an event, as text or as JSON, with the id of the request that it belongs to."""

import logging
import re
import secrets
from contextvars import ContextVar

import orjson

# What a client or a proxy may choose as an id; anything else gets one of ours.
_ID = re.compile(rb"[A-Za-z0-9_.:-]{1,64}")
CHATTY = ("uvicorn", "uvicorn.error", "httpx", "numba", "faiss", "torch")

request_id: ContextVar[str] = ContextVar("request_id", default="")


def new_request_id(headers: list[tuple[bytes, bytes]]) -> str:
    """The id that a request brings in X-Request-Id, or a new one."""
    for name, value in headers:
        if name == b"x-request-id" and _ID.fullmatch(value):
            return value.decode()
    return secrets.token_hex(8)


class TextLines(logging.Formatter):
    """Time, level, who, what, and in brackets the request."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return f"{line} [{request_id.get()}]" if request_id.get() else line


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "time": self.formatTime(record), "level": record.levelname.lower(), "logger": record.name,
            "message": record.getMessage(), "request_id": request_id.get() or None,
        }  # fmt: skip
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(told).decode()


def configure_logging(level: str, form: str) -> None:
    """To standard error, as `text` or `json`."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.basicConfig(level=level.upper(), handlers=[handler])
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
