"""The id of an event: positions there and back, and nothing from what is no id of these streams."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fluxcap.bridge.client.receiver.actions import Cursor
from fluxcap.bridge.web.positions import decode_positions, encode_positions
from fluxcap.schemas.types import StreamKey

KEYS = tuple(StreamKey("DESK", symbol, "1m") for symbol in ("A", "B", "C"))
NUMBERS = st.integers(0, 2**62)
CURSORS = st.builds(Cursor, st.text(min_size=1), NUMBERS, NUMBERS, NUMBERS)


@given(st.lists(st.none() | CURSORS, min_size=3, max_size=3))
def test_positions_come_back_from_their_id(cursors: list[Cursor | None]) -> None:
    positions = {key: cursor for key, cursor in zip(KEYS, cursors, strict=True) if cursor is not None}

    text = encode_positions(KEYS, positions)

    assert decode_positions(text, KEYS) == positions
    assert not set(text) & set("\r\n\0 ")
    assert text.isascii()


@given(st.text())
def test_what_is_no_id_of_ours_is_no_position(text: str) -> None:
    assert decode_positions(text, KEYS) == {}
    assert decode_positions(encode_positions(KEYS, {}).split(".")[0] + "." + text, KEYS).keys() <= set(KEYS)


def test_an_id_of_other_streams_is_no_position() -> None:
    text = encode_positions(KEYS, {KEYS[0]: Cursor("store", 7, 60_000, 2)})

    assert decode_positions(text, KEYS[:2]) == {}
    assert decode_positions(text, KEYS[::-1]) == {}


def test_the_store_stands_there_once_for_all_its_streams() -> None:
    positions = {key: Cursor("store-1", number, 60_000 * number, 0) for number, key in enumerate(KEYS, 1)}

    assert encode_positions(KEYS, positions).partition(".")[2] == "store-1:1:0:60000,:2:0:120000,:3:0:180000"
