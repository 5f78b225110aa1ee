"""`params.target_recall`: the cheapest numbers that reached a recall when it was measured, or exact search."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from index_store import Collection, SearchPlan
from service.errors import MalformedRequest
from service.schemas.queries import SearchParams

BY_HAND = ("nprobe", "shortlist", "rerank", "hnsw_ef", "quantization")


def planned(
    plan: SearchPlan, asked: SearchParams | None, params: SearchParams | None, collection: Collection, using: str
) -> tuple[SearchPlan, dict[str, Any] | None]:
    """The plan that reaches `target_recall`, and what the answer's `usage` says of it; without one the plan as it is.

    params: what was `asked`, and the collection's defaults where it says nothing; numbers asked for by hand come before
    a default. Where nothing was measured, or nothing measured reached it, search is exact. Raises MalformedRequest.
    """
    target = params.target_recall if params is not None else None
    if target is None or params is None:
        return plan, None
    by_hand = [name for name in BY_HAND if getattr(asked, name, None) is not None]
    if by_hand and (asked is None or asked.target_recall is None):
        return plan, None
    if by_hand:
        raise MalformedRequest(f"'params.target_recall' chooses '{by_hand[0]}' by itself: give one of the two.")
    if collection.config.codes_of(using).originals == "none":
        raise MalformedRequest("'params.target_recall' needs originals to measure by, and this collection keeps none.")
    wanted = plan.limit + plan.offset
    found = None if plan.exact else collection.codes.operating_point(using, target, wanted)
    if found is None:
        return replace(plan, exact=True), {"target_recall": target, "exact": True, "measured": None}
    measured, point = found
    rescored = max(wanted, -(-point.rescored * wanted // measured.limit))
    told = {
        "target_recall": target,
        "exact": False,
        "nprobe": point.nprobe,
        "shortlist": rescored,
        "rerank": rescored,
        "oversampling": rescored / wanted,
        "measured": {
            "recall": point.recall,
            "limit": measured.limit,
            "sample": measured.sample,
            "queries": measured.queries,
            "at": datetime.fromtimestamp(measured.at, UTC).isoformat(timespec="seconds"),
        },
    }
    return replace(plan, nprobe=point.nprobe, shortlist=rescored, oversampling=rescored / wanted), told
