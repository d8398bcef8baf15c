"""The simulated market: which tick an asset has at which instant. Pure: time goes in, ticks come out.

A price is a function of (seed, symbol, time) alone, a sum of smooth noises from one second to a day long. Nothing is
accumulated, so any stretch of any length can be had at any time and in any pieces, and always comes out the same:
live ticks, history and candles of one asset can never disagree, not even after the site was started again.

The rhythm is the platform's, at its own rate of 2.1 ticks a second: a slot of 0.5 s, jittered; every sixth slot (three
seconds) is followed by a keep-alive that repeats the price, which mostly takes the next slot's place; about a quarter
of all ticks repeat the price before. Ordinary (not OTC) assets leave out slots besides. In a thin market most ticks are
left out at random: what is left comes as trades do, with pauses of any length about their mean. In a bunched market
several ticks share the millisecond of the first of them, as trades of one moment do.
"""

from __future__ import annotations

import zlib
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fluxcap.capture.simulator.assets import SimulatedAsset

Int64s: TypeAlias = npt.NDArray[np.int64]
Uint64s: TypeAlias = npt.NDArray[np.uint64]
Floats: TypeAlias = npt.NDArray[np.float64]

# The weights make it look like a random walk.
_OCTAVES_MS = 1000.0 * 4.0 ** np.arange(9)
_OCTAVE_WEIGHTS = (_OCTAVES_MS / 1000.0) ** 0.5
_MOVE_A_SECOND = {"currency": 3e-5, "stock": 5e-5, "cryptocurrency": 1e-4, "index": 3e-5, "commodity": 4e-5}
_MIN_MOVE_POINTS = 1.8

_SLOTS_A_CYCLE = 6
_KEEP_ALIVE_AFTER = 4
_KEEP_ALIVE_PHASE = 0.65
_SLOT_DISPLACED = 0.7
"""Share of the slots after a keep-alive that it displaces: 6 + 1 - 0.7 ticks a cycle."""
_TICKS_A_SLOT = (_SLOTS_A_CYCLE + 1 - _SLOT_DISPLACED) / _SLOTS_A_CYCLE
_HELD = 0.1
"""Share of the odd slots that repeat the price before on purpose; others do so by chance."""
_ORDINARY_GAPS = 0.2
_JITTER = 0.06
"""Of a slot, to either side."""

BUNCH_MS = 400
_BUNCH_PHASE_MS = 137
"""Ticks of so long share one stamp in a bunched market. It is never the first millisecond of a second: whoever connects
in the middle of a bunch has missed trades of a stamp that begins no bucket."""

_UNIT = 2.0**-53


