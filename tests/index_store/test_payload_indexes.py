"""Payload indexes change how fast a filter is, never what it matches; they follow every change, and last."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from index_store import Collection, Filter, IndexSchema, SearchPlan, row_set
from index_store.errors import DiskFull, InvalidConfig, InvalidFilter
from index_store.filters import Point
from index_store.filters.words import Tokenizer
from index_store.payload_change import overwriting
from index_store.payload_indexes import indexes, recent_terms, tables
from index_store.payload_indexes.recent_terms import RecentTerms
from index_store.storage import Storage
from index_store.stored_forms import stored_ids
from tests.builders import clustered
from tests.index_store.filter_strategies import PAYLOADS, filters
from tests.index_store.making import DIM, make_collection, store_at

KINDS = ["keyword", "integer", "float", "bool", "datetime", "uuid", "text", "geo"]
KEYS = ["a", "b", "c", "a.b", "a[].b", "b[1].a", '"a.b"']


@pytest.fixture(autouse=True)
def small_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of a few rows, so that there are several, blocks of a few numbers, and few rows taken as if many."""
    monkeypatch.setattr(row_set, "_MANY", 2)
    monkeypatch.setattr(indexes, "LEAST_RUN", 1)
    monkeypatch.setattr(indexes, "RUN_ROWS", 5)
    monkeypatch.setattr(indexes, "FAN_IN", 2)
    monkeypatch.setattr(tables, "BLOCK", 3)


def build(collection: Collection, steps: int = 1000) -> None:
    for _ in range(steps):
        if not collection.index_payloads():
            return


def expected(condition: Filter, payloads: dict[int, Any]) -> list[int]:
    vectors = frozenset({"default"})
    return [
        id for id, payload in payloads.items() if condition.matches(Point(stored_ids([id])[0], payload or {}, vectors))
    ]


def found(collection: Collection, condition: Filter) -> list[Any]:
    """The ids of the points that match."""
    held = collection._held
    rows = held.rows_matching(condition)
    with held.points.snapshot() as reader:
        entries = held.points.entries(list(rows), False, reader)
    return sorted(entry.id for entry in entries.values())


@settings(max_examples=40)
@given(
    payloads=st.lists(st.one_of(st.none(), PAYLOADS), min_size=1, max_size=14),
    later=st.lists(PAYLOADS, max_size=6),
    declared=st.dictionaries(st.sampled_from(KEYS), st.sampled_from(KINDS), min_size=1, max_size=4),
    asked=st.lists(filters(), min_size=1, max_size=6),
    changed=st.lists(PAYLOADS, max_size=3),
    steps=st.integers(0, 12),
)
def test_an_index_never_changes_what_a_filter_matches(
    tmp_path_factory: pytest.TempPathFactory,
    payloads: list[Any],
    later: list[Any],
    declared: dict[str, str],
    asked: list[dict[str, Any]],
    changed: list[Any],
    steps: int,
) -> None:
    folder = tmp_path_factory.mktemp("indexes")
    held = dict(enumerate(payloads))
    with store_at(folder) as store:
        collection = make_collection(store, folder, lists=None)
        for key, kind in declared.items():
            collection.create_payload_index(key, IndexSchema(kind))
        collection.upsert(range(len(payloads)), {"default": clustered(len(payloads), DIM)}, payloads)
        build(collection, steps)
        places = [7 * place % 20 for place in range(len(later))]  # some points replaced, some new
        collection.upsert(places, {"default": clustered(len(places), DIM)}, later) if later else None
        held |= dict(zip(places, later, strict=True))
        for place, payload in enumerate(changed):  # in place: their rows stay
            collection.change_payloads([place % len(payloads)], overwriting(payload))
            held[place % len(payloads)] = payload
            build(collection, steps // 4)
        for one in asked:
            condition = Filter.parse(one)
            assert found(collection, condition) == sorted(expected(condition, held)), one


def test_what_an_index_can_answer_needs_no_payload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    payloads = [
        {"word": f"w{n % 7}", "n": n, "x": n / 2, "flag": n % 2 == 0, "day": f"2024-01-{n % 28 + 1:02}",
         "text": f"a red {n}", "at": {"lon": n / 100, "lat": 0.5}} for n in range(60)
    ]  # fmt: skip
    kinds = ["keyword", "integer", "float", "bool", "datetime", "text", "geo"]
    conditions: list[dict[str, Any]] = [
        {"key": "word", "match": {"value": "w3"}},
        {"key": "word", "match": {"any": ["w1", "w2"]}},
        {"key": "word", "match": {"except": ["w1"]}},
        {"key": "word", "match": {"prefix": "w"}},
        {"key": "word", "match": {"substring": "4"}},
        {"key": "n", "match": {"value": 17}},
        {"key": "n", "range": {"gt": 3.5, "lte": 40}},
        {"key": "x", "range": {"gte": 1, "lt": 20.5}},
        {"key": "flag", "match": {"value": True}},
        {"key": "day", "range": {"gte": "2024-01-03", "lt": "2024-01-09T12:00:00Z"}},
        {"key": "text", "match": {"text": "RED 5"}},
        {"key": "text", "match": {"text_any": "5 6"}},
        {"key": "at", "geo_radius": {"center": {"lon": 0, "lat": 0.5}, "radius": 20_000}},
        {"key": "at", "geo_bounding_box": {"top_left": {"lon": 0.1, "lat": 1}, "bottom_right": {"lon": 0.4, "lat": 0}}},
        {"is_empty": {"key": "word"}},
        {"is_null": {"key": "n"}},
    ]
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, lists=None)
        for key, kind in zip(payloads[0], kinds, strict=True):
            collection.create_payload_index(key, IndexSchema(kind))
        collection.upsert(range(60), {"default": clustered(60, DIM)}, payloads)
        build(collection)
        monkeypatch.setattr("index_store.selection._judged", lambda *_: pytest.fail("a payload was read"))
        for one in conditions:
            condition = Filter.parse({"must": [one]})
            assert found(collection, condition) == expected(condition, dict(enumerate(payloads))), one


