"""How long a day of ticks takes to replay: ``python tests/bench/bench_replay.py [--hours 24]``.

Makes a recording of 16 assets at 2.1 ticks a second, two frames a tick as on the platform's socket, and replays it at
full speed into a new store. Beside the whole: reading the file alone, and the market without store. CPU time is told
too, since a busy machine changes the other; the yardstick is msgspec decoding the JSON of one tick in the same run.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import msgspec
import numpy as np

from fluxcap.capture.market.focus import Focus, FocusMode
from fluxcap.capture.market.market import Market
from fluxcap.capture.platforms.pocketoption import PocketOption
from fluxcap.capture.recording import records as recording
from fluxcap.capture.recording.file import RecordingReader, RecordingWriter
from fluxcap.capture.tools.replay.playback import Playback
from fluxcap.capture.tools.replay.replay import ReplayOptions, replay

ASSETS = 16
RATE_HZ = 2.1
OFFSET_MS = 7_200_000
START_MS = 1_760_000_040_000
LAG_MS = 750
HOUR_MS = 3_600_000
ANNOUNCED = '451-["updateStream",{"_placeholder":true,"num":0}]'
BUDGET_S = 20.0
"""For 24 hours."""


def ticks(from_ms: int, to_ms: int, seed: int) -> tuple[list[int], list[int], list[float]]:
    """Times, assets and prices over a stretch, in order of time."""
    chance = np.random.default_rng(seed)
    count = round((to_ms - from_ms) / 1_000 * RATE_HZ)
    every_ms = (to_ms - from_ms) / count
    at = from_ms + (np.arange(count) * every_ms)[:, None] + chance.uniform(0, every_ms * 0.9, (count, ASSETS))
    price = 1 + np.cumsum(chance.normal(0, 2e-5, (count, ASSETS)), axis=0) + np.arange(ASSETS) / 10
    order = np.argsort(at, axis=None, kind="stable")
    asset = np.broadcast_to(np.arange(ASSETS), at.shape).ravel()[order]
    return at.ravel()[order].astype(np.int64).tolist(), asset.tolist(), price.ravel()[order].round(5).tolist()


def records(hours: float) -> Iterator[recording.Record]:
    """The recording: one socket, a frame that announces and one that carries each tick, all drained."""
    chance = np.random.default_rng(0)
    last_ns = 0
    yield recording.SocketOpened(0, 0, 1, "wss://api.po.market/socket.io/", 0)
    end_ms = START_MS + round(hours * HOUR_MS)
    for begin_ms in range(START_MS, end_ms, HOUR_MS):
        when, asset, price = ticks(begin_ms, min(begin_ms + HOUR_MS, end_ms), begin_ms)
        lag_ns = chance.integers(LAG_MS * 1_000_000, (LAG_MS + 40) * 1_000_000, len(when)).tolist()
        for ts_ms, number, told, late_ns in zip(when, asset, price, lag_ns, strict=True):
            at_ns = max(last_ns + 40_000, (ts_ms - START_MS + 1) * 1_000_000 + late_ns)
            skew_ns = START_MS * 1_000_000 if not last_ns else late_ns % 400 - 200
            payload = b'[["A%02dUSD_otc",%s,%s]]' % (
                number,
                b"%.3f" % ((ts_ms + OFFSET_MS) / 1_000),
                repr(told).encode(),
            )
            yield recording.TextFrame(at_ns - last_ns, skew_ns, 1, True, ANNOUNCED)
            yield recording.BinaryFrame(30_000, 0, 1, True, payload)
            last_ns = at_ns + 30_000


def write(path: Path, hours: float) -> int:
    """Make the file; how many records it has."""
    header = recording.Header(platform="pocketoption", source="BENCH", focus=Focus(FocusMode.ALL))
    with RecordingWriter(path, header, force=True) as writer:
        for record in records(hours):
            writer.add(record)
        return writer.records


def timed(act: Callable[[], Any]) -> tuple[Any, float, float]:
    """What it returns, seconds by the clock, seconds of CPU."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    result = act()
    return result, time.perf_counter() - wall_s, time.process_time() - cpu_s


def read_only(path: Path) -> int:
    """Read and decode every record."""
    with RecordingReader(path) as reader:
        return sum(len(block) for block in reader.blocks())


def market_only(path: Path) -> int:
    """Read, and let the market decide; nothing is stored."""
    market = Market(PocketOption(), 60_000, Focus(FocusMode.ALL))
    playback = Playback(market)
    with RecordingReader(path) as reader:
        for block in reader.blocks():
            playback.play(block, lambda: None)
            market.drain()
    return sum(feed.tick_count for feed in market.feeds)


def yardstick_us() -> float:
    """Decoding the JSON of one tick, and nothing else: median of some rounds, CPU time."""
    decode = msgspec.json.Decoder(list[tuple[str, float, float]]).decode
    text = b'[["EURGBP_otc",1756866774.962,0.87951]]'
    times = []
    for _ in range(31):
        begun_s = time.process_time()
        for _ in range(10_000):
            decode(text)
        times.append((time.process_time() - begun_s) * 100)
    return statistics.median(times)


def rows(hours: float = 24.0) -> list[dict[str, Any]]:
    """One row a measurement: ``name``, ``seconds``, ``cpu_seconds``, ``us_a_tick`` (CPU), ``yardstick_us``, ``ratio``
    of these two, ``budget_s`` (None: none)."""
    yardsticks_us = [yardstick_us()]
    with tempfile.TemporaryDirectory(prefix="bench-replay-") as folder:
        path = Path(folder) / "day.rec"
        count = write(path, hours)
        tick_count = count // 2
        print(f"{hours:g} h, {ASSETS} assets: {count:,} frames, {path.stat().st_size / 1e6:.1f} MB", file=sys.stderr)
        measured = [
            ("read", timed(lambda: read_only(path)), None),
            ("read, market", timed(lambda: market_only(path)), None),
            (
                "read, market, store: replay",
                timed(lambda: replay(ReplayOptions(path=path), lambda name: PocketOption())),
                BUDGET_S * hours / 24,
            ),
        ]
        yardsticks_us.append(yardstick_us())
        yardstick = statistics.mean(yardsticks_us)
        summary = measured[-1][1][0]
        assert summary.ticks == tick_count, (summary.ticks, tick_count)
        assert measured[1][1][0] == tick_count
        return [
            {
                "name": name,
                "seconds": wall_s,
                "cpu_seconds": cpu_s,
                "us_a_tick": cpu_s / tick_count * 1e6,
                "yardstick_us": yardstick,
                "ratio": cpu_s / tick_count * 1e6 / yardstick,
                "budget_s": budget_s,
            }
            for name, (_, wall_s, cpu_s), budget_s in measured
        ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0)
    print(f"{'':30}{'seconds':>9}{'CPU s':>9}{'µs a tick':>11}{'yardstick':>11}{'ratio':>8}{'budget s':>10}")
    for row in rows(parser.parse_args().hours):
        budget = f"{row['budget_s']:10.1f}" if row["budget_s"] else ""
        print(
            f"{row['name']:30}{row['seconds']:9.1f}{row['cpu_seconds']:9.1f}{row['us_a_tick']:11.2f}"
            f"{row['yardstick_us']:11.3f}{row['ratio']:8.1f}{budget}"
        )


if __name__ == "__main__":
    main()
