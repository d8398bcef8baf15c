"""Paths into JSON values, as the settings file writes them."""

from __future__ import annotations

from typing import Any

import pytest

from fluxcap.capture.platforms.json_path import FieldPath, MessagesPath, put
from fluxcap.schemas.errors import ConfigError

TRADES = {"channel": "trades", "events": [{"type": "old", "trades": [1, 2]}, {"type": "new", "trades": [3]}]}


def found(path: str, frame: Any) -> list[Any]:
    return [place[0] for place in MessagesPath(path).places(frame)]


def read(messages: str, field: str, frame: Any) -> list[Any]:
    return [FieldPath(field).of(place) for place in MessagesPath(messages).places(frame)]


@pytest.mark.parametrize(
    ("path", "value", "messages"),
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
def test_a_path_finds_what_is_there_and_nothing_elsewhere(path: str, value: Any, messages: list[Any]):
    assert found(path, value) == messages


@pytest.mark.parametrize(
    ("path", "value", "messages"),
    [
        ("events[].trades[]", TRADES, [1, 2, 3]),
        ("[][]", [[1], [], [2, 3]], [1, 2, 3]),
        ("a[].b.0[].c", {"a": [{"b": [[{"c": 1}, {}, {"c": 2}]]}, 5]}, [1, 2]),
        ("events[].trades[]", {"events": [{"trades": 1}, {}, None, {"trades": [4]}]}, [4]),
        ("events[].trades[]", {"events": {"trades": [4]}}, []),
    ],
)
def test_lists_in_lists_give_their_messages_in_order(path: str, value: Any, messages: list[Any]):
    assert found(path, value) == messages


@pytest.mark.parametrize(
    ("messages", "field", "frame", "values"),
    [
        ("events[].trades[]", "../type", TRADES, ["old", "old", "new"]),
        ("events[].trades[]", "../../channel", TRADES, ["trades"] * 3),
        ("1[]", "../3", [0, [["a"], ["b"]], "trade", "XBT/USD"], ["XBT/USD", "XBT/USD"]),
        ("2", "../0", [17, "te", [5]], [17]),
        ("data[].tick", "../at.0", {"data": [{"tick": 1, "at": [9]}]}, [9]),
        ("data[].tick", "../../topic", {"topic": "t", "data": [{"tick": 1}]}, ["t"]),
        ("data", "../missing", {"data": 1}, [None]),
    ],
)
def test_a_field_is_found_in_what_the_message_stands_in(messages: str, field: str, frame: Any, values: list[Any]):
    assert read(messages, field, frame) == values


@pytest.mark.parametrize("text", ["a..b", "a[0]", "a[]b", "[", ".a", "99999", "a[]..b", "../a"])
def test_what_is_no_path_is_refused(text: str):
    with pytest.raises(ConfigError, match="is no path"):
        MessagesPath(text)


def test_lists_in_lists_have_an_end():
    with pytest.raises(ConfigError, match="more than 8 lists"):
        MessagesPath("[]" * 9)


@pytest.mark.parametrize(
    ("messages", "field", "sentence"),
    [
        ("", "../type", "'../type' leads out of the frame: a message is 0 times ../ from it"),
        ("data", "../../x", "'../../x' leads out of the frame: a message is 1 times ../ from it"),
        ("data[]", "../data.0.x", "'../data.0.x' leads back into the messages"),
        ("data", "../data.x", "'../data.x' leads back into the messages"),
        ("[]", "../0", "'../0' leads back into the messages"),
    ],
)
def test_a_field_that_no_message_has_outside_is_refused(messages: str, field: str, sentence: str):
    with pytest.raises(ConfigError, match=sentence):
        MessagesPath(messages).arranged([FieldPath(field)])


@pytest.mark.parametrize(
    ("text", "sentence"), [("../", "names no field"), ("../a..b", "is no path"), ("..a", "no path")]
)
def test_what_is_no_field_is_refused(text: str, sentence: str):
    with pytest.raises(ConfigError, match=sentence):
        FieldPath(text)


def test_what_was_put_is_found_again():
    made = put(put(None, ("a", 0), 5), ("a", 1, "b"), 6)

    assert made == {"a": [5, {"b": 6}]}


def test_of_a_frame_only_the_fields_of_kept_messages_are_left():
    path = MessagesPath("events[].trades[]")
    frame = {
        "channel": "c",
        "user": "me",
        "events": [
            {"type": "new", "mine": 1, "trades": [{"p": 1, "q": 2}, {"p": 3, "q": 4}]},
            {"type": "new", "mine": 2, "trades": [{"p": 3}]},
        ],
    }
    fields = path.arranged([FieldPath(text) for text in ("p", "../type", "../../channel")])

    reduced = path.reduced(frame, fields, lambda place: place[0]["p"] == 1)

    assert reduced == {"channel": "c", "events": [{"type": "new", "trades": [{"p": 1}]}]}
    assert path.reduced(frame, fields, lambda place: False) is None