class SimulatedMarket:
    """The ticks of one asset. ``mean_pause_s``: of a thin market, 0 for one that ticks at ``rate_hz``."""

    def __init__(self, asset: SimulatedAsset, *, seed: int, rate_hz: float, mean_pause_s: float = 0.0) -> None:
        self.asset = asset
        self.slot_ms = 1000.0 * _TICKS_A_SLOT / rate_hz
        self._scale: int = 10**asset.decimals
        self._key = np.uint64(zlib.crc32(f"{seed}/{asset.symbol}".encode()) << 16)
        self._move = max(_MIN_MOVE_POINTS, _MOVE_A_SECOND[asset.kind] * asset.points)
        self._white = max(1, round(self._move * 0.8))
        self._share = self._share_of(mean_pause_s)
        self.pauses: list[tuple[int, int | None, float]] = []
        """Times in which only a share of the ticks happens: begin, end (None: not yet), share."""
        self.bunches: list[tuple[int, int | None]] = []
        """Times in which ticks come in bunches of one millisecond: begin, end (None: not yet)."""

    def price(self, points: int) -> float:
        """Points as the price a platform would write."""
        return points / self._scale

    def pause(self, at_ms: int, mean_pause_s: float = 0.0) -> None:
        """From then on the market is thin, or quiet: without ``mean_pause_s`` no tick happens."""
        self.pauses.append((at_ms, None, self._share_of(mean_pause_s) if mean_pause_s else 0.0))

    def resume(self, at_ms: int, mean_pause_s: float = 0.0) -> None:
        """From then on it ticks again, at the price where it then is. ``mean_pause_s`` as it was given to ``pause``."""
        share = self._share_of(mean_pause_s) if mean_pause_s else 0.0
        self.pauses = [(begin, at_ms if end is None and of == share else end, of) for begin, end, of in self.pauses]

    def bunch(self, at_ms: int) -> None:
        """From then on several ticks share a millisecond: those that repeat the price just before do not happen."""
        self.bunches.append((at_ms, None))

    def unbunch(self, at_ms: int) -> None:
        """From then on every tick has its own millisecond again."""
        self.bunches = [(begin, at_ms if end is None else end) for begin, end in self.bunches]

    def bunched_at(self, ts_ms: int) -> int:
        """Return the stamp of a tick that would happen at ``ts_ms``."""
        for begin, end in self.bunches:
            if begin <= ts_ms and (end is None or ts_ms < end):
                return max(begin, ts_ms - (ts_ms - _BUNCH_PHASE_MS) % BUNCH_MS)
        return ts_ms

    def paused_at(self, ts_ms: int) -> bool:
        """Return whether a tick at that time does not happen."""
        return any(
            begin <= ts_ms and (end is None or ts_ms < end) and not self._happens(np.array([ts_ms]), share)[0]
            for begin, end, share in self.pauses
        )

    def _share_of(self, mean_pause_s: float) -> float:
        """Return the share of ticks that happens in a market with pauses so long on average; 1 for 0 or too short."""
        usual_s = self.slot_ms / _TICKS_A_SLOT / 1_000 / (1.0 if self.asset.is_otc else 1.0 - _ORDINARY_GAPS)
        return min(1.0, usual_s / mean_pause_s) if mean_pause_s else 1.0

    def _happens(self, ts: Int64s, share: float) -> npt.NDArray[np.bool_]:
        """Return which ticks at these times are of that share, the same every time."""
        happens: npt.NDArray[np.bool_] = self._unit(ts, 25) < share
        return happens

    def ticks(self, from_ms: int, to_ms: int, *, heed_quiet: bool = True) -> tuple[Int64s, Int64s]:
        """Ticks with ``from_ms <= ts_ms < to_ms`` (true UTC): two arrays, times and points, ascending in time.

        ``heed_quiet`` False: also those of a quiet that is not over, and all with their own time, for who asks ahead
        of time.
        """
        if self.bunches and heed_quiet:
            ts, points = self._bunched(*self._happening(from_ms - BUNCH_MS, to_ms + BUNCH_MS, heed_quiet=True))
            wanted = (ts >= from_ms) & (ts < to_ms)
            return ts[wanted], points[wanted]
        return self._happening(from_ms, to_ms, heed_quiet=heed_quiet)

    def _happening(self, from_ms: int, to_ms: int, *, heed_quiet: bool) -> tuple[Int64s, Int64s]:
        slots = np.arange(int(from_ms // self.slot_ms) - 2, int(to_ms // self.slot_ms) + 3, dtype=np.int64)
        ts, points = self._all_ticks(slots)
        wanted = (ts >= from_ms) & (ts < to_ms)
        if self._share < 1.0:
            wanted &= self._happens(ts, self._share)
        for begin, end, share in self.pauses:
            if end is not None or heed_quiet:
                wanted &= (ts < begin) | (ts >= (to_ms if end is None else end)) | self._happens(ts, share)
        return ts[wanted], points[wanted]

    def _bunched(self, ts: Int64s, points: Int64s) -> tuple[Int64s, Int64s]:
        """The ticks with the stamps of their bunches, without those that repeat the one just before exactly."""
        stamps = ts.copy()
        for begin, end in self.bunches:
            within = (ts >= begin) & (ts < (ts[-1] + 1 if end is None and len(ts) else end or 0))
            stamps[within] = np.maximum(begin, ts - (ts - _BUNCH_PHASE_MS) % BUNCH_MS)[within]
        is_new = np.ones(len(ts), dtype=np.bool_)
        is_new[1:] = (np.diff(stamps) != 0) | (np.diff(points) != 0)
        return stamps[is_new], points[is_new]

    def points_at(self, times_ms: Floats) -> Int64s:
        """Return the prices at these times (ms), in the same shape."""
        level = np.zeros_like(times_ms)
        for stream, (octave_ms, octave_weight) in enumerate(zip(_OCTAVES_MS, _OCTAVE_WEIGHTS, strict=True)):
            position = times_ms / octave_ms
            left = np.floor(position).astype(np.int64)
            fraction = position - left
            weight = fraction * fraction * (3.0 - 2.0 * fraction)
            before, after = self._noise_about(left, stream)
            level += octave_weight * (before + (after - before) * weight)
        points: Int64s = np.maximum(1, self.asset.points + np.rint(level * self._move).astype(np.int64))
        return points

    def _noise_about(self, left: Int64s, stream: int) -> tuple[Floats, Floats]:
        """The noise at these places and at the next ones: times that are close to each other have the same ones."""
        first, last = (int(left.min()), int(left.max())) if left.size else (0, 0)
        if last - first + 2 > left.size:
            return self._noise(left, stream), self._noise(left + 1, stream)
        noise = self._noise(np.arange(first, last + 2, dtype=np.int64), stream)
        return noise[left - first], noise[left - first + 1]

    def _all_ticks(self, slots: Int64s) -> tuple[Int64s, Int64s]:
        slot_ms = self.slot_ms
        nominal: Floats = slots * np.float64(slot_ms)
        white = np.rint(self._noise(slots, 20) * self._white).astype(np.int64)
        points = np.maximum(1, self.points_at(nominal) + white)
        held = (slots % 2 == 1) & (self._unit(slots, 21) < _HELD)
        held[0] = False
        points[held] = points[np.flatnonzero(held) - 1]

        phase = slots % _SLOTS_A_CYCLE
        happens = (phase != _KEEP_ALIVE_AFTER + 1) | (self._unit(slots, 22) >= _SLOT_DISPLACED)
        if not self.asset.is_otc:
            happens &= self._unit(slots, 23) >= _ORDINARY_GAPS
        repeated = (phase == _KEEP_ALIVE_AFTER) & happens

        times = nominal + (1.0 + self._noise(slots, 24)) * (_JITTER * slot_ms)
        repeat_times = nominal[repeated] + _KEEP_ALIVE_PHASE * slot_ms
        all_times = np.concatenate([times[happens], repeat_times]).astype(np.int64)
        all_points = np.concatenate([points[happens], points[repeated]])
        order = np.argsort(all_times, kind="stable")
        return all_times[order], all_points[order]

    def _noise(self, at: Int64s, stream: int | Uint64s) -> Floats:
        """Evenly from -1 to 1, the same for the same place in the same stream."""
        return 2.0 * self._unit(at, stream) - 1.0

    def _unit(self, at: Int64s, stream: int | Uint64s) -> Floats:
        """Evenly from 0 to 1. SplitMix64's finaliser over the place, the stream and the asset's key."""
        z = at.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + (self._key + np.asarray(stream, dtype=np.uint64))
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
        unit: Floats = (z >> np.uint64(11)).astype(np.float64) * _UNIT
        return unit
