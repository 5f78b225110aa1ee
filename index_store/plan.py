"""How much work a query is worth: the plan a user gives, and the one place of the defaults that fill it in.

    nprobe         lists / 16, at least 8, at most 128, but so many as hold about 4 096 codes, or, of 2^16 lists and
                   more, 512: the finer the lists, the fewer codes it takes
    rescore        where originals are kept
    oversampling   16, and at least 128 are rescored
    rerank         what is rescored; without rescoring 4 × hits wanted, at least 40
    shortlist      what is rescored or re-ranked; where `rerank` is given, 20 × hits wanted, at least 200

Hits wanted are limit + offset. With a filter, nprobe grows as the filter is selective; few survivors are all looked at.
The pairwise and the neural decoder run where they narrow: when everything they would judge is rescored anyway, they are
left out.
"""

import math
import time
from dataclasses import dataclass, field
from functools import lru_cache

NPROBE_SHARE, LEAST_NPROBE, MOST_NPROBE = 16, 8, 128
LEAST_CODES = 4096
FINE_LISTS, LEAST_CODES_OF_FINE_LISTS = 1 << 16, 512
SHORTLIST_A_HIT, LEAST_SHORTLIST = 20, 200
RERANK_A_HIT, LEAST_RERANK = 4, 40
OVERSAMPLING, LEAST_RESCORED = 16.0, 128
FEW_SURVIVORS = 10_000


@dataclass(frozen=True)
class SearchPlan:
    """What to find and how hard to look; None is filled in by `resolve`.

    limit, offset      hits wanted, after leaving out the nearest `offset`
    nprobe             lists read
    shortlist          candidates that the additive scan keeps
    rerank             candidates that the pairwise decoder keeps, for the neural decoder or for rescoring
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


@dataclass(frozen=True)
class Effort:
    """A plan with every number filled in: `wanted` hits from `nprobe` lists, fewer candidates from stage to stage.

    rescored: candidates judged by their originals, 0 for none; nprobe is at most the number of lists
    leaves_behind: whether the network may give up candidates on its way, as it does unless their number was asked for
    """

    wanted: int
    nprobe: int
    shortlist: int
    rerank: int
    rescored: int
    leaves_behind: bool = False


@lru_cache(256)
def resolve(plan: SearchPlan, lists: int, has_originals: bool, survivors: int | None = None, points: int = 0) -> Effort:
    """The numbers for so many lists; `survivors` of the `points` pass the filter, None without one."""
    wanted = plan.limit + plan.offset
    nprobe = plan.nprobe or _default_nprobe(lists, points)
    if survivors is not None:
        nprobe = lists if survivors <= FEW_SURVIVORS else math.ceil(nprobe * max(1.0, points / survivors))
    does_rescore = has_originals if plan.rescore is None else plan.rescore and has_originals
    oversampled = _rescored(plan, wanted) if does_rescore else 0
    decoded = max(RERANK_A_HIT * wanted, LEAST_RERANK)
    # Nothing stands between the scan and what follows unless it is asked for: to read an original, or to decode a code
    # by the network, costs no more than to choose by pair tables whether to.
    scanned = oversampled or decoded if plan.rerank is None else max(SHORTLIST_A_HIT * wanted, LEAST_SHORTLIST)
    shortlist = max(wanted, plan.shortlist or scanned)
    rerank = min(shortlist, max(wanted, plan.rerank or oversampled or decoded))
    leaves_behind = plan.rerank is None and plan.shortlist is None
    return Effort(wanted, max(1, min(lists, nprobe)), shortlist, rerank, min(oversampled, rerank), leaves_behind)


def _rescored(plan: SearchPlan, wanted: int) -> int:
    if plan.oversampling is None:
        return max(LEAST_RESCORED, math.ceil(wanted * OVERSAMPLING))
    return math.ceil(wanted * max(1.0, plan.oversampling))


def _default_nprobe(lists: int, points: int) -> int:
    by_share = min(MOST_NPROBE, max(LEAST_NPROBE, lists // NPROBE_SHARE))
    codes = LEAST_CODES if lists < FINE_LISTS else LEAST_CODES_OF_FINE_LISTS
    return max(by_share, math.ceil(codes * lists / max(1, points)))


@dataclass
class SearchTrace:
    """Filled in by a query: on which device each stage ran, its seconds, and the effort it took."""

    devices: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    effort: Effort | None = None

    def add(self, name: str, seconds: float, device: str = "cpu") -> None:
        """Note that a stage took so long."""
        self.devices[name] = device
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def stage(self, name: str, device: str = "cpu") -> "_Stage":
        """Time what is done inside, and note where it ran."""
        return _Stage(self, name, device)


class _Stage:
    """A context manager; `contextlib` would make each of them a generator, for four times as long."""

    __slots__ = ("device", "name", "started", "trace")

    def __init__(self, trace: SearchTrace, name: str, device: str) -> None:
        self.trace, self.name, self.device = trace, name, device

    def __enter__(self) -> None:
        self.started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.trace.add(self.name, time.perf_counter() - self.started, self.device)
