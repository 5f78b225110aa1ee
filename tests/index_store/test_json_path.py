"""Paths into payloads lead where Qdrant's do."""

import copy
from typing import Any

import pytest

from index_store.errors import InvalidPath
from index_store.json_path import delete_at, merge_at, parse_path, values_at

PAYLOAD = {"a": {"b": 1, "c": [{"d": 1}, {"d": 2}, 3]}, "a.b": 4, "l": [[1, 2], [3]]}


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("a.b", [1]), ('"a.b"', [4]), ("a.c[].d", [1, 2]), ("a.c[1].d", [2]), ("a.c", [{"d": 1}, {"d": 2}, 3]),
        ("l[]", [1, 2, 3]), ("l[0]", [1, 2]), ("l[0][1]", [2]), ("l[9]", []), ("x.y", []), ("a.b.c", []),
    ],
)  # fmt: skip
def test_a_path_leads_to_values(path: str, values: list[Any]) -> None:
    assert values_at(PAYLOAD, parse_path(path)) == values


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b", "a[", "a[x]", "a]", "a[-1]", '"a', "a b", None, 3])
def test_what_is_no_path_is_refused(path: Any) -> None:
    with pytest.raises(InvalidPath, match="path"):
        parse_path(path)


@pytest.mark.parametrize(
    ("path", "left"),
    [
        ("a.b", {"a": {"c": [1, {"d": 2}]}}),
        ("a.c[]", {"a": {"b": 1, "c": []}}),
        ("a.c[].d", {"a": {"b": 1, "c": [1, {}]}}),
        ("a.c[0]", {"a": {"b": 1, "c": [1, {"d": 2}]}}),
        ("x.y", {"a": {"b": 1, "c": [1, {"d": 2}]}}),
    ],
)
def test_deleting_leaves_the_rest(path: str, left: Any) -> None:
    payload: dict[str, Any] = {"a": {"b": 1, "c": [1, {"d": 2}]}}
    delete_at(payload, parse_path(path))
    assert payload == left


@pytest.mark.parametrize(
    ("path", "made"),
    [
        ("a", {"a": {"b": 1, "x": 9}, "l": [{"y": 1}, 2]}),
        ("a.b", {"a": {"b": {"x": 9}}, "l": [{"y": 1}, 2]}),
        ("n.m", {"a": {"b": 1}, "l": [{"y": 1}, 2], "n": {"m": {"x": 9}}}),
        ("l[]", {"a": {"b": 1}, "l": [{"y": 1, "x": 9}, {"x": 9}]}),
        ("l[0].z", {"a": {"b": 1}, "l": [{"y": 1, "z": {"x": 9}}, 2]}),
        ("l[5]", {"a": {"b": 1}, "l": [{"y": 1}, 2]}),
    ],
)
def test_setting_makes_the_way(path: str, made: Any) -> None:
    payload: dict[str, Any] = {"a": {"b": 1}, "l": [{"y": 1}, 2]}
    merge_at(payload, parse_path(path), copy.deepcopy({"x": 9, "gone": None}))
    assert payload == made
