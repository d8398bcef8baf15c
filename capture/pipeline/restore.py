"""A start after a stop or kill: what journal and store still know goes into the market, and into a recording."""

from __future__ import annotations

from collections.abc import Sequence

from fluxcap.capture.market.feeds import GapReason
from fluxcap.capture.market.market import Market, WaitingSpan
from fluxcap.capture.pipeline.journal import RecoveredSpan, lost_ranges
from fluxcap.capture.recording.recorder import Recorder, arrival_now
from fluxcap.schemas.types import Gap

_REASONS = {reason.value: reason for reason in GapReason}


def restore_market(
    market: Market,
    stretches: Sequence[RecoveredSpan],
    recorder: Recorder | None = None,
    left_open: Sequence[Gap] = (),
    waiting: Sequence[WaitingSpan] = (),
) -> None:
    """Give the market back what earlier runs had received, an asset's oldest stretch first.

    ``left_open``: gaps that the store has without an end, oldest first. Each goes on until its asset ticks again, or
    ends where the journal shows that it was; one of an asset out of focus, until it is in focus again. ``waiting``:
    what was received while the clock was in question.
    """
    away = [gap for gap in left_open if gap.reason == GapReason.NOT_IN_FOCUS.value]
    left_open = [gap for gap in left_open if gap.reason != GapReason.NOT_IN_FOCUS.value]
    for span in waiting:
        if recorder is not None:
            recorder.restored_waiting(span, arrival_now())
        market.restore_waiting(span)
    newest = {stretch.symbol: stretch for stretch in sorted(stretches, key=lambda stretch: stretch.to_ms)}
    for stretch in stretches:
        if newest[stretch.symbol] is not stretch:
            gaps = _gaps([gap for gap in away if gap.symbol == stretch.symbol], ())
            _restore_one(market, stretch, recorder, already_published=True, gaps=gaps)
    market.drain()  # the gaps between them are in the store already, but for those of the journal itself
    for symbol in dict.fromkeys([*newest, *(gap.symbol for gap in (*left_open, *away))]):
        own = [stretch for stretch in stretches if stretch.symbol == symbol]
        gaps = _gaps([gap for gap in left_open if gap.symbol == symbol], own)
        gaps += _gaps([gap for gap in away if gap.symbol == symbol], ())
        stretch = newest.get(symbol) or RecoveredSpan(symbol, gaps[-1][0], ())
        _restore_one(market, stretch, recorder, already_published=False, lost=lost_ranges(own), gaps=gaps)


def _gaps(left_open: Sequence[Gap], stretches: Sequence[RecoveredSpan]) -> list[tuple[int, int, GapReason]]:
    """An asset's open gaps with their ends, 0 for one that goes on: the newest of them at most."""
    found = []
    for gap, next_gap in zip(left_open, [*left_open[1:], None], strict=False):
        seen = [max(stretch.from_ms, gap.from_ms) for stretch in stretches if stretch.to_ms > gap.from_ms]
        to_ms = min(seen, default=next_gap.from_ms if next_gap else 0)
        found.append((gap.from_ms, to_ms, _REASONS.get(gap.reason, GapReason.DAEMON_DOWN)))
    return found


def _restore_one(
    market: Market,
    stretch: RecoveredSpan,
    recorder: Recorder | None,
    *,
    already_published: bool,
    lost: Sequence[tuple[int, int]] = (),
    gaps: Sequence[tuple[int, int, GapReason]] = (),
) -> None:
    what = stretch.symbol, [(tick.ts_ms, tick.price) for tick in stretch.ticks], stretch.from_ms, stretch.to_ms
    if recorder is not None:
        recorder.restored(*what, told_before=already_published, lost=lost, gaps=gaps, stamp=arrival_now())
    for from_ms, to_ms in lost:
        market.restore_loss(stretch.symbol, from_ms, to_ms)
    for from_ms, to_ms, reason in gaps:
        market.restore_gap(stretch.symbol, from_ms, to_ms, reason)
    market.restore(*what)
