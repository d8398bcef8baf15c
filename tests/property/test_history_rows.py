"""However rows of a history are damaged: the sound ones are always taken, and no other one becomes a candle."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxcap.capture.platforms.base import History
from fluxcap.capture.platforms.pocketoption import PocketOptionDecoder
from fluxcap.schemas.types import Candle
from tests.support.examples import examples
from tests.support.market.simulated_market import EUR, LAG_MS, OFFSET_MS, START_MS, Stage

MINUTE = 60_000
LOADED_MS = START_MS + MINUTE
"""Start of the minute in which the page is loaded, minute 0."""
FIRST = -12
"""The platform's rows are of the minutes from here to the one that the page was loaded in."""
Row = dict[str, Any]

NO_NUMBER = st.one_of(
    st.none(), st.booleans(), st.text(max_size=5), st.sampled_from(["1.1", [], {}, [1.1], -1.1, 0, 1e15, 10**400])
)


def sound(minute: int) -> Row:
    base = 1.0 + (minute % 50) / 100
    start_s = (LOADED_MS + minute * MINUTE + OFFSET_MS) // 1_000
    return {"time": start_s, "open": base + 0.01, "close": base + 0.02, "high": base + 0.04, "low": base}


def candle(minute: int) -> Candle:
    row = sound(minute)
    return Candle(row["time"] * 1_000, row["open"], row["high"], row["low"], row["close"])


@st.composite
def damaged(draw: st.DrawFn, minute: int) -> Any:
    """A row of that minute that is none."""
    row = sound(minute)
    kind = draw(st.sampled_from(["value", "missing", "order", "none"]))
    if kind == "none":
        return draw(st.one_of(st.none(), st.text(max_size=3), st.integers(), st.just([]), st.just({})))
    name = draw(st.sampled_from(["time", "open", "close", "high", "low"]))
    if kind == "missing":
        del row[name]
    elif kind == "value":
        row[name] = draw(NO_NUMBER)
    else:
        row["high"], row["low"] = row["low"], row["high"]
    return row


def as_list(row: Any) -> Any:
    """The row in the columns of ``updateHistoryNewFast``; one that lacks a column is too short."""
    if not isinstance(row, dict):
        return row
    return [row[name] for name in ("time", "open", "close", "high", "low") if name in row]


MINUTES = range(FIRST, 1)
TOLD = st.lists(st.booleans(), min_size=len(MINUTES), max_size=len(MINUTES))


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Any], list[int]]:
    """Rows of all minutes, some of them damaged or with more than they need, and the minutes of the sound ones."""
    rows: list[Any] = []
    kept: list[int] = []
    for minute, is_sound in zip(MINUTES, draw(TOLD), strict=True):
        if is_sound:
            kept.append(minute)
            rows.append(
                sound(minute) | draw(st.sampled_from([{}, {"volume": 3}, {"volume": None}, {"symbol_id": "x"}]))
            )
        else:
            rows.append(draw(damaged(minute)))
    return rows, kept


def earlier(rows: list[Any], period: object) -> tuple[str, Row]:
    return "loadHistoryPeriodFast", {"asset": EUR, "period": period, "data": rows}


def recent(rows: list[Any], period: object) -> tuple[str, Row]:
    return "updateHistoryNewFast", {"asset": EUR, "period": period, "candles": [as_list(row) for row in rows]}


@pytest.mark.parametrize("event", [earlier, recent])
@settings(max_examples=examples(60), deadline=None)
@given(histories(), st.sampled_from([60, 0, None, "M1"]))
def test_the_sound_rows_are_taken_and_no_other_one(
    event: Callable[[list[Any], object], tuple[str, Row]], history: tuple[list[Any], list[int]], period: object
) -> None:
    rows, kept = history
    decoder = PocketOptionDecoder()

    events = decoder.received(1, "42" + json.dumps(event(rows, period)))

    (found,) = [one for one in events if isinstance(one, History)]
    assert found.candles == tuple(candle(minute) for minute in kept)
    assert decoder.malformed["history row"] == len(rows) - len(kept)
    assert found.period_ms == 60_000 or period != 60


@pytest.mark.parametrize("event", [earlier, recent])
@settings(max_examples=examples(25), deadline=None)
@given(histories(), st.integers(1, 59_000), st.integers(0, 400_000))
def test_only_sound_rows_that_were_over_become_candles(
    event: Callable[[list[Any], object], tuple[str, Row]],
    history: tuple[list[Any], list[int]],
    heard_ms: int,
    late_ms: int,
) -> None:
    """The page is loaded within minute 0, ticks for a time, and its history comes, perhaps late."""
    rows, kept = history
    stage = Stage()
    stage.ticks_of(LOADED_MS + heard_ms - 10_000, LOADED_MS + heard_ms + 1)

    stage.event("s1", *event(rows, 60), LOADED_MS + heard_ms + LAG_MS + late_ms)
    stage.pass_time(stage.now_ms + 15_000)

    over = [LOADED_MS + minute * MINUTE for minute in kept if minute < 0]
    assert [row.ts_ms for row in stage.market.server_candles(EUR)] == over
    filled = {one.ts_ms for one in stage.sealed[EUR] if not one.tick_count}
    filled |= {revision.candle.ts_ms for revision in stage.revised[EUR] if not revision.candle.tick_count}
    assert filled <= set(over)
