"""Paths into JSON values, as the settings file writes them."""

from __future__ import annotations

from typing import Any

import pytest

from fluxcap.capture.platforms.json_path import JsonPath
from fluxcap.schemas.errors import ConfigError


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        ("", {"a": 1}, [{"a": 1}]),
        ("[]", [1, 2], [1, 2]),
        ("data", {"data": 5}, [5]),
        ("data[]", {"data": [5, 6]}, [5, 6]),
        ("result.trades[]", {"result": {"trades": [1]}}, [1]),
        ("1.x", [0, {"x": 7}], [7]),
        ("data", {"other": 5}, []),
        ("data", [1], []),
        ("data[]", {"data": {"a": 1}}, []),
        ("data", {"data": None}, []),
        ("3", [1], []),
    ],
)
def test_a_path_finds_what_is_there_and_nothing_elsewhere(path: str, value: Any, found: list[Any]):
    assert JsonPath(path).all(value) == found


@pytest.mark.parametrize("text", ["a..b", "a[0]", "a[].b", "[", ".a", "99999"])
def test_what_is_no_path_is_refused(text: str):
    with pytest.raises(ConfigError, match="is no path"):
        JsonPath(text)


def test_what_was_put_is_found_again():
    made = JsonPath("a.1.b").put(JsonPath("a.0").put(None, 5), 6)

    assert made == {"a": [5, {"b": 6}]}
    assert (JsonPath("a.0").one(made), JsonPath("a.1.b").one(made)) == (5, 6)


@pytest.mark.parametrize("path", ["", "data", "x.y"])
def test_a_wrapped_entry_is_found_again(path: str):
    assert JsonPath(path).all(JsonPath(path).wrap([{"p": 1}])) == [{"p": 1}]


def test_wrapped_entries_of_a_list_are_found_again():
    assert JsonPath("data[]").all(JsonPath("data[]").wrap([1, 2])) == [1, 2]
