"""fluxcap.bridge.jetstream.subjects: any symbol becomes a token and is read back, few filters let all wanted
streams through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxcap.bridge.jetstream.subjects import (
    ALL_SUBJECTS,
    STATUS_ROOT,
    Position,
    covering_filters,
    escape,
    keys_of_topic,
    message_id,
    parse_subject,
    position_headers,
    position_of,
    revision_id,
    status_subject,
    subject,
    subject_filter,
    unescape,
)
from fluxcap.schemas.errors import CodecError
from fluxcap.schemas.types import StreamKey


def keys(sources: int, symbols: int, intervals: tuple[str, ...] = ("1m",)) -> list[StreamKey]:
    return [StreamKey(f"D{a}", f"S{b}", i) for a in range(sources) for b in range(symbols) for i in intervals]


@pytest.mark.parametrize(
    ("wanted", "filters"),
    [
        (keys(1, 2), {"flux.candles.D0.S0.1m", "flux.candles.D0.S1.1m"}),
        (keys(2, 5), {"flux.candles.D0.*.1m", "flux.candles.D1.*.1m"}),
        (keys(9, 1, ("1m", "5m")), {"flux.candles.*.*.1m", "flux.candles.*.*.5m"}),
        (keys(9, 1, ("1m", "5m", "1h", "4h", "1d")), {"flux.candles.*.*.*"}),
    ],
)
def test_streams_are_heard_singly_while_few_and_by_what_they_share_when_many(
    wanted: list[StreamKey], filters: set[str]
) -> None:
    assert covering_filters(wanted, most=4) == filters


def test_heartbeats_have_a_root_of_their_own() -> None:
    assert covering_filters([StreamKey("A", "B.C", "1m")], root=STATUS_ROOT) == {"flux.status.A.B%2EC.1m"}


def test_a_topic_names_every_stream_that_it_may_be_of() -> None:
    assert keys_of_topic(b"candles.SIM.EURUSD.1m") == ("candles", [StreamKey("SIM", "EURUSD", "1m")])
    kind, found = keys_of_topic(b"status.SIM.BRK.B.1m")
    assert (kind, found) == ("status", [StreamKey("SIM", "BRK.B", "1m"), StreamKey("SIM.BRK", "B", "1m")])
    assert all(key.topic("status") == b"status.SIM.BRK.B.1m" for key in found)


# --- names on the log: any symbol becomes a token and is read back; no two become the same ---


KEY = StreamKey("POCKETOPTION", "EURUSD_otc", "1m")
ANY_TEXT = st.text(st.characters(codec=None), max_size=30)  # lone surrogates, too
SAFE = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-#%")


def test_an_ordinary_stream_is_readable():
    assert subject(KEY) == "flux.candles.POCKETOPTION.EURUSD_otc.1m"
    assert status_subject(KEY) == "flux.status.POCKETOPTION.EURUSD_otc.1m"
    assert message_id("s", KEY, 7) == "s/POCKETOPTION.EURUSD_otc.1m/7"
    assert revision_id("s", KEY, 7) == "s/POCKETOPTION.EURUSD_otc.1m/r7"


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("", "%"),
        ("%", "%25"),
        ("a.b", "a%2Eb"),
        ("EUR/USD OTC", "EUR%2FUSD%20OTC"),
        ("*", "%2A"),
        (">", "%3E"),
        ("é", "%C3%A9"),
    ],
)
def test_what_nats_takes_for_something_else_is_escaped(text: str, token: str):
    assert escape(text) == token
    assert unescape(token) == text


@given(ANY_TEXT)
def test_any_text_is_one_token_and_comes_back(text: str):
    token = escape(text)

    assert token
    assert set(token) <= SAFE
    assert unescape(token) == text


@given(st.text(st.sampled_from("%aF0E2."), max_size=8))
def test_a_token_is_read_only_if_it_is_the_one_that_is_written(token: str):
    try:
        text = unescape(token)
    except CodecError:
        return

    assert escape(text) == token


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_a_stream_is_read_back_from_its_subject(source: str, symbol: str, interval: str):
    key = StreamKey(source, symbol, interval)

    assert parse_subject(subject(key)) == key
    assert parse_subject(status_subject(key), root=STATUS_ROOT) == key


@pytest.mark.parametrize(
    "name",
    [
        "",
        "flux.candles",
        "flux.candles.A.B",
        "flux.candles.A.B.1m.x",
        "other.A.B.1m",
        "flux.candles.A.b c.1m",
        "flux.candles.A.%zz.1m",
    ],
)
def test_a_foreign_subject_is_refused(name: str):
    with pytest.raises(CodecError):
        parse_subject(name)


def test_a_filter_names_many_streams():
    assert subject_filter() == "flux.candles.*.*.*"
    assert subject_filter(symbol="a.b", interval="1m") == "flux.candles.*.a%2Eb.1m"
    assert subject(KEY).startswith(ALL_SUBJECTS.removesuffix(">"))


def test_a_message_says_where_it_stands():
    position = Position("store", 7, 420_000, 2, 3)

    assert position_of(position_headers(position)) == position


@pytest.mark.parametrize(
    "change",
    [
        {"Flux-Store-Id": ""},
        {"Flux-Latest-Sequence": "-1"},
        {"Flux-Latest-Revision": "x"},
        {"Flux-Latest-Ts-Ms": "9" * 30},
    ],
)
def test_headers_of_somebody_else_are_refused(change: dict[str, str]):
    with pytest.raises(CodecError):
        position_of(position_headers(Position("store", 7, 420_000, 2, 3)) | change)
    with pytest.raises(CodecError):
        position_of(None)
