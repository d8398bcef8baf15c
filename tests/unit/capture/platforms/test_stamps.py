"""Time stamps are rounded down as they are written, whatever the platform, the unit and the number of decimals."""

from __future__ import annotations

import base64
import json
import math
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxcap.capture.platforms.base import History, RawTick
from fluxcap.capture.platforms.generic import GenericPlatform
from fluxcap.capture.platforms.pocketoption import PocketOption
from fluxcap.capture.platforms.stamps import as_written
from tests.support.market.simulated_market import announcement

MINUTE_S = 1_756_866_780
UNITS = {"s": 1_000, "ms": 1, "us": Fraction(1, 1_000), "ns": Fraction(1, 1_000_000)}
DESCRIBED: dict[str, Any] = {"pages": ["https://x.test/*"], "symbol": "s", "time": "t", "price": "p"}

wholes = st.integers(1, 4_000_000_000)
decimals = st.text("0123456789", max_size=12)


def live(text: str, *, packed: bool = True) -> list[int]:
    """Stamps of a PocketOption frame of one tick, its time as written."""
    decoder = PocketOption().decoder()
    rows = f'[["EURUSD_otc",{text},1.25]]'
    if not packed:
        return [tick.raw_ts_ms for tick in decoder.received(1, f'42["updateStream",{rows}]')]  # type: ignore[union-attr]
    return stamps_of(decoder, "updateStream", rows)


def stamps_of(decoder: Any, event: str, rows: str) -> list[int]:
    decoder.received(1, announcement(event))
    return [
        tick.raw_ts_ms
        for tick in decoder.received(2, base64.b64encode(rows.encode()).decode())
        if isinstance(tick, RawTick)
    ]


def described(written: str, unit: str) -> list[int]:
    decoder = GenericPlatform((), **DESCRIBED, time_unit=unit).decoder()
    return [tick.raw_ts_ms for tick in decoder.received(1, f'{{"s":"A","t":{written},"p":1}}')]  # type: ignore[union-attr]


@pytest.mark.parametrize("decimals", ["9996", "99951", "9999999", "999999999999"])
def test_the_last_moment_of_a_minute_stays_in_its_minute(decimals: str) -> None:
    text = f"{MINUTE_S - 1}.{decimals}"

    assert live(text) == live(text, packed=False) == described(text, "s") == [MINUTE_S * 1_000 - 1]
    assert described(f'"{text}"', "s") == [MINUTE_S * 1_000 - 1]


@pytest.mark.parametrize(
    ("unit", "written"),
    [
        ("us", f"{MINUTE_S * 1_000_000 - 1}"),
        ("ns", f"{MINUTE_S * 1_000_000_000 - 1}"),
        ("ms", f"{MINUTE_S * 1_000 - 1}.9"),
        ("iso", json.dumps(datetime.fromtimestamp(MINUTE_S - 1, UTC).strftime("%Y-%m-%dT%H:%M:%S.999999Z"))),
        ("iso", json.dumps(datetime.fromtimestamp(MINUTE_S - 1, UTC).strftime("%Y-%m-%dT%H:%M:%S.999999999Z"))),
    ],
)
def test_a_stamp_finer_than_a_millisecond_is_rounded_down_in_every_unit(unit: str, written: str) -> None:
    assert described(written, unit) == [MINUTE_S * 1_000 - 1]


@given(wholes, decimals)
def test_any_decimal_is_rounded_down_as_it_is_written(whole: int, decimals: str) -> None:
    text = f"{whole}.{decimals}" if decimals else str(whole)
    floored = math.floor(Fraction(text) * 1_000)

    assert live(text) == live(text, packed=False) == described(text, "s") == [floored]


@given(wholes, st.text("0123456789", max_size=3))
def test_a_stamp_of_three_decimals_or_fewer_is_what_rounding_its_double_gives(whole: int, decimals: str) -> None:
    text = f"{whole}.{decimals}" if decimals else str(whole)

    assert live(text) == described(text, "s") == [round(float(text) * 1_000)]


@given(st.sampled_from(sorted(UNITS)), wholes, decimals, st.integers(-12, 12))
def test_any_way_to_write_a_number_is_rounded_down_exactly(unit: str, whole: int, decimals: str, power: int) -> None:
    text = f"{whole}.{decimals}e{power}" if decimals else f"{whole}e{power}"
    exact = Fraction(text) * UNITS[unit]
    floored = [math.floor(exact)] if 1 <= exact < 32_503_680_000_000 else []

    assert described(text, unit) == described(f'"{text}"', unit) == floored
    if unit == "s":
        assert live(text) == [math.floor(exact)] * (0 < Fraction(text) < 32_503_680_000)


@given(st.lists(st.tuples(wholes, decimals), min_size=1, max_size=5))
def test_all_ticks_of_a_frame_and_of_a_history_are_rounded_alike(times: list[tuple[int, str]]) -> None:
    texts = [f"{whole}.{decimals}" if decimals else str(whole) for whole, decimals in times]
    floored = [math.floor(Fraction(text) * 1_000) for text in texts]
    decoder = PocketOption().decoder()
    rows = ",".join(f'["EURUSD_otc",{text},1.25]' for text in texts)
    history = ",".join(f"[{text},1.25]" for text in texts)

    assert stamps_of(decoder, "updateStream", f"[{rows}]") == floored
    sent = decoder.received(
        1, f'42["updateHistoryNewFast",{{"asset":"A","period":60,"history":[{history}],"candles":[]}}]'
    )
    assert [ts_ms for event in sent if isinstance(event, History) for ts_ms, _ in event.ticks] == sorted(floored)


@pytest.mark.parametrize("time", ["1e99999999999999999999", "1.5e-99999999999999999999", "1e400", "1" * 4_000])
def test_a_number_that_nothing_can_hold_is_no_time_and_costs_no_other_row(time: str) -> None:
    decoder = PocketOption().decoder()

    assert stamps_of(decoder, "updateStream", f'[["A",{time},1.5],["A",1756866774.962,1.5]]') == [1_756_866_774_962]
    assert decoder.malformed["tick"] == 1
    assert described(time, "s") == []


def test_what_a_recording_keeps_of_a_described_platform_is_its_numbers_as_they_were_written() -> None:
    redaction = GenericPlatform((), **DESCRIBED, time_unit="s").redaction()
    frame = f'{{"s":"A","t":{MINUTE_S - 1}.9999999999,"p":1.50}}'

    assert redaction.received(1, frame).payload == frame


def test_numbers_are_taken_exactly() -> None:
    assert as_written("0.1") == Decimal("0.1")
    assert as_written("1e999999999999999999999").is_infinite()