NUMBERED = Filter.parse({"must": [{"key": "n", "range": {"gte": 3, "lt": 8}}]})


def test_numbers_are_asked_for_in_a_file_without_a_name(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, lists=None)
        collection.create_payload_index("n", IndexSchema("integer"))
        collection.upsert(range(12), {"default": clustered(12, DIM)}, [{"n": n} for n in range(12)])
        build(collection)
        names = {path.name for path in tmp_path.rglob("*")}
        assert found(collection, NUMBERED) == [3, 4, 5, 6, 7]
        assert {path.name for path in tmp_path.rglob("*")} <= names


def test_a_full_disk_leaves_numbers_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise DiskFull("The disk is full.")

    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, lists=None)
        collection.create_payload_index("n", IndexSchema("integer"))
        collection.upsert(range(12), {"default": clustered(12, DIM)}, [{"n": n} for n in range(12)])
        build(collection)
        monkeypatch.setattr(Storage, "set_aside", full)
        assert found(collection, NUMBERED) == found(collection, NUMBERED) == [3, 4, 5, 6, 7]


def test_what_a_filter_reads_of_another_moment_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, moment_of = [], tables.moment_of

    def of_another_at_first(reader: Any) -> tuple[int, int]:
        asked.append(reader)
        return (-1, 0) if len(asked) == 1 else moment_of(reader)

    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, lists=None)
        collection.upsert(range(9), {"default": clustered(9, DIM)})
        monkeypatch.setattr(tables, "moment_of", of_another_at_first)
        (hits,) = collection.query(
            clustered(1, DIM), SearchPlan(9), filter=Filter.parse({"must": [{"has_id": [2, 5, 70]}]})
        )
        assert sorted(hit.id for hit in hits) == [2, 5]
        assert len(asked) == 2


def test_rows_of_terms_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_terms, "MOST_BYTES", 3 * recent_terms._ENTRY_BYTES)
    terms, read = RecentTerms(), []

    def rows(run: int, term: bytes) -> list[int]:
        def stored() -> bytes | None:
            read.append((run, term))
            return BitMap([run]).serialize() if term == b"there" else None

        return list(terms.get(run, term, stored))

    assert [rows(1, b"there"), rows(1, b"gone"), rows(1, b"there"), rows(2, b"there")] == [[1], [], [1], [2]]
    assert read == [(1, b"there"), (1, b"gone"), (2, b"there")]
    assert rows(1, b"gone") == []
    assert read[3:] == [(1, b"gone")]  # the longest unused was forgotten


