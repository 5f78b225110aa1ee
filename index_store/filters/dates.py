"""Dates in payloads and ranges: RFC 3339, and the shorter forms that Qdrant reads; UTC where no offset is given."""

import re
from datetime import UTC, datetime, timedelta, timezone

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DATE = re.compile(
    r"\s*(\d{4})-(\d{1,2})-(\d{1,2})"
    r"(?:[T ](\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d+))?(?: ?(Z|z|UTC|[+-]\d{2}(?::?\d{2})?))?)?)?",
    re.ASCII,
)


def microseconds(text: str) -> int | None:
    """Microseconds since 1970 in UTC (finer digits are cut off); None for what is no date."""
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    fraction = int((found[7] or "").ljust(6, "0")[:6])
    try:
        at = datetime(year, month, day, hour, minute, second, fraction, _offset(found[8]))
        return (at - _EPOCH) // _MICROSECOND
    except (ValueError, OverflowError):
        return None


def _offset(text: str | None) -> timezone:
    if text is None or text[0] not in "+-":
        return UTC
    minutes = int(text[1:3]) * 60 + int(text[3:].lstrip(":") or 0)
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))
