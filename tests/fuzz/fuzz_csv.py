"""Fuzzing of CSV files: ``python tests/fuzz/fuzz_csv.py --count 1000000 [--seed N] [--processes N]``.

Files of ticks, candles and listings, as fluxcap and the programs before it wrote them, are damaged in content and name
and read by everything that reads them: the chart, ``verify`` and ``export``, the dev server, the universe, the list of
files for browsers. Either rows come out that could be candles or ticks, or a ConfigError says what is wrong; no name
leads out of the data folder.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from fluxcap.bridge.dashboard.csv_candles import read_csv
from fluxcap.bridge.devserver.generator import read_candles
from fluxcap.bridge.store.universe import UNIVERSE_COLUMNS, read_universe
from fluxcap.capture.csvfiles.catalog import ASSETS_FOLDER, list_csv_files, resolve_csv_file
from fluxcap.capture.csvfiles.format import (
    CsvKind,
    candle_line,
    file_name,
    parse_file_name,
    safe_name,
    tick_line,
)
from fluxcap.capture.csvfiles.reader import CsvFile, check_csv, collected_files, read_ticks
from fluxcap.schemas.candles import price_text
from fluxcap.schemas.errors import ConfigError
from fluxcap.schemas.types import CANDLE_DTYPE, Candle, CandleArray, Tick
from tests.fuzz.damage import damaged
from tests.fuzz.driver import MEMORY, Chapter, main

START_MS = 1_760_000_040_000
STAMP = "2025_10_09_08_54_00"
UNIVERSE = (Path(__file__).parents[2] / "data" / "universe.csv").read_bytes()
_CANDLES = [Candle(START_MS + n * 60_000, 1.1, 1.3, 1.0 + n / 50, 1.2) for n in range(5)]
_TICKS = [Tick("EURUSD_otc", START_MS + n * 500, START_MS + n * 500, 1.1 + n / 1_000) for n in range(6)]
SEEDS = (
    CsvKind.CANDLE.header + b"".join(map(candle_line, _CANDLES)),
    CsvKind.TICK.header + b"".join(map(tick_line, _TICKS)),
    b"\xef\xbb\xbftime,open,high,low,close,volume\n1760000040,1,2,0.5,1,7\n1760000100000,1,2,0.5,1,8\n",
    b"timestamp,open,high,low,close,volume,tick_count,flags\n2025-10-09T08:54:00Z,1,2,0.5,1,7,7,4\n",
    b"timestamp,asset,price\ntimestamp,asset,price\n08:54:00Z,EURUSD_otc,1.1\n",
    b"\n".join(UNIVERSE.splitlines()[:6]) + b"\n",
)
NAMES = (
    file_name(CsvKind.TICK, "EURUSD_otc", "", STAMP, 1),
    file_name(CsvKind.CANDLE, "#AAPL_otc", "1m", STAMP, 12),
    f"EURUSD_otc_60m_{STAMP}.csv",
    "data_collect/1M_candles/x.csv",
    "../../secret.csv",
)


class Readers:
    """One file below a data folder, and one beside it that nobody may name."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._folder = tempfile.TemporaryDirectory(prefix="fluxcap-fuzz-", dir=MEMORY)
        self._data_dir = Path(self._folder.name) / "data"
        folder = self._data_dir / ASSETS_FOLDER / "realtime_stream" / "1M_tick_data"
        folder.mkdir(parents=True)
        self._path = folder / NAMES[0]
        (Path(self._folder.name) / "secret.csv").write_text("secret")
        (self._data_dir / ASSETS_FOLDER / "secret.csv").write_text("secret")

    def invent(self) -> tuple[bytes, str]:
        name = self._rng.choice(NAMES).encode()
        if self._rng.random() < 0.8:
            name = damaged(name, self._rng, [name.encode() for name in NAMES])
        content = damaged(self._rng.choice(SEEDS), self._rng, SEEDS)
        return content, name.decode("utf-8", "surrogateescape")

    def take(self, data: tuple[bytes, str]) -> str:
        content, name = data
        self._path.write_bytes(content)
        if self._rng.random() < 0.2:
            self._name(name)
        # Always by the chart, and by one of the others: opening files is what takes the time.
        taken = self._chart(content) | self._rng.choice((self._replayed, self._collected, self._listed))()
        return "read" if taken else "refused"

    def _chart(self, content: bytes) -> bool:
        try:
            candles = read_csv(content.decode("utf-8", "replace"), self._rng.choice(("1m", "1h")))
        except ConfigError:
            return False
        _judge(candles)
        return True

    def _replayed(self) -> bool:
        try:
            candles = read_candles(self._path)
        except ConfigError:
            return False
        _judge(candles)
        return True

    def _collected(self) -> bool:
        sound = False
        for kind, name in ((CsvKind.TICK, NAMES[0]), (CsvKind.CANDLE, NAMES[1])):
            meaning = parse_file_name(name)
            assert meaning is not None
            assert meaning.kind is kind
            file = CsvFile(self._path, meaning)
            check = check_csv(file)
            sound |= not check.faults
            if kind is CsvKind.TICK:
                page = read_ticks(file)
                assert len(page.ts_ms) == len(page.price) <= check.lines
                assert np.isfinite(page.price).all()
                assert (page.price > 0).all()
                if not check.faults:
                    assert page.unreadable == 0
        return sound

    def _listed(self) -> bool:
        try:
            listings = read_universe(self._path)
        except ConfigError:
            return False
        assert len({listing.symbol for listing in listings}) == len(listings)
        assert all(getattr(listing, name) is not None for listing in listings for name in UNIVERSE_COLUMNS)
        return True

    def _name(self, name: str) -> None:
        meaning = parse_file_name(name)
        if meaning is not None:
            assert "/" not in safe_name(meaning.symbol)
            assert meaning.part >= 0
        allowed = resolve_csv_file(self._data_dir, name)
        assert allowed is None or allowed.resolve() == self._path.resolve(), f"{name!r} led to {allowed}"

    def end(self) -> None:
        assert [file["filename"] for file in list_csv_files(self._data_dir)] == [NAMES[0]]
        assert [file.path for file in collected_files(self._data_dir)] == [self._path]
        self._folder.cleanup()


def _judge(candles: CandleArray) -> None:
    """Rows of a file may say what they like, as long as they could be candles."""
    assert candles.dtype == CANDLE_DTYPE
    assert (np.diff(candles["ts_ms"]) > 0).all()
    for name in ("open", "high", "low", "close", "volume"):
        assert np.isfinite(candles[name]).all(), name
    assert (candles["low"] <= np.minimum(candles["open"], candles["close"])).all()
    assert (np.maximum(candles["open"], candles["close"]) <= candles["high"]).all()
    for close in candles["close"][:5].tolist():
        assert float(price_text(close)) == close


def begin(rng: random.Random) -> Chapter:
    """A chapter."""
    return Readers(rng)


if __name__ == "__main__":
    sys.exit(main(begin, __doc__))