def test_an_index_lasts_and_its_rows_are_merged_into_few_runs(tmp_path: Path) -> None:
    condition = Filter.parse({"must": [{"key": "n", "match": {"value": 1}}]})
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, lists=None)
        collection.create_payload_index("n", IndexSchema("integer"))
        for first in range(0, 40, 10):
            collection.upsert(
                range(first, first + 10), {"default": clustered(10, DIM)}, [{"n": n % 3} for n in range(10)]
            )
            build(collection)
        collection.delete(range(0, 20))
    with store_at(tmp_path) as store:
        collection = store.collection("terms")
        assert collection.payload_indexes() == {"n": (IndexSchema("integer"), 20)}
        (index,) = collection._held.payloads.state.indexes.values()
        assert 1 <= len(index.runs) < 5
        assert found(collection, condition) == [21, 24, 27, 31, 34, 37]
        assert collection.delete_payload_index("n")
        assert not collection.delete_payload_index("n")
    with store_at(tmp_path) as store:
        collection = store.collection("terms")
        assert collection.payload_indexes() == {}
        (left,) = collection._held.points.db.execute("SELECT count(*) FROM payload_numbers").fetchone()
        assert left == 0
        assert found(collection, condition) == [21, 24, 27, 31, 34, 37]


def test_another_schema_for_a_key_replaces_its_index(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, lists=None)
        collection.upsert(range(10), {"default": clustered(10, DIM)}, [{"a": str(n)} for n in range(10)])
        for kind, points in (("keyword", 10), ("integer", 10), ("keyword", 10)):
            collection.create_payload_index("a", IndexSchema(kind))
            build(collection)
            assert collection.payload_indexes() == {"a": (IndexSchema(kind), points)}
            assert found(collection, Filter.parse({"must": [{"key": "a", "match": {"value": "3"}}]})) == [3]


def test_a_text_index_says_how_texts_are_cut_into_words(tmp_path: Path) -> None:
    schema = IndexSchema.parse({"type": "text", "tokenizer": "prefix", "min_token_len": 2, "ascii_folding": True})
    texts = ["Naïve café", "rose", "r"]
    asked = Filter.parse({"must": [{"key": "t", "match": {"text": "ca NAI"}}]})
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, lists=None)
        collection.upsert(range(3), {"default": clustered(3, DIM)}, [{"t": text} for text in texts])
        assert found(collection, asked) == []
        collection.create_payload_index("t", schema)
        assert found(collection, asked) == [0]  # also before it is built
        build(collection)
        assert found(collection, asked) == [0]


def test_words_are_cut_as_a_tokenizer_says() -> None:
    assert Tokenizer("whitespace", lowercase=False).words("A-b c") == ["A-b", "c"]
    assert Tokenizer(least=2, most=3, stopwords=frozenset({"the"})).words("The end a ends") == ["end"]
    assert Tokenizer("prefix", least=2, most=3).stored("rose") == {"ro", "ros"}
    assert Tokenizer("prefix", most=3).words("rose") == ["ros"]


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ("numeric", "'numeric'"),
        ({"type": "text", "tokenizer": "multilingual"}, "'multilingual'"),
        ({"type": "text", "stemmer": {"type": "snowball"}}, "stemmer"),
        ({"type": "text", "stopwords": "english"}, "stopwords"),
        ({"type": "keyword", "nested": "a"}, "nested"),
        ({"type": "keyword", "tokenizer": "word"}, "tokenizer"),
        ({"type": "text", "min_token_len": -1}, "min_token_len"),
        ({"type": "text", "lowercase": 1}, "lowercase"),
        (None, "None"),
    ],
)
def test_a_schema_that_is_not_served_is_refused_by_name(schema: Any, told: str) -> None:
    with pytest.raises(InvalidConfig, match=told):
        IndexSchema.parse(schema)


def test_a_key_that_is_no_path_is_refused(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, lists=None)
        with pytest.raises(InvalidFilter, match="a path"):
            collection.create_payload_index("a..b", IndexSchema("keyword"))
        assert collection.payload_indexes() == {}
