"""The body that says which snapshot to put back."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from service.schemas.body import SHA256, Body, NotServed


def _local(location: str) -> str:
    if ":" in location or location.startswith("/"):
        raise ValueError(
            "is the name of a snapshot of this server, or COLLECTION/NAME; one from elsewhere is sent to "
            "…/snapshots/upload, since this service fetches nothing."
        )
    return location


class RecoverSnapshot(Body):
    """Which snapshot; `checksum` is the SHA-256 that its archive must have."""

    location: Annotated[str, AfterValidator(_local)]
    checksum: Annotated[str, Field(pattern=SHA256)] | None = None
    priority: Literal["snapshot", "no_sync"] | None = None
    api_key: NotServed = None
