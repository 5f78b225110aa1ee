"""Random payloads and filters over the whole grammar, for Hypothesis."""

from typing import Any

from hypothesis import strategies as st

NAMES = ("a", "b", "c")
DATES = (
    "2024-01-01",
    "2024-06-30T12:00:00Z",
    "2024-06-30T14:00:00+02:00",
    "2025-01-01 00:00:00",
    "2024-06-30T12:00:00.5Z",
)
TEXTS = ("red", "Red wine", "a red, red rose", "rose wine", "naïve café", "1", "")
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-2, 2),
    st.sampled_from([-1.5, 0.5, 1.0, 2.5]),
    st.sampled_from((*TEXTS, *DATES)),
    st.none(),
)
PLACES = st.fixed_dictionaries(
    {"lon": st.sampled_from([-179.5, -1.0, 0, 0.5, 1, 179.5]), "lat": st.sampled_from([-1, 0, 0.5, 1])}
)
VALUES = st.one_of(SCALARS, PLACES, st.lists(st.one_of(SCALARS, PLACES), max_size=3))
OBJECTS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3)
PAYLOADS = st.dictionaries(
    st.sampled_from((*NAMES, "a.b", "ö")),
    st.one_of(VALUES, OBJECTS, st.lists(st.one_of(OBJECTS, SCALARS), max_size=3)),
    max_size=3,
)
KEYS = st.sampled_from(["a", "b", "c", "a.b", '"a.b"', "a[].b", "a[0]", "a[]", "b[1].a", "ö", "a[].b[].c"])
ASKED = st.one_of(st.integers(-2, 2), st.sampled_from(TEXTS))
BOUNDS = st.sampled_from(["gt", "gte", "lt", "lte"])
LIMITS = st.dictionaries(BOUNDS, st.sampled_from([-1.5, -1, 0, 1, 2]), max_size=2)
DATE_LIMITS = st.dictionaries(
    st.sampled_from(["gt", "gte", "lt", "lte"]), st.sampled_from(DATES), min_size=1, max_size=2
)
COUNTS = st.dictionaries(BOUNDS, st.integers(0, 3), min_size=1, max_size=2)
SQUARE = [{"lon": x, "lat": y} for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1))]
HOLE = [{"lon": x, "lat": y} for x, y in ((-0.2, -0.2), (0.6, -0.2), (0.6, 0.6), (-0.2, 0.6), (-0.2, -0.2))]
ANSWERS = st.one_of(
    st.builds(lambda value: {"match": {"value": value}}, st.one_of(ASKED, st.booleans())),
    st.builds(
        lambda kind, values: {"match": {kind: values}},
        st.sampled_from(["any", "except"]),
        st.one_of([st.lists(one, min_size=1, max_size=3) for one in (st.integers(-2, 2), st.sampled_from(TEXTS))]),
    ),
    st.builds(
        lambda kind, text: {"match": {kind: text}},
        st.sampled_from(["text", "text_any", "phrase", "prefix", "substring"]),
        st.sampled_from([*TEXTS, "rose red", "RED", "red red"]),
    ),
    st.builds(lambda limits: {"range": limits}, st.one_of(LIMITS, DATE_LIMITS)),
    st.builds(lambda limits: {"values_count": limits}, COUNTS),
    st.builds(lambda kind, value: {kind: value}, st.sampled_from(["is_empty", "is_null"]), st.booleans()),
    st.builds(
        lambda left, right, top: {
            "geo_bounding_box": {"top_left": {"lon": left, "lat": top}, "bottom_right": {"lon": right, "lat": -0.5}}
        },
        st.sampled_from([-2, 0, 179]), st.sampled_from([-179, 0.7, 1, 180]), st.sampled_from([0.5, 2]),
    ),
    st.builds(
        lambda lon, metres: {"geo_radius": {"center": {"lon": lon, "lat": 0}, "radius": metres}},
        st.sampled_from([0, 180, 1]), st.sampled_from([0, 60_000, 130_000.5, 2e7]),
    ),
    st.builds(
        lambda holes: {"geo_polygon": {"exterior": {"points": SQUARE}, "interiors": [{"points": HOLE}] * holes}},
        st.integers(0, 1),
    ),
)  # fmt: skip
ON_KEYS = st.one_of(
    st.builds(lambda key, answer: {"key": key, **answer}, KEYS, ANSWERS),
    st.builds(lambda kind, key: {kind: {"key": key}}, st.sampled_from(["is_empty", "is_null"]), KEYS),
)
ON_POINTS = st.one_of(
    st.builds(lambda ids: {"has_id": ids}, st.lists(st.integers(0, 20), max_size=4)),
    st.builds(lambda name: {"has_vector": name}, st.sampled_from(["", "other"])),
    st.builds(
        lambda total, index: {"slice": {"total": total, "index": min(index, total - 1)}},
        st.integers(1, 3),
        st.integers(0, 2),
    ),
)


@st.composite
def conditions(draw: st.DrawFn, depth: int = 2) -> Any:
    """A condition; within `depth`, filters and nested filters too."""
    kind = draw(st.sampled_from(["key", "key", "point", "filter", "nested"] if depth else ["key", "key", "point"]))
    if kind == "filter":
        return draw(filters(depth - 1))
    if kind == "nested":
        return {"nested": {"key": draw(KEYS), "filter": draw(filters(depth - 1))}}
    return draw(ON_KEYS if kind == "key" else ON_POINTS)


@st.composite
def filters(draw: st.DrawFn, depth: int = 2) -> dict[str, Any]:
    """A filter with at least one clause."""
    some = conditions(depth)
    clauses: dict[str, Any] = {}
    for clause in draw(st.sets(st.sampled_from(["must", "should", "must_not", "min_should"]), min_size=1, max_size=2)):
        if clause == "min_should":
            least = draw(st.integers(1, 3))
            clauses[clause] = {"conditions": draw(st.lists(some, min_size=1, max_size=3)), "min_count": least}
        else:
            clauses[clause] = draw(st.one_of(st.lists(some, max_size=2), some))
    return clauses
