"""Descriptions of any shape: what a described platform reads is what a plain walk over the same frame finds.

Frames are built from random descriptions: lists in lists, names and positions, fields outside the message, numbers for
symbols, channels. The model walks the description's text itself, with nothing of the product's.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fluxcap.capture.platforms.base import Keep, RawTick
from fluxcap.capture.platforms.generic import GenericPlatform

NOW_MS = 1_790_000_000_000
NAMES = ("a", "b", "data", "rows")
SYMBOLS = ("BTC", "ETH", "EURUSD")
FIELDS = ("symbol", "time", "price", "kind")

steps = st.lists(st.sampled_from([*NAMES, "0", "2"]), min_size=1, max_size=2)
segments = st.lists(steps, min_size=0, max_size=3)


@st.composite
def descriptions(draw: st.DrawFn) -> tuple[dict[str, Any], list[list[str]], list[str]]:
    """A description, the steps to each of its lists, and those behind the last list."""
    lists, tail = draw(segments), draw(st.just([]) | steps)
    messages = "".join(f"{'.' if at else ''}{'.'.join(keys)}[]" for at, keys in enumerate(lists))
    messages += ("." if messages and tail else "") + ".".join(tail)
    depth = len(lists) + bool(tail)
    is_list = [bool(way) and way[0].isdecimal() for way in [*lists, *([tail] if tail else [])]]
    paths = {}
    for at, field in enumerate(FIELDS):
        out = draw(st.integers(0, depth))
        own = str(3 + at) if out and is_list[depth - out] else f"f_{field}"
        paths[field] = "../" * out + own + draw(st.sampled_from(["", ".x", ".1"]))
    table = {
        "pages": ["https://x.test/*"],
        "messages": messages,
        **{field: paths[field] for field in ("symbol", "time", "price")},
        "filter": draw(st.sampled_from([{}, {paths["kind"]: "trade"}])),
    }
    return table, lists, tail


def nested(keys: list[str], value: Any) -> Any:
    for key in reversed(keys):
        value = [None] * int(key) + [value] if key.isdecimal() else {key: value}
    return value


def merged(base: Any, extra: Any) -> Any:
    if isinstance(base, dict) and isinstance(extra, dict):
        return {key: merged(base.get(key), extra.get(key)) for key in {**base, **extra}}
    if isinstance(base, list) and isinstance(extra, list):
        size = max(len(base), len(extra))
        padded = [[*side, *[None] * (size - len(side))] for side in (base, extra)]
        return [merged(one, other) for one, other in zip(*padded, strict=True)]
    return base if extra is None else extra  # what stands in the way of the messages is lost


@st.composite
def frames(draw: st.DrawFn, described: tuple[dict[str, Any], list[list[str]], list[str]]) -> Any:
    """A frame of a description: each field has a value that can be read, one that cannot, or is left out."""
    table, lists, tail = described
    wanted = {
        "symbol": st.sampled_from([*SYMBOLS * 5, 5, None, "../"]),
        "time": st.sampled_from([*range(NOW_MS, NOW_MS + 20), None, "soon"]),
        "price": st.sampled_from([1.5, "2.25", 3, 3, 3, 3, 3, None, -1, "x"]),
        "kind": st.sampled_from(["trade", "trade", "trade", "other"]),
    }
    paths = {field: table[field] for field in ("symbol", "time", "price")}
    paths["kind"] = next(iter(table["filter"]), "")

    def fields(out: int) -> Any:
        made: Any = None
        for field, path in paths.items():
            if path and path.count("../") == out:
                made = merged(made, nested(path.removeprefix("../" * out).split("."), draw(wanted[field])))
        return made

    def level(at: int) -> Any:
        depth = len(lists) + bool(tail)
        own = fields(depth - at)
        if at < len(lists):
            inside = [level(at + 1) for _ in range(draw(st.integers(1, 2)))]
            return merged(own, nested(lists[at], draw(st.sampled_from([inside, inside, inside, None, 7]))))
        if at == len(lists) and tail:
            return merged(own, nested(tail, level(at + 1)))
        return own or {}

    return level(0)


def plain_value(value: Any, keys: list[str]) -> Any:
    for key in keys:
        try:
            value = value[int(key)] if isinstance(value, list) else value[key]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return value


def plain_messages(path: str, frame: Any) -> list[list[Any]]:
    """The messages of a frame with what they stand in, innermost first, by the text of the path alone."""
    found = [[frame]]
    *lists, tail = path.split("[]")
    for part in lists:
        keys = [key for key in part.split(".") if key]
        found = [
            [entry, *place]
            for place in found
            for entry in (plain_value(place[0], keys) if isinstance(plain_value(place[0], keys), list) else [])
        ]
    keys = [key for key in tail.split(".") if key]
    if keys:
        found = [[plain_value(place[0], keys), *place] for place in found]
        found = [place for place in found if place[0] is not None]
    return found


def plain_field(path: str, place: list[Any]) -> Any:
    out = path.count("../")
    return plain_value(place[out], path.removeprefix("../" * out).split("."))


def model(table: dict[str, Any], frame: Any) -> list[tuple[str, int, float]]:
    ticks = []
    for place in plain_messages(table["messages"], frame):
        if any(plain_field(path, place) != value for path, value in table["filter"].items()):
            continue
        symbol, time, price = (plain_field(table[field], place) for field in ("symbol", "time", "price"))
        if symbol in SYMBOLS and isinstance(time, int) and price in (1.5, "2.25", 3):
            ticks.append((symbol, time, float(price)))
    return ticks


cases = descriptions().flatmap(lambda described: st.tuples(st.just(described[0]), frames(described)))


@given(cases)
def test_a_frame_gives_the_ticks_that_a_plain_walk_finds_in_it(case: tuple[dict[str, Any], Any]):
    table, frame = case
    decoder = GenericPlatform((), **table).decoder()

    ticks = [(tick.symbol, tick.raw_ts_ms, tick.price) for tick in decoder.received(1, json.dumps(frame))]  # type: ignore[union-attr]

    assert ticks == model(table, frame)


@given(cases)
def test_what_a_recording_keeps_of_a_frame_gives_the_same_ticks_and_nothing_is_kept_without_one(
    case: tuple[dict[str, Any], Any],
):
    table, frame = case
    described = GenericPlatform((), **table)
    payload = json.dumps(frame)

    kept = described.redaction().received(1, payload)

    ticks = described.decoder().received(1, payload)
    assert (kept.keep is Keep.CONTENT) == bool(ticks)
    assert not ticks or described.decoder().received(1, kept.payload) == ticks


told = st.tuples(st.just("told"), st.integers(1, 4), st.sampled_from(SYMBOLS))
trades = st.tuples(st.just("trade"), st.integers(1, 4), st.sampled_from([1.5, 2.5]))


@given(st.lists(told | trades, max_size=20), st.sampled_from([{}, {"BTC": "XBT", "7": "SEVEN"}]))
def test_a_trade_is_of_the_symbol_that_its_channel_was_told_last(
    said: list[tuple[str, int, Any]], names: dict[str, str]
):
    decoder = GenericPlatform(
        (),
        pages=["https://x.test/*"],
        messages="1",
        symbol="../0",
        time="0",
        price="1",
        names=names,
        channels={"key": "chan", "symbol": "symbol", "filter": {"event": "subscribed"}},
    ).decoder()
    symbols: dict[int, str] = {}
    expected = []

    found: list[Any] = []
    for at, (kind, channel, value) in enumerate(said):
        if kind == "told":
            symbols[channel] = value
            frame: Any = {"event": "subscribed", "chan": channel, "symbol": value}
        else:
            frame = [channel, [NOW_MS + at, value]]
            if channel in symbols:
                symbol = symbols[channel]
                expected.append(RawTick(names.get(symbol, symbol), NOW_MS + at, value))
        found.extend(decoder.received(1, json.dumps(frame)))

    assert found == expected
    assert decoder.malformed["channel"] == sum(kind == "trade" for kind, *_ in said) - len(expected)
