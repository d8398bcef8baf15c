"""The codec against the code that flatc generates, side by side in one run: ``python tests/bench/bench_codec.py``.

Ratios travel between machines, absolutes do not. "Theirs" builds, or reads every field of, the same CandleBatch with
the generated Python code on the flatbuffers runtime.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from fluxcap.schemas.codec import decode, encode
from fluxcap.schemas.generated import market_data as fb
from fluxcap.schemas.types import CANDLE_DTYPE, CandleArray, CandleBatch, StreamKey, StreamStatus
from tests.support.wire import generated_wire

KEY = StreamKey("POCKETOPTION", "EURUSD_otc", "1m")
SIZES = (1, 10, 100, 10_000)
AIMS = {("encode", 1): 5, ("encode", 10_000): 500, ("decode", 1): 1, ("decode", 10_000): 300}
ROUNDS = 9
ROUND_SECONDS = 0.04


def candles(count: int) -> CandleArray:
    """A random walk of one-minute candles."""
    walk = np.round(1.08 + np.cumsum(np.random.default_rng(1).normal(0, 1e-4, (count, 4)), axis=0), 5)
    array = np.zeros(count, CANDLE_DTYPE)
    array["ts_ms"] = 1_756_850_400_000 + 60_000 * np.arange(count)
    array["open"], array["close"] = walk[:, 0], walk[:, 3]
    array["high"], array["low"] = walk.max(axis=1), walk.min(axis=1)
    array["volume"] = array["tick_count"] = 100 + np.arange(count) % 50
    array["flags"] = 4
    return array


def read_batch_with_generated_code(data: bytes) -> tuple[StreamKey, int, list[tuple[float, ...]]]:
    """Every field of a CandleBatch as plain values."""
    envelope = fb.Envelope.GetRootAs(data)
    envelope.SchemaVersion(), envelope.CorrelationId(), envelope.MessageType()
    batch = fb.CandleBatch()
    _point_to_message(batch, envelope)
    return generated_wire.read_key(batch.Key()), batch.StartSequence(), generated_wire.read_rows(batch)


def read_status_with_generated_code(data: bytes) -> StreamStatus:
    """Every field of a heartbeat."""
    envelope = fb.Envelope.GetRootAs(data)
    envelope.SchemaVersion(), envelope.CorrelationId(), envelope.MessageType()
    status = fb.StreamStatusResponse()
    _point_to_message(status, envelope)
    return generated_wire.read_status(status)


def _point_to_message(table: Any, envelope: fb.Envelope) -> None:
    union = envelope.Message()
    table.Init(union.Bytes, union.Pos)


def microseconds_each(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[list[float], list[float]]:
    """Time a call of each, round by round in turn, so that a busy moment of the machine meets both."""
    repeats = [_repeats(ours), _repeats(theirs)]
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for call, repeat, into in zip((ours, theirs), repeats, times, strict=True):
            into.append(_time(call, repeat) / repeat * 1e6)
    return times


def _repeats(call: Callable[[], object]) -> int:
    call()
    return max(1, int(ROUND_SECONDS / max(_time(call, 1), 1e-7)))


def _time(call: Callable[[], object], repeat: int) -> float:
    start = time.perf_counter()
    for _ in range(repeat):
        call()
    return time.perf_counter() - start


def _row(name: str, ours: list[float], theirs: list[float], aim: float | None) -> dict[str, object]:
    ratios = sorted(their / our for our, their in zip(ours, theirs, strict=True))
    return {
        "name": name,
        "ours": statistics.median(ours),
        "theirs": statistics.median(theirs),
        "ratio": statistics.median(ratios),
        "ratio_low": ratios[0],
        "ratio_high": ratios[-1],
        "unit": "us",
        "aim": aim,
    }


def rows() -> list[dict[str, object]]:
    """One row a measurement: ``name``, medians ``ours`` and ``theirs`` in ``unit``, ``ratio`` (median of the rounds,
    with ``ratio_low`` and ``ratio_high``) and the ``aim`` of the ratio, None where there is none."""
    table = []
    for count in SIZES:
        batch = CandleBatch(KEY, 1_000, candles(count))
        data = encode(batch)
        encoding = microseconds_each(lambda: encode(batch), lambda: generated_wire.build(fb, batch))  # noqa: B023
        decoding = microseconds_each(lambda: decode(data), lambda: read_batch_with_generated_code(data))  # noqa: B023
        for verb, times in (("encode", encoding), ("decode", decoding)):
            table.append(_row(f"{verb} {count:,} candles", *times, AIMS.get((verb, count))))
    status = StreamStatus(KEY, 7, 1, 2, 3, "01JD3Z6F", 4, 4, 5, 7_200_000)
    data = encode(status)
    encoding = microseconds_each(lambda: encode(status), lambda: generated_wire.build(fb, status))
    decoding = microseconds_each(lambda: decode(data), lambda: read_status_with_generated_code(data))
    table += [_row("encode heartbeat", *encoding, None), _row("decode heartbeat", *decoding, None)]
    return table


def main() -> None:
    """Print the table."""
    print(f"{'':24}{'ours us':>11}{'theirs us':>12}{'ratio':>9}{'low':>9}{'high':>9}{'aim':>7}")
    for row in rows():
        aim = f">={row['aim']}" if row["aim"] else ""
        print(
            f"{row['name']:24}{row['ours']:11.2f}{row['theirs']:12.1f}"
            f"{row['ratio']:9.1f}{row['ratio_low']:9.1f}{row['ratio_high']:9.1f}{aim:>7}"
        )


if __name__ == "__main__":
    main()
