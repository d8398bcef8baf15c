"""The ground truth: what the simulated market did and what the site did with it, as JSON lines.

A tick's line: ``{"symbol","raw_ts_ms","ts_ms","price","sent"}``: ``raw_ts_ms`` as stamped by the platform,
``ts_ms`` true UTC, ``sent`` the number of sockets it went to (0 for what nobody was there to receive). Every other
line has a ``kind`` (``site_started``, ``socket_opened``, ``socket_closed``, ``history_sent``, ``fault_begun``,
``fault_ended``, ``site_stopped``) and ``at_ms``.

Faults never change the ticks here: they are troubles of the way, not of the market. The reader makes candles by the
plainest means, and on purpose not by the product's own candle code.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import msgspec

from fluxcap.schemas.errors import ConfigError
from fluxcap.schemas.types import Candle


class TruthTick(msgspec.Struct, frozen=True, gc=False):
    """One line of a tick."""

    symbol: str
    raw_ts_ms: int
    ts_ms: int
    price: float
    sent: int


class TruthLog:
    """Writes the file; with no path it writes nothing. Every call is on the disk cache before it returns."""

    def __init__(self, path: Path | None, *, append: bool = False) -> None:
        """Start the file, or continue it. Raises ConfigError if it cannot be written."""
        self.path = path
        self.last_ts_ms = _continue(path) if append and path is not None and path.exists() else None
        """True time of the newest tick of the file that is continued."""
        self._file: IO[bytes] | None = None
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab" if append else "wb")
        except OSError as error:
            raise ConfigError(f"The truth file {path} cannot be written: {error.strerror}.") from error

    def ticks(self, lines: Iterable[TruthTick]) -> None:
        """Append ticks, in the order in which they went out."""
        if self._file is not None:
            self._file.write(msgspec.json.Encoder().encode_lines(lines))
            self._file.flush()

    def event(self, kind: str, at_ms: int, **facts: Any) -> None:
        """Append what the site did."""
        if self._file is not None:
            self._file.write(msgspec.json.encode({"kind": kind, "at_ms": at_ms, **facts}) + b"\n")
            self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class Truth:
    """A truth file as read."""

    def __init__(self, ticks: list[TruthTick], events: list[dict[str, Any]]) -> None:
        self._ticks: dict[str, list[TruthTick]] = {}
        for tick in sorted(ticks, key=lambda tick: tick.ts_ms):
            self._ticks.setdefault(tick.symbol, []).append(tick)
        self.events = events

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(sorted(self._ticks))

    def ticks(self, symbol: str) -> list[TruthTick]:
        """All ticks of an asset in order of true time, sent or not."""
        return self._ticks.get(symbol, [])

    def sent(self, symbol: str) -> list[TruthTick]:
        """Those that went to at least one socket."""
        return [tick for tick in self.ticks(symbol) if tick.sent]

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """The lines of one kind, in file order."""
        return [event for event in self.events if event["kind"] == kind]

    def candles(self, symbol: str, interval_ms: int, from_ms: int, to_ms: int) -> list[Candle]:
        """Return the true candles: buckets that start in ``[from_ms, to_ms)``, ascending, without empty ones.

        A bucket is ``[start, start + interval_ms)`` in true UTC; volume and tick_count are its number of ticks.
        """
        prices: dict[int, list[float]] = {}
        for tick in self.ticks(symbol):
            prices.setdefault(tick.ts_ms - tick.ts_ms % interval_ms, []).append(tick.price)
        return [
            Candle(start, p[0], max(p), min(p), p[-1], volume=float(len(p)), tick_count=len(p))
            for start, p in sorted(prices.items())
            if from_ms <= start < to_ms
        ]


def read_truth(path: Path) -> Truth:
    """Read a truth file, also one still being written: a torn last line is left out.

    Raises ConfigError if it is absent or holds something else.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"The truth file {path} cannot be read: {error.strerror}.") from error
    whole, _, _torn = content.rpartition(b"\n")
    ticks: list[TruthTick] = []
    events: list[dict[str, Any]] = []
    tick_decoder = msgspec.json.Decoder(TruthTick)
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            if line.startswith(b'{"kind"'):
                events.append(msgspec.json.decode(line))
            else:
                ticks.append(tick_decoder.decode(line))
        except msgspec.DecodeError as error:
            raise ConfigError(f"Line {number} of {path} is no line of a truth file: {error}.") from error
    return Truth(ticks, events)


def _continue(path: Path) -> int | None:
    """Cut a torn last line off; return the newest tick's time."""
    whole = path.read_bytes().rfind(b"\n") + 1
    with path.open("r+b") as file:
        file.truncate(whole)
    truth = read_truth(path)
    return max((truth.ticks(symbol)[-1].ts_ms for symbol in truth.symbols), default=None)
