"""How much work a query is worth: the plan a user gives, and the defaults that fill it in."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class SearchPlan:
    """What to find and how hard to look; None is filled in by the collection (`resolve`).

    limit, offset      hits wanted, after leaving out the nearest `offset`
    nprobe             lists read
    shortlist          candidates that the additive scan keeps
    rerank             candidates that the neural decoder judges
    rescore            whether the best are judged again by their originals
    oversampling       how many times `limit` are rescored
    exact              brute force over the originals, no codes
    score_threshold    hits must be at least as near as this score
    """

    limit: int
    offset: int = 0
    nprobe: int | None = None
    shortlist: int | None = None
    rerank: int | None = None
    rescore: bool | None = None
    oversampling: float | None = None
    exact: bool = False
    score_threshold: float | None = None


@dataclass
class SearchTrace:
    """Filled in by a query: on which device each stage ran, its seconds, and the numbers it used."""

    devices: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
