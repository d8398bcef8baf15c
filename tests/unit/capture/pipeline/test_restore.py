"""capture/pipeline/restore.py: what a start makes of the journal, and of the gaps that the store has without an end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from fluxcap.capture.market.feeds import GapReason, GapUpdate
from fluxcap.capture.market.tape import NEVER_MS
from fluxcap.capture.pipeline.journal import RecoveredSpan, TickJournal, read_journal, read_journal_contents
from fluxcap.capture.pipeline.restore import restore_market
from fluxcap.capture.platforms.pocketoption import PocketOption
from fluxcap.capture.recording.recorder import Recorder
from fluxcap.capture.recording.records import Record
from fluxcap.capture.tools.replay.playback import Playback
from fluxcap.schemas.types import CandleFlags, Gap, Tick
from tests.support.market.simulated_market import EUR, GBP, START_MS, Stage, lock

MINUTE = 60_000
DOWN, GONE = GapReason.DAEMON_DOWN, GapReason.CHROME_GONE


class Life:
    """One run of the daemon on a stage, killed by ``killed``. ``published_to_ms``: end of the newest candle."""

    begun: ClassVar[list[Life]] = []

    def __init__(self, folder: Path, before: Life | None = None, begin_ms: int = START_MS, *symbols: str) -> None:
        self.published_to_ms = before.published_to_ms if before else 0
        symbols = symbols or (EUR,)
        self.begun.append(self)
        self.stage = Stage(focus=lock(*symbols), published_ts_ms=max(self.published_to_ms - MINUTE, 0))
        self.stage.now_ms = begin_ms
        contents = read_journal_contents(folder, lambda symbol: self.published_to_ms)
        self.journal = TickJournal(
            folder,
            published_to_ms=lambda symbol: self.published_to_ms,
            focused=lambda: symbols,
            closed_files=contents.newest,
        )
        if before:
            self.stage.truth = before.stage.truth
            open_gaps = {(gap.symbol, gap.from_ms): gap for gap in before.stage.gaps}.values()
            left_open = [Gap("X", gap.symbol, gap.from_ms, 0, gap.reason.value) for gap in open_gaps if not gap.to_ms]
            restore_market(self.stage.market, contents.stretches, left_open=left_open)
        self.stage.market.drain, self._take = self._taken, self.stage.market.drain  # type: ignore[method-assign]
        self.stage._take()

    def _taken(self) -> object:
        outcome = self._take()
        since = {tick.symbol: self.stage.market.covered_since(tick.symbol) for tick in outcome.ticks}
        self.journal.append(outcome.ticks, since)
        for candles in outcome.sealed.values():
            self.published_to_ms = max(self.published_to_ms, candles[-1].ts_ms + MINUTE)
        return outcome

    def killed(self) -> Life:
        self.journal.close()
        return self


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    yield
    while Life.begun:
        Life.begun.pop().killed()


def minute(number: float) -> int:
    return START_MS + int(number * MINUTE)


def told(life: Life, symbol: str = EUR) -> list[tuple[int, int, GapReason]]:
    """Gaps as the store has them in the end."""
    gaps = {gap.from_ms: (gap.from_ms, gap.to_ms, gap.reason) for gap in life.stage.gaps if gap.symbol == symbol}
    return sorted(gap for gap in gaps.values() if gap[1] != gap[0])


def test_a_second_kill_soon_after_the_start_keeps_the_bucket_of_the_first_run(tmp_path: Path) -> None:
    first = Life(tmp_path)
    first.stage.ticks_of(minute(0), minute(5) + 40_000)
    second = Life(tmp_path, first.killed(), minute(15))
    second.stage.ticks_of(minute(15), minute(15) + 8_000, socket="s2")
    assert second.stage.flags() == {}

    third = Life(tmp_path, second.killed(), minute(16))
    third.stage.ticks_of(minute(16), minute(17) + 1_000, socket="s3")

    assert third.stage.flags() == {5: CandleFlags.BLIND, 15: CandleFlags.BLIND, 16: CandleFlags.NONE}
    third.stage.assert_truthful()


def test_a_gap_that_chrome_left_open_ends_when_the_asset_is_heard_again(tmp_path: Path) -> None:
    first = Life(tmp_path)
    first.stage.ticks_of(minute(0), minute(2) + 20_000)
    first.stage.lose("s1", GONE)
    first.stage.pass_time(minute(3))

    second = Life(tmp_path, first.killed(), minute(30))
    second.stage.ticks_of(minute(30), minute(31), socket="s9")

    assert told(second) == [(minute(2) + 19_500, minute(30), GONE)]


def test_a_gap_whose_end_was_not_stored_ends_where_the_journal_goes_on() -> None:
    ticks = tuple(Tick(EUR, minute(3) + at, 0, 1.1) for at in (0, 500))
    stage = Stage()

    restore_market(
        stage.market, [RecoveredSpan(EUR, minute(3), ticks)], left_open=[Gap("X", EUR, minute(1), 0, GONE.value)]
    )

    assert stage.market.drain().gaps == [
        GapUpdate(EUR, minute(1), minute(3), GONE),
        GapUpdate(EUR, minute(3) + 500, 0, DOWN),
    ]


def test_of_several_gaps_left_open_the_newest_goes_on() -> None:
    stage = Stage()
    left_open = [Gap("X", EUR, minute(at), 0, GONE.value) for at in (1, 3)]

    restore_market(stage.market, [], left_open=left_open)
    stage._take()
    stage.ticks_of(minute(5), minute(5) + 3_000)

    assert stage.gaps == [GapUpdate(EUR, minute(1), minute(3), GONE), GapUpdate(EUR, minute(3), minute(5), GONE)]


def test_the_gap_of_a_kill_begins_at_the_newest_tick_of_all_stretches() -> None:
    long = tuple(Tick(EUR, minute(0) + at, 0, 1.1) for at in range(0, 240_000, 500))
    short = (Tick(EUR, minute(1) + 5_000, 0, 1.1),)
    stage = Stage()

    restore_market(stage.market, [RecoveredSpan(EUR, minute(0), long), RecoveredSpan(EUR, minute(1) + 5_000, short)])

    assert stage.market.drain().gaps == [GapUpdate(EUR, long[-1].ts_ms, 0, DOWN)]


@pytest.mark.costly
def test_an_asset_that_was_quiet_for_long_before_the_kill_has_its_gap(tmp_path: Path) -> None:
    first = Life(tmp_path, None, START_MS, EUR, GBP)
    first.stage.ticks_of(minute(0), minute(3), (EUR, GBP))
    first.stage.ticks_of(minute(3), minute(23), (EUR,))
    assert all(not stretch.ticks for stretch in read_journal(tmp_path) if stretch.symbol == GBP)

    second = Life(tmp_path, first.killed(), minute(53), EUR, GBP)
    second.stage.ticks_of(minute(53), minute(54), (EUR, GBP), socket="s9")

    assert told(second, GBP) == [(minute(3) - 499, minute(53) + 1, DOWN)]


@pytest.mark.costly
@pytest.mark.parametrize("published_number", [0, 20])
def test_minutes_that_are_gone_with_a_file_are_no_time_without_trade(tmp_path: Path, published_number: int) -> None:
    first = Life(tmp_path)
    first.stage.ticks_of(minute(0), minute(32) + 37_000)
    stretches = read_journal_contents(
        tmp_path, lambda symbol: minute(published_number) if published_number else 0
    ).stretches
    held_ms = stretches[0].from_ms
    assert held_ms > minute(21)

    stage = Stage(published_ts_ms=minute(published_number - 1) if published_number else 0)
    stage.truth, stage.now_ms = first.killed().stage.truth, minute(33)
    restore_market(stage.market, stretches)
    stage._take()
    stage.ticks_of(minute(33), minute(35), socket="s2")

    gaps = [(gap.from_ms, gap.to_ms) for gap in stage.gaps if gap.to_ms]
    assert gaps[:-1] == ([(minute(20), held_ms)] if published_number else [])
    assert min(stage.flags()) > 20
    stage.assert_truthful()


class Kept:
    def __init__(self) -> None:
        self.records: list[Record] = []

    def add(self, record: Record) -> None:
        self.records.append(record)


def test_a_start_with_gaps_left_open_replays_to_the_same_gaps() -> None:
    kept = Kept()
    original, replayed = Stage(), Stage()
    ticks = (Tick(EUR, minute(3), 0, 1.1),)
    left_open = [Gap("X", EUR, minute(1), 0, GONE.value), Gap("X", GBP, minute(2), 0, "of a later version")]

    restore_market(original.market, [RecoveredSpan(EUR, minute(3), ticks)], Recorder(PocketOption(), kept), left_open)
    Playback(replayed.market).play(kept.records, lambda: None)
    for stage in (original, replayed):
        stage._take()
        stage.ticks_of(minute(5), minute(5) + 3_000, (EUR, GBP))

    assert original.gaps == replayed.gaps
    assert [(gap.symbol, gap.from_ms, gap.to_ms, gap.reason) for gap in original.gaps] == [
        (EUR, minute(1), minute(3), GONE),
        (EUR, minute(3), 0, DOWN),
        (EUR, minute(3), minute(5), DOWN),
        (GBP, minute(2), minute(5) + 1, DOWN),
    ]


@pytest.mark.parametrize(("interval_ms", "down_ms"), [(MINUTE, 50 * MINUTE), (60 * MINUTE, MINUTE)])
def test_the_bucket_under_way_outlives_long_times(interval_ms: int, down_ms: int) -> None:
    begin_ms = START_MS - START_MS % interval_ms
    killed_ms = begin_ms + interval_ms * 5 // 6
    stage = Stage(interval_ms, lock(EUR))
    stage.ticks_of(begin_ms, killed_ms, socket=None, every_ms=5_000)
    ticks = tuple(Tick(EUR, ts_ms, 0, price) for ts_ms, price in stage.truth[EUR])

    restore_market(stage.market, [RecoveredSpan(EUR, begin_ms, ticks)])
    stage._take()
    stage.now_ms = killed_ms + down_ms
    stage.ticks_of(stage.now_ms, stage.now_ms + interval_ms // 6 + 20_000)

    assert stage.sealed[EUR][0].ts_ms == begin_ms
    assert stage.sealed[EUR][0].flags == CandleFlags.BLIND
    stage.assert_truthful()


def test_the_tape_lets_go_of_what_was_restored() -> None:
    stage = Stage(focus=lock(EUR))
    ticks = (Tick(EUR, minute(0), 0, 1.1),)
    restore_market(stage.market, [RecoveredSpan(EUR, minute(0), ticks)])
    tape = stage.market.feeds.feed(EUR).tape

    stage.now_ms = minute(600)
    stage.ticks_of(minute(600), minute(604), every_ms=1_000)
    assert tape.keep_from_ms == NEVER_MS
    stage.ticks_of(minute(604), minute(614), every_ms=1_000)

    assert tape.first_ts_ms is not None
    assert tape.first_ts_ms >= minute(600)


AWAY = GapReason.NOT_IN_FOCUS


def test_an_asset_that_had_left_the_focus_is_not_told_to_have_been_interrupted() -> None:
    stage = Stage(focus=lock(GBP))
    ticks = tuple(Tick(EUR, minute(3) + at, 0, 1.1) for at in (0, 500))

    restore_market(
        stage.market, [RecoveredSpan(EUR, minute(3), ticks)], left_open=[Gap("X", EUR, minute(4), 0, AWAY.value)]
    )
    stage.now_ms = minute(20)
    stage.ticks_of(minute(20), minute(22), (EUR, GBP))

    assert [gap for gap in stage.gaps if gap.symbol == EUR] == []
    assert stage.sealed[EUR] == []


def test_an_asset_that_had_left_the_focus_comes_back_with_its_first_whole_minute() -> None:
    stage = Stage(focus=lock(EUR))
    restore_market(stage.market, [], left_open=[Gap("X", EUR, minute(4), 0, AWAY.value)])
    stage.now_ms = minute(20)
    stage.ticks_of(minute(20) + 20_000, minute(22) + 13_000)

    assert stage.gaps == [GapUpdate(EUR, minute(4), minute(21), AWAY)]
    assert min(stage.flags()) == 21


def test_an_asset_left_by_the_focus_over_a_restart_finishes_its_minute_and_is_told(tmp_path: Path) -> None:
    first = Life(tmp_path)
    first.stage.ticks_of(minute(0), minute(2) + 20_000)

    second = Life(tmp_path, first.killed(), minute(3), GBP)
    second.stage.market.track([EUR])
    second.stage.ticks_of(minute(3), minute(5), (EUR, GBP), socket="s9")

    assert {2: CandleFlags.BLIND}.items() <= second.stage.flags().items()
    assert [gap[2] for gap in told(second)] == [DOWN, AWAY]
    second.stage.assert_truthful()


def test_a_start_of_assets_out_of_focus_replays_to_the_same_gaps() -> None:
    kept = Kept()
    original, replayed = Stage(focus=lock(EUR)), Stage(focus=lock(EUR))
    left_open = [Gap("X", EUR, minute(1), 0, AWAY.value), Gap("X", GBP, minute(2), 0, AWAY.value)]

    restore_market(original.market, [], Recorder(PocketOption(), kept), left_open)
    Playback(replayed.market).play(kept.records, lambda: None)
    for stage in (original, replayed):
        stage._take()
        stage.ticks_of(minute(5), minute(7), (EUR, GBP))

    assert original.gaps == replayed.gaps == [GapUpdate(EUR, minute(1), minute(5), AWAY)]
