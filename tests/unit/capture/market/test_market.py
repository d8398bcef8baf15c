"""The market as a whole: real frames in, candles, revisions and gaps out."""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec
import pytest

from fluxcap.capture.chrome.events import ArrivalTime
from fluxcap.capture.daemon.daemon import restore_market
from fluxcap.capture.market.feeds import GapReason, GapUpdate
from fluxcap.capture.market.focus import Focus, FocusMode
from fluxcap.capture.market.market import ASSETS_MAX, Market
from fluxcap.capture.pipeline.journal import RecoveredSpan
from fluxcap.capture.platforms.pocketoption import PocketOption
from fluxcap.schemas.errors import UnknownAsset
from fluxcap.schemas.types import Candle, CandleFlags, FeedState, Tick
from tests.support.market.simulated_market import AUD, EUR, GBP, LAG_MS, START_MS, Stage, announcement, attachment, lock

BLIND, FILLED, JOINED_LATE, REVISED, WHOLE = (
    CandleFlags.BLIND,
    CandleFlags.FILLED,
    CandleFlags.JOINED_LATE,
    CandleFlags.REVISED,
    CandleFlags.NONE,
)
MINUTE = 60_000
TABLE = [
    [1, EUR, "EUR/USD OTC", "currency", 2, 92, 60, 30, 3, 1, 0, 0, [], 0, True, [], -1, 60, 0],
    [2, GBP, "GBP/USD OTC", "currency", 2, 92, 60, 30, 3, 1, 0, 0, [], 0, True, [], -1, 60, 0],
]


def ready(**options: object) -> Stage:
    """A stage whose clock is known and whose assets tick up to minute 1."""
    stage = Stage(**options)  # type: ignore[arg-type]
    stage.ticks_of(START_MS + 30_000, stage.minute(1), (EUR, GBP))
    return stage


# --- the spine ---


def test_frames_become_candles() -> None:
    stage = ready()
    stage.ticks_of(stage.minute(1), stage.minute(3) + 1_000, (EUR, GBP))

    assert stage.flags(EUR) == {1: WHOLE, 2: WHOLE}
    assert stage.flags(GBP) == {1: WHOLE, 2: WHOLE}
    stage.assert_truthful()


def test_candles_are_stamped_in_utc_not_two_hours_ahead() -> None:
    stage = ready()
    stage.ticks_of(stage.minute(1), stage.minute(2) + 1_000)

    assert [candle.ts_ms for candle in stage.sealed[EUR]] == [stage.minute(1)]
    assert stage.market.view(stage.at()).platform_offset_ms == 7_200_000


def test_nothing_is_published_while_the_clock_is_unknown_and_nothing_is_lost() -> None:
    stage = Stage(5_000)
    stage.wall_error_ms = 400_000
    stage.ticks_of(START_MS, START_MS + 20_000)
    assert not stage.sealed
    assert stage.market.feed_state(EUR) is FeedState.UNSYNCHRONISED
    assert "set this computer's clock" in stage.market.view(stage.at()).clock_reason

    stage.wall_error_ms = 0
    stage.ticks_of(START_MS + 20_000, START_MS + 31_000)
    stage.pass_time(stage.now_ms + 11_000)  # the wait for history

    assert list(stage.flags()) == [0, 1, 2, 3, 4, 5, 6][: len(stage.flags())]
    assert len(stage.flags()) >= 6
    stage.assert_truthful()


def test_raw_time_is_kept() -> None:
    stage = ready()
    stage.market.drain()
    ts_ms = stage.minute(1)
    row = [EUR, (ts_ms + stage.offset_ms) / 1_000, 1.5]
    stage.market.received("s1", 1, announcement("updateStream"), stage.at(ts_ms + LAG_MS, drained=False))
    stage.market.received("s1", 2, attachment([row]), stage.at())
    stage.market.advance_time(stage.at())

    (tick,) = stage.market.drain().ticks
    assert (tick.ts_ms, tick.raw_ts_ms) == (ts_ms, ts_ms + 7_200_000)


def test_two_sockets_with_the_same_asset_never_count_double() -> None:
    stage = ready()
    for ts_ms in range(stage.minute(1), stage.minute(2) + 1_000, 500):
        stage.tick(ts_ms, EUR, "s1")
        stage.tick(ts_ms, EUR, "s2", known=True)

    assert stage.sealed[EUR][0].tick_count == 120
    assert stage.market.counters["duplicate"] == 122


def test_sockets_of_others_are_not_decoded() -> None:
    stage = ready()
    stage.market.socket_opened("chat", "wss://chat-po.site/socket.io/")
    stage.tick(stage.minute(1), AUD, "chat")

    assert stage.market.feeds.get(AUD) is None


def test_a_socket_opened_before_the_attach_is_known_by_what_it_says() -> None:
    stage = Stage()
    stage.market.socket_opened("s1", "")
    stage.ticks_of(START_MS, START_MS + 5_000)

    assert stage.market.feed_state(EUR) is FeedState.LIVE


# --- the four flags ---


def test_a_first_minute_joined_late_is_dropped_without_history() -> None:
    stage = Stage()
    stage.ticks_of(START_MS + 20_000, stage.minute(2) + 1_000)

    assert stage.flags() == {1: WHOLE}


def test_a_first_minute_joined_late_is_completed_by_history() -> None:
    stage = Stage()
    stage.ticks_of(START_MS - 90_000, START_MS + 20_000, socket=None)
    stage.history(START_MS - 90_000, START_MS + 20_000, arrives_ms=START_MS + 20_000)
    stage.ticks_of(START_MS + 20_000, stage.minute(2) + 1_000)

    assert stage.flags() == {-1: FILLED, 0: JOINED_LATE | FILLED, 1: WHOLE}
    stage.assert_truthful()


def test_attached_exactly_at_the_start_of_a_minute_nothing_is_missing() -> None:
    stage = Stage()
    stage.ticks_of(START_MS, stage.minute(1) + 1_000)
    stage.pass_time(stage.minute(1) + 15_000)

    assert stage.flags() == {0: WHOLE}


def test_a_minute_with_a_break_is_blind_and_the_gap_is_told() -> None:
    stage = ready()
    stage.ticks_of(stage.minute(1), stage.minute(1) + 20_000)
    stage.lose(reason=GapReason.TAB_CRASHED)
    stage.ticks_of(stage.minute(1) + 20_000, stage.minute(1) + 40_000, socket=None)
    stage.ticks_of(stage.minute(1) + 40_000, stage.minute(3) + 1_000, socket="s2")

    assert stage.flags() == {1: BLIND, 2: WHOLE}
    closed = [gap for gap in stage.gaps if gap.symbol == EUR and gap.to_ms]
    assert closed == [
        GapUpdate(EUR, stage.minute(1) + 19_500, stage.minute(1) + 40_000, GapReason.TAB_CRASHED),
    ]
    stage.assert_truthful()


def test_after_a_reload_history_makes_up_for_the_break() -> None:
    stage = ready()
    stage.ticks_of(stage.minute(1), stage.minute(1) + 58_000)
    stage.lose(reason=GapReason.RELOADED)
    back_ms = stage.minute(2) + 5_000
    stage.ticks_of(stage.minute(1) + 58_000, back_ms, socket=None)
    stage.history(back_ms - 600_000, back_ms, socket="s2", arrives_ms=back_ms)
    stage.ticks_of(back_ms, stage.minute(3) + 1_000, socket="s2")

    assert stage.flags() == {1: BLIND | FILLED, 2: JOINED_LATE | FILLED}
    stage.assert_truthful()


def test_after_a_long_break_missing_minutes_are_filled_and_the_blind_one_is_revised() -> None:
    stage = ready()
    stage.ticks_of(stage.minute(1), stage.minute(1) + 20_000)
    stage.lose(reason=GapReason.TAB_CLOSED)
    back_ms = stage.minute(3) + 10_000
    stage.ticks_of(stage.minute(1) + 20_000, back_ms, socket=None)
    stage.history(back_ms - 600_000, back_ms, socket="s2", arrives_ms=back_ms)
    stage.ticks_of(back_ms, stage.minute(4) + 1_000, socket="s2")

    assert stage.flags() == {1: BLIND, 2: FILLED, 3: JOINED_LATE | FILLED}
    assert {(r.candle.ts_ms - START_MS) // MINUTE: CandleFlags(r.candle.flags) for r in stage.revised[EUR]} == {
        1: BLIND | FILLED | REVISED,
    }
    stage.assert_truthful()


def after_a_break(history: Callable[[Stage, int], None]) -> Stage:
    """The page reloads in minute 2. Its history is made 30 s later, and arrives when Chrome goes on, in minute 4."""
    stage = ready()
    stage.ticks_of(stage.minute(1), stage.minute(2) + 20_000)
    stage.lose(reason=GapReason.RELOADED)
    made_ms, back_ms = stage.minute(2) + 50_000, stage.minute(4) + 5_000
    for ts_ms in range(stage.minute(2) + 20_000, back_ms, 500):
        stage.happen(ts_ms)
    history(stage, made_ms)
    stage.ticks_of(back_ms, stage.minute(5) + 1_000, socket="s2")
    return stage


def rows_of(stage: Stage, until_ms: int) -> list[Candle]:
    """The platform's rows at that time, the last one under way."""
    ticks = stage.truth[EUR]
    stage.truth[EUR] = [tick for tick in ticks if tick[0] < until_ms]
    rows = [row for number in range(3) if (row := stage.true_candle(stage.minute(number))) is not None]
    stage.truth[EUR] = ticks
    return rows


def test_a_row_that_was_under_way_and_came_late_is_no_candle() -> None:
    def late(stage: Stage, made_ms: int) -> None:
        rows = rows_of(stage, made_ms)
        stage.history(0, 0, socket="s2", rows=rows, with_ticks=False, arrives_ms=stage.minute(4) + 5_000)

    stage = after_a_break(late)

    assert stage.flags()[2] == BLIND
    assert [row.ts_ms for row in stage.market.server_candles(EUR)] == [stage.minute(0), stage.minute(1)]
    stage.assert_truthful()


def test_a_row_that_was_under_way_and_came_late_with_ticks_of_its_time_is_no_candle() -> None:
    def late(stage: Stage, made_ms: int) -> None:
        rows = rows_of(stage, made_ms)
        stage.history(made_ms - 10_000, made_ms, socket="s2", rows=rows, arrives_ms=stage.minute(4) + 5_000)

    stage = after_a_break(late)

    assert stage.flags()[2] == BLIND
    stage.assert_truthful()


def test_a_row_is_a_candle_once_its_socket_has_told_a_later_tick() -> None:
    def proven(stage: Stage, made_ms: int) -> None:
        rows = rows_of(stage, stage.minute(3))
        stage.tick(stage.minute(3) + 17, GBP, "s2", arrives_ms=stage.minute(4) + 5_000)
        stage.history(0, 0, socket="s2", rows=rows, with_ticks=False)

    stage = after_a_break(proven)

    assert stage.flags()[2] == BLIND | FILLED
    stage.assert_truthful()


def test_the_ticks_of_another_socket_do_not_prove_a_row() -> None:
    def late(stage: Stage, made_ms: int) -> None:
        rows = rows_of(stage, made_ms)
        stage.tick(stage.minute(3) + 17, GBP, "s3", arrives_ms=stage.minute(4) + 5_000)
        stage.history(0, 0, socket="s2", rows=rows, with_ticks=False)

    stage = after_a_break(late)

    assert stage.flags()[2] == BLIND
    stage.assert_truthful()


def tick_rows(stage: Stage, from_ms: int, to_ms: int, every: int) -> dict[str, object]:
    """Every so manyeth tick of a time, in an answer that names no period."""
    ticks = [tick for tick in stage.truth[EUR] if from_ms <= tick[0] < to_ms][::every]
    return {
        "asset": EUR,
        "period": 0,
        "data": [{"time": (ts + stage.offset_ms) / 1_000, "price": p} for ts, p in ticks],
    }


@pytest.mark.parametrize("name", ["loadHistoryPeriodFast", "updateHistoryNewFast"])
@pytest.mark.parametrize(("every", "flags"), [(1, BLIND | FILLED), (2, BLIND)])
def test_ticks_of_an_unknown_period_fill_a_break_only_if_they_hold_the_live_ones(
    name: str, every: int, flags: CandleFlags
) -> None:
    def asked(stage: Stage, made_ms: int) -> None:
        back_ms = stage.minute(4) + 5_000
        payload = tick_rows(stage, stage.minute(1), back_ms, every)
        rows: list[dict[str, float]] = payload["data"]  # type: ignore[assignment]
        payload["history"] = [[row["time"], row["price"]] for row in rows]
        stage.event("s2", name, payload, back_ms)

    stage = after_a_break(asked)

    assert stage.flags()[2] == flags
    stage.assert_truthful()


def test_an_older_page_of_the_chart_does_not_undo_that_live_ticks_join_the_history() -> None:
    stage = ready()
    stage.ticks_of(stage.minute(1), stage.minute(1) + 40_000)
    stage.lose(reason=GapReason.RELOADED)
    back_ms = stage.minute(2) + 5_000
    stage.ticks_of(stage.minute(1) + 40_000, back_ms, socket=None)
    stage.history(back_ms - 600_000, back_ms, socket="s2", arrives_ms=back_ms)
    older = tick_rows(stage, stage.minute(0), stage.minute(1) + 30_000, 1)
    stage.event("s2", "loadHistoryPeriodFast", older)
    stage.ticks_of(back_ms, stage.minute(3) + 1_000, socket="s2")

    assert stage.flags() == {1: BLIND | FILLED, 2: JOINED_LATE | FILLED}
    stage.assert_truthful()


@pytest.mark.parametrize(("lost", "flags"), [(None, BLIND | FILLED), (-200, BLIND), (-1, BLIND | FILLED)])
def test_a_minute_of_which_the_history_has_a_tick_that_cannot_be_read_is_not_whole(
    lost: int | None, flags: CandleFlags
) -> None:
    """One of the rows, counted from the newest one: the 200th is of minute 2, after its live ticks ended."""

    def damaged(stage: Stage, made_ms: int) -> None:
        back_ms = stage.minute(4) + 5_000
        ticks = [tick for tick in stage.truth[EUR] if stage.minute(1) <= tick[0] < back_ms]
        rows: list[list[float | None]] = [[(ts + stage.offset_ms) / 1_000, price] for ts, price in ticks]
        if lost is not None:
            rows[lost][1] = None
        stage.event("s2", "updateHistoryNewFast", {"asset": EUR, "period": 60, "history": rows}, back_ms)

    stage = after_a_break(damaged)

    assert stage.flags()[2] == flags
    assert (4 in stage.flags()) == (lost != -1)
    stage.assert_truthful()


SAVED = [{"settings": {"symbol": GBP}}]
REQUESTED = {"asset": GBP, "period": 60, "time": 7, "index": 1, "offset": 9000}


@pytest.mark.parametrize(("name", "told"), [("saveCharts", SAVED), ("loadHistoryPeriod", REQUESTED)])
def test_after_a_late_attach_what_the_page_sends_tells_the_asset_it_shows(name: str, told: object) -> None:
    stage = ready(focus=Focus(FocusMode.FOLLOW))
    assert stage.market.active_symbol is None

    stage.market.sent("s1", 1, "42" + json.dumps([name, told]), stage.at())
    stage.ticks_of(stage.minute(1), stage.minute(2) + 1_000, (EUR, GBP))

    assert stage.market.active_symbol == GBP
    assert set(stage.sealed) == {GBP}
    assert stage.gaps == []


def test_charts_that_the_page_saves_take_nothing_from_the_asset_it_turned_to() -> None:
    stage = ready(focus=Focus(FocusMode.FOLLOW))
    stage.turn(EUR)

    stage.market.sent("s1", 1, "42" + json.dumps(["saveCharts", SAVED]), stage.at())

    assert stage.market.active_symbol == EUR


def test_a_tick_overtaken_by_others_and_lost_with_its_socket_comes_with_the_history() -> None:
    stage = ready()
    stage.ticks_of(stage.minute(1), stage.minute(1) + 50_000)
    stage.happen(stage.minute(1) + 50_250)  # overtaken, and never sent: its socket is closed before
    stage.ticks_of(stage.minute(1) + 50_500, stage.minute(2) + 2_000)
    stage.lose(reason=GapReason.SOCKET_CLOSED)
    assert stage.flags() == {1: CandleFlags.NONE}

    back_ms = stage.minute(2) + 3_000
    stage.history(back_ms - 300_000, back_ms, socket="s2", arrives_ms=back_ms)
    stage.ticks_of(back_ms, stage.minute(3) + 5_000, socket="s2")

    (revision,) = stage.revised[EUR]
    assert revision.published
    assert revision.candle == msgspec.structs.replace(stage.true_candle(stage.minute(1), EUR), flags=int(REVISED))


def test_history_that_comes_after_the_wait_is_told_as_revisions() -> None:
    stage = ready()
    stage.ticks_of(stage.minute(1), stage.minute(1) + 20_000)
    stage.lose(reason=GapReason.RELOADED)
    back_ms = stage.minute(2) + 10_000
    stage.ticks_of(stage.minute(1) + 20_000, back_ms, socket=None)
    stage.ticks_of(back_ms, stage.minute(3) + 5_000, socket="s2")
    assert stage.flags() == {1: BLIND}

    now_ms = stage.minute(3) + 5_000
    stage.history(back_ms - 300_000, now_ms, socket="s2", arrives_ms=now_ms + LAG_MS)
    stage.pass_time(stage.now_ms + 1_000)

    told = {
        (r.candle.ts_ms - START_MS) // MINUTE: (CandleFlags(r.candle.flags), r.published) for r in stage.revised[EUR]
    }
    assert told[1] == (BLIND | FILLED | REVISED, True)
    assert told[2] == (JOINED_LATE | FILLED, False)
    stage.assert_truthful()


def test_a_quiet_asset_on_a_talking_socket_is_not_blind() -> None:
    stage = ready()
    stage.ticks_of(stage.minute(1), stage.minute(1) + 20_000, (EUR, GBP))
    stage.ticks_of(stage.minute(1) + 20_000, stage.minute(2) + 30_000, (GBP,))
    stage.ticks_of(stage.minute(2) + 30_000, stage.minute(3) + 1_000, (EUR, GBP))

    assert stage.flags(EUR) == {1: WHOLE, 2: WHOLE}
    assert stage.gaps == []


def test_a_backlog_is_blind_first_and_whole_once_it_came() -> None:
    stage = ready()
    stage.ticks_of(stage.minute(1), stage.minute(1) + 50_000, (EUR, GBP))
    held = list(range(stage.minute(1) + 50_000, stage.minute(2) + 30_000, 500))
    for ts_ms in held:
        stage.happen(ts_ms, EUR)
    stage.pass_time(stage.minute(2) + 30_000)
    assert stage.flags() == {1: BLIND}
    assert stage.market.feed_state(EUR) is FeedState.STALLED

    for ts_ms in held:
        stage.tick(ts_ms, EUR, arrives_ms=stage.now_ms, known=True)
    stage.ticks_of(stage.minute(2) + 30_000, stage.minute(3) + 1_000)

    assert CandleFlags(stage.revised[EUR][-1].candle.flags) == REVISED
    assert stage.flags()[2] == WHOLE
    assert [gap.to_ms - gap.from_ms for gap in stage.gaps if gap.symbol == EUR and gap.to_ms] == [0]
    stage.assert_truthful()


def test_a_lone_asset_with_nothing_but_pings_is_not_claimed_to_be_covered() -> None:
    stage = Stage()
    stage.ticks_of(START_MS, stage.minute(1) + 20_000)
    for _ in range(2):
        stage.pass_time(stage.now_ms + 25_000)
        stage.market.received("s1", 1, "2", stage.at())
        stage.market.advance_time(stage.at())
    stage.ticks_of(stage.now_ms, stage.minute(3) + 1_000)

    assert stage.flags()[1] == BLIND
    assert [gap.reason for gap in stage.gaps] == [GapReason.SOCKET_SILENT] * 2


# --- who stood still ---


def test_a_daemon_that_was_stopped_reads_its_backlog_before_it_judges() -> None:
    stage = ready()
    stage.ticks_of(stage.minute(1), stage.minute(1) + 50_000)
    held = list(range(stage.minute(1) + 50_000, stage.minute(2) + 30_000, 500))
    for ts_ms in held:
        stage.happen(ts_ms, EUR)
    stage.at(stage.minute(2) + 30_000)  # SIGSTOP ... SIGCONT: the first thing that runs is the timer
    stage.pass_time(stage.now_ms + 200)
    for ts_ms in held:
        stage.tick(ts_ms, EUR, arrives_ms=stage.now_ms, known=True)
    stage.ticks_of(stage.minute(2) + 30_500, stage.minute(3) + 1_000)

    assert stage.flags() == {1: WHOLE, 2: WHOLE}
    assert not stage.revised
    assert stage.gaps == []


def test_frames_far_apart_do_not_put_sealing_off_for_ever() -> None:
    stage = ready()
    for at_ms in range(0, 180_000, 10_000):
        stage.market.advance_time(stage.at(stage.minute(1) + at_ms))
        stage._take()

    assert stage.gaps


# --- the platform's clock ---


@pytest.mark.parametrize("step_ms", [3_600_000, -3_600_000])
def test_a_daylight_saving_step_makes_no_wrong_candle_and_no_gap(step_ms: int) -> None:
    stage = ready()
    stage.ticks_of(stage.minute(1), stage.minute(3), (EUR, GBP))
    stage.offset_ms += step_ms
    stage.ticks_of(stage.minute(3), stage.minute(5) + 1_000, (EUR, GBP))

    assert stage.flags() == {1: WHOLE, 2: WHOLE, 3: WHOLE, 4: WHOLE}
    assert stage.market.clock.offset_ms == 7_200_000 + step_ms
    assert stage.gaps == []
    assert not stage.revised
    stage.assert_truthful()


@pytest.mark.parametrize("step_ms", [3_600_000, -3_600_000])
def test_a_daylight_saving_step_while_the_page_reloads_makes_no_wrong_candle(step_ms: int) -> None:
    stage = ready()
    stage.ticks_of(stage.minute(1), stage.minute(2) + 50_000)
    stage.lose(reason=GapReason.RELOADED)
    stage.offset_ms += step_ms
    back_ms = stage.minute(3) + 5_000
    stage.ticks_of(stage.minute(2) + 50_000, back_ms, socket=None)
    rows = [Candle(stage.minute(at), 9.0, 9.0, 9.0, 9.0) for at in range(-60, 0)]
    stage.history(back_ms - 400_000, back_ms, socket="s2", arrives_ms=back_ms, rows=rows)
    stage.ticks_of(back_ms, stage.minute(5) + 1_000, socket="s2")

    assert {at: flags for at, flags in stage.flags().items() if at >= 1} == {
        1: WHOLE,
        2: BLIND | FILLED,
        3: JOINED_LATE | FILLED,
        4: WHOLE,
    }
    assert stage.market.clock.offset_ms == 7_200_000 + step_ms


def test_a_socket_lost_while_the_clock_is_judged_does_not_live_on() -> None:
    stage = ready()
    stage.offset_ms += 3_600_000
    stage.ticks_of(stage.minute(1), stage.minute(1) + 5_000, (EUR,), "s1")
    stage.lose("s1", GapReason.RELOADED)
    stage.ticks_of(stage.minute(1) + 5_000, stage.minute(1) + 20_000, (EUR,), "s2")
    assert stage.market.clock.offset_ms == 10_800_000

    stage.lose("s2", GapReason.TAB_CLOSED)

    feed = stage.market.feeds.get(EUR)
    assert feed is not None
    assert not feed.sockets
    assert stage.gaps[-1].reason is GapReason.TAB_CLOSED


@pytest.mark.parametrize("away_s", [30, -300, 3_600, -3_600, 86_400 * 365])
def test_absurd_stamps_are_counted_and_are_never_ticks(away_s: int) -> None:
    stage = ready()
    for ts_ms in range(stage.minute(1), stage.minute(2) + 1_000, 500):
        stage.event("s1", "updateStream", [[EUR, (ts_ms + stage.offset_ms) / 1_000 + away_s, 7.7]], ts_ms + LAG_MS)
        stage.tick(ts_ms, EUR)

    assert stage.flags() == {1: WHOLE}
    assert stage.market.counters["malformed.tick time"] == 122
    stage.assert_truthful()


def test_history_from_another_time_is_counted_and_not_believed() -> None:
    stage = ready()
    stage.ticks_of(stage.minute(1), stage.minute(1) + 20_000)
    stage.offset_ms -= 7_200_000
    stage.history(START_MS, stage.minute(1) + 20_000, rows=[Candle(START_MS, 9.0, 9.0, 9.0, 9.0)])
    stage.offset_ms += 7_200_000
    stage.ticks_of(stage.minute(1) + 20_000, stage.minute(2) + 1_000)

    assert stage.market.counters["malformed.history time"] == 1
    assert stage.flags() == {1: WHOLE}


def test_good_history_is_not_lost_to_an_absurd_tick_before_it() -> None:
    stage = Stage()
    stage.ticks_of(START_MS, START_MS + 20_000, (GBP,))
    stage.ticks_of(START_MS - 60_000, START_MS + 20_000, (EUR,), socket=None)
    stage.event("s1", "updateStream", [[EUR, 1.0, 7.7]])
    stage.history(START_MS - 60_000, START_MS + 20_000, EUR, "s1")
    stage.ticks_of(START_MS + 20_000, stage.minute(1) + 1_000, (EUR, GBP))

    assert stage.flags(EUR)[0] == JOINED_LATE | FILLED


def test_the_servers_row_of_a_minute_under_way_is_not_taken() -> None:
    stage = Stage()
    stage.ticks_of(START_MS, START_MS + 20_000)
    stage.history(START_MS, START_MS, rows=[Candle(START_MS, 9.0, 9.0, 9.0, 9.0)], with_ticks=False)

    feed = stage.market.feeds.get(EUR)
    assert feed is not None
    assert START_MS not in feed.server_candles(MINUTE)


# --- focus ---


def test_only_focused_assets_become_candles() -> None:
    stage = ready(focus=lock(GBP))
    stage.ticks_of(stage.minute(1), stage.minute(2) + 1_000, (EUR, GBP))

    assert set(stage.sealed) == {GBP}
    assert stage.market.focused_symbols() == (GBP,)


def test_names_typed_before_the_table_is_known_are_understood_later() -> None:
    stage = Stage(focus=lock("eur/usd otc", "nonsense"))
    assert stage.market.view(stage.at()).focus_unknown == ()
    assert stage.market.view(stage.at()).focus_unchecked == ("eur/usd otc", "nonsense")

    stage.event("s1", "updateAssets", TABLE)

    assert stage.market.focused_symbols() == (EUR,)
    assert stage.market.focus_snapshot().symbols == (EUR, "nonsense")
    assert stage.market.view(stage.at()).focus_unknown == ("nonsense",)
    assert stage.market.view(stage.at()).focus_unchecked == ()


def test_names_typed_by_somebody_who_attached_late_are_understood_by_what_ticks() -> None:
    stage = ready(focus=lock("EURUSD_OTC"))
    stage.ticks_of(stage.minute(1), stage.minute(2) + 1_000)

    assert stage.flags(EUR) == {1: WHOLE}


NICKNAMED = [[2, GBP, "Cable", "currency", 2, 92, 60, 30, 3, 1, 0, 0, [], 0, True, [], -1, 60, 0]]


@pytest.mark.parametrize(
    ("focus", "change"),
    [
        pytest.param(lock(EUR), lambda stage: stage.market.set_focus(lock(GBP)), id="set"),
        pytest.param(lock(EUR), lambda stage: stage.market.acquire_lease("chart", GBP), id="leased"),
        pytest.param(lock("Cable"), lambda stage: stage.event("s1", "updateAssets", NICKNAMED), id="told by the table"),
        pytest.param(Focus(FocusMode.FOLLOW), lambda stage: stage.turn(GBP), id="turned to"),
        pytest.param(
            Focus(FocusMode.FOLLOW),
            lambda stage: stage.market.on_active_asset_label("GBP/USD OTC"),
            id="seen on the page",
        ),
    ],
)
def test_an_asset_that_comes_into_focus_is_taken_from_its_next_tick_on(
    focus: Focus, change: Callable[[Stage], object]
) -> None:
    stage = ready(focus=focus)
    stage.tick(stage.minute(1) - 200, GBP)
    before = stage.ticks

    change(stage)
    stage.tick(stage.minute(1), GBP)

    assert stage.ticks == before + 1


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(lambda market: market.release_lease("chart"), id="released"),
        pytest.param(lambda market: market.expire_leases(1), id="expired"),
    ],
)
def test_an_asset_whose_lease_ends_finishes_its_minute_and_no_more(end: Callable[[Market], bool]) -> None:
    stage = ready(focus=lock(EUR))
    stage.market.acquire_lease("chart", GBP, 1)
    stage.ticks_of(stage.minute(1), stage.minute(2) + 20_000, (EUR, GBP))

    assert end(stage.market)
    stage.ticks_of(stage.minute(2) + 20_000, stage.minute(5), (EUR, GBP))

    assert stage.flags(GBP) == {1: WHOLE, 2: WHOLE}


def test_an_unknown_name_changes_nothing() -> None:
    stage = ready(focus=lock(EUR))
    stage.event("s1", "updateAssets", TABLE)

    with pytest.raises(UnknownAsset):
        stage.market.set_focus(lock("nonsense"))

    assert stage.market.focus == lock(EUR)


def test_follow_takes_what_the_page_turns_to_and_never_mixes_two_assets() -> None:
    stage = ready(focus=Focus(FocusMode.FOLLOW))
    stage.turn(EUR)
    stage.ticks_of(stage.minute(1), stage.minute(2) + 20_000, (EUR, GBP))
    stage.turn(GBP)
    stage.ticks_of(stage.minute(2) + 20_000, stage.minute(4) + 1_000, (GBP,))

    assert list(stage.flags(EUR)) == [1, 2]
    assert stage.flags(EUR)[2] == BLIND  # it ticked no longer than to 20 s
    assert stage.flags(GBP)[3] == WHOLE
    assert set(stage.flags(GBP)) >= {2, 3}
    stage.assert_truthful()


def test_an_asset_that_loses_the_focus_but_ticks_on_finishes_its_minute_and_no_more() -> None:
    stage = ready(focus=lock(EUR))
    stage.ticks_of(stage.minute(1), stage.minute(2) + 20_000, (EUR, GBP))
    stage.market.set_focus(lock(GBP))
    stage.ticks_of(stage.minute(2) + 20_000, stage.minute(5), (EUR, GBP))

    assert stage.flags(EUR) == {1: WHOLE, 2: WHOLE}
    assert stage.market._aggregator._leaving == {}


def test_an_asset_back_in_focus_has_the_minutes_in_between_if_it_ticked_on() -> None:
    stage = ready(focus=lock(EUR))
    stage.ticks_of(stage.minute(1), stage.minute(2) + 20_000, (EUR, GBP))
    stage.market.set_focus(lock(GBP))
    stage.ticks_of(stage.minute(2) + 20_000, stage.minute(5), (EUR, GBP))
    stage.market.set_focus(lock(EUR))
    stage.ticks_of(stage.minute(5), stage.minute(6) + 1_000, (EUR, GBP))

    assert list(stage.flags(EUR)) == [1, 2, 3, 4, 5]
    stage.assert_truthful()


def test_turning_back_within_seconds_is_no_whole_minute() -> None:
    stage = ready(focus=Focus(FocusMode.FOLLOW))
    stage.turn(EUR)
    stage.ticks_of(stage.minute(1), stage.minute(2) + 20_000)
    stage.turn(GBP)
    stage.ticks_of(stage.minute(2) + 20_000, stage.minute(2) + 23_000, (GBP,))
    stage.ticks_of(stage.minute(2) + 20_000, stage.minute(2) + 23_000, (EUR,), socket=None)
    stage.turn(EUR)
    stage.ticks_of(stage.minute(2) + 23_000, stage.minute(3) + 12_000, (EUR,))

    assert stage.flags(EUR)[2] == BLIND
    stage.assert_truthful()


def test_follow_without_a_word_from_the_page_takes_the_only_asset_that_ticks() -> None:
    stage = Stage(focus=Focus(FocusMode.FOLLOW))
    stage.ticks_of(START_MS, stage.minute(1) + 15_000)

    assert stage.flags() == {0: WHOLE}
    assert stage.market.view(stage.at()).active_symbol == EUR


@pytest.mark.costly
def test_a_viewer_of_another_asset_takes_no_minute_from_the_one_that_is_followed() -> None:
    stage = ready(focus=Focus(FocusMode.FOLLOW))
    stage.turn(EUR)
    stage.ticks_of(stage.minute(1), stage.minute(2) + 20_000, (EUR, GBP))
    stage.market.acquire_lease("chart", GBP)
    stage.ticks_of(stage.minute(2) + 20_000, stage.minute(40) + 1_000, (EUR, GBP), every_ms=1_000)

    assert list(stage.flags(EUR).values()) == [WHOLE] * len(stage.flags(EUR))
    assert set(stage.flags(EUR)) >= set(range(1, 40))
    assert stage.market.feed_state(EUR) is FeedState.LIVE
    assert stage.market.focus_snapshot().mode is FocusMode.FOLLOW


def test_an_asset_that_the_page_turned_from_goes_on_while_it_is_sent() -> None:
    stage = ready(focus=Focus(FocusMode.FOLLOW))
    stage.turn(EUR)
    stage.ticks_of(stage.minute(1), stage.minute(2) + 20_000, (EUR, GBP))
    stage.turn(GBP)
    stage.ticks_of(stage.minute(2) + 20_000, stage.minute(5) + 1_000, (EUR, GBP))

    assert set(stage.flags(EUR)) >= {1, 2, 3, 4}
    assert stage.market.focused_symbols() == (GBP, EUR)


def test_an_asset_that_the_page_turned_from_and_no_longer_sends_is_told_to_be_so() -> None:
    stage = ready(focus=Focus(FocusMode.FOLLOW))
    stage.turn(EUR)
    stage.ticks_of(stage.minute(1), stage.minute(2) + 20_000, (EUR,))
    stage.turn(GBP)
    stage.ticks_of(stage.minute(2) + 20_000, stage.minute(3) + 20_000, (GBP,))

    assert stage.market.focused_symbols() == (GBP,)
    assert stage.market.feed_state(EUR) is FeedState.UNSUBSCRIBED
    assert [gap.reason for gap in stage.gaps if gap.symbol == EUR] == [GapReason.UNSUBSCRIBED]


def test_the_stream_of_an_asset_out_of_focus_says_so_though_its_feed_lives() -> None:
    stage = ready(focus=lock(GBP))

    assert stage.market.feed_state(EUR) is FeedState.NOT_IN_FOCUS
    assert stage.market.feed_state(GBP) is FeedState.LIVE
    [eur] = [asset for asset in stage.market.view(stage.at()).assets if asset.symbol == EUR]
    assert (eur.feed_state, eur.focused) == (FeedState.LIVE, False)


def test_while_following_no_stream_is_out_of_focus_before_the_page_is_known() -> None:
    market = Market(PocketOption(), MINUTE, Focus(FocusMode.FOLLOW))
    market.track([EUR])

    assert market.feed_state(EUR) is FeedState.NO_SOCKET


def test_a_name_that_nothing_tells_opens_no_stream() -> None:
    stage = ready(focus=lock("AUDCAD_OTC"))
    stage.market.acquire_lease("chart", "usd/jpy otc")

    assert stage.market.focused_symbols() == ()
    assert stage.market.focus_snapshot().unverified == ("AUDCAD_OTC", "usd/jpy otc")
    stage.tick(stage.minute(1), AUD)
    assert stage.market.focused_symbols() == (AUD,)


def test_assets_that_the_store_has_are_understood_as_typed() -> None:
    market = Market(PocketOption(), MINUTE, lock("EURUSD_OTC"))
    market.track([EUR])
    market.acquire_lease("chart", "eur/usd otc")

    assert market.focused_symbols() == (EUR,)


def test_assets_that_the_journal_restored_are_understood_as_typed() -> None:
    market = Market(PocketOption(), MINUTE, lock("EURUSD_OTC"))
    market.restore(EUR, [(START_MS, 1.1)], START_MS, START_MS)

    assert market.focused_symbols() == (EUR,)


def test_what_was_followed_in_an_earlier_run_goes_on_at_once() -> None:
    stage = Stage(focus=Focus(FocusMode.FOLLOW))
    stage.market.restore_followed((EUR,))
    stage.ticks_of(START_MS, stage.minute(1) + 15_000, (EUR, GBP))

    assert stage.flags(EUR) == {0: WHOLE}
    assert stage.market.focused_symbols() == (EUR,)


# --- an earlier run ---


def test_the_minute_under_way_is_rebuilt_with_its_blind_time_flagged() -> None:
    stage = Stage(published_ts_ms=START_MS - MINUTE)
    stage.ticks_of(START_MS, START_MS + 20_000, socket=None)
    stage.market.restore(EUR, list(stage.truth[EUR]), START_MS - 5_000, START_MS + 19_500)
    assert stage.market.clock.offset_ms is None  # the clock measures anew

    stage.ticks_of(START_MS + 20_000, START_MS + 25_000, socket=None)
    stage.ticks_of(START_MS + 25_000, stage.minute(2) + 1_000)

    assert stage.flags() == {0: BLIND, 1: WHOLE}
    assert stage.gaps == [
        GapUpdate(EUR, START_MS + 19_500, 0, GapReason.DAEMON_DOWN),
        GapUpdate(EUR, START_MS + 19_500, START_MS + 25_000, GapReason.DAEMON_DOWN),
    ]
    assert stage.sealed[EUR][0].tick_count == 40 + 70
    stage.assert_truthful()


def test_what_was_whole_before_the_crash_is_published_whole() -> None:
    stage = Stage(published_ts_ms=START_MS - MINUTE)
    stage.ticks_of(START_MS, stage.minute(1) + 5_000, socket=None)
    stage.market.restore(EUR, list(stage.truth[EUR]), START_MS - 5_000, stage.minute(1) + 4_500)
    stage.ticks_of(stage.minute(1) + 20_000, stage.minute(2) + 1_000)

    assert stage.flags() == {0: WHOLE, 1: BLIND}
    stage.assert_truthful()


def test_what_the_journal_lost_is_blind_and_told() -> None:
    stage = Stage(published_ts_ms=START_MS - MINUTE)
    stage.ticks_of(START_MS, stage.minute(3) + 5_000, socket=None)
    ticks = [tick for tick in stage.truth[EUR] if not stage.minute(1) + 20_000 <= tick[0] < stage.minute(1) + 40_000]
    lost_ms, whole_ms, end_ms = stage.minute(1) + 20_000, stage.minute(1) + 39_501, stage.minute(3) + 4_500
    before = tuple(Tick(EUR, ts_ms, ts_ms, price) for ts_ms, price in ticks if ts_ms < lost_ms)
    after = tuple(Tick(EUR, ts_ms, ts_ms, price) for ts_ms, price in ticks if ts_ms >= whole_ms)

    restore_market(
        stage.market, [RecoveredSpan(EUR, START_MS - 5_000, before), RecoveredSpan(EUR, whole_ms, after, lost_ms)]
    )
    stage.ticks_of(stage.minute(3) + 20_000, stage.minute(4) + 1_000)

    assert stage.flags() == {0: WHOLE, 1: BLIND, 2: WHOLE, 3: BLIND}
    assert stage.gaps[0] == GapUpdate(EUR, before[-1].ts_ms, whole_ms, GapReason.DAEMON_DOWN)
    assert [gap.from_ms for gap in stage.gaps[1:]] == [end_ms, end_ms]
    stage.assert_truthful()


def test_what_the_journal_lost_after_it_was_published_is_no_gap() -> None:
    stage = Stage(published_ts_ms=START_MS + MINUTE)
    whole_ms = stage.minute(1) + 39_501
    before = (Tick(EUR, START_MS, START_MS, 1.1),)
    after = (Tick(EUR, stage.minute(2) + 500, stage.minute(2) + 500, 1.2),)

    restore_market(
        stage.market,
        [RecoveredSpan(EUR, START_MS, before), RecoveredSpan(EUR, whole_ms, after, stage.minute(1) + 20_000)],
    )

    assert [(gap.from_ms, gap.to_ms) for gap in stage.market.drain().gaps] == [(stage.minute(2) + 500, 0)]


def test_a_journal_is_told_since_when_it_has_every_tick() -> None:
    stage = ready(focus=lock(EUR))
    assert stage.market.covered_since(EUR) == START_MS + 30_000

    stage.market.set_focus(lock(GBP))
    stage.ticks_of(stage.minute(1), stage.minute(1) + 1_000, (EUR, GBP))
    assert stage.market.covered_since(GBP) == stage.minute(1) + 1  # covered for longer, but not told

    stage.lose()
    stage.ticks_of(stage.minute(1) + 10_000, stage.minute(1) + 12_000, (GBP,), "s2")
    assert stage.market.covered_since(GBP) == stage.minute(1) + 10_000
    assert stage.market.covered_since("never seen") == 0


# --- bounded and quiet ---


@pytest.mark.costly
def test_assets_without_end_cannot_fill_the_memory() -> None:
    stage = ready()
    for at in range(0, ASSETS_MAX * 2, 500):
        rows = [[f"X{at + n}", (stage.minute(1) + stage.offset_ms) / 1_000, 1.0] for n in range(500)]
        stage.event("s1", "updateStream", rows, stage.minute(1) + LAG_MS)

    assert ASSETS_MAX // 2 < len(stage.market.feeds) <= ASSETS_MAX
    assert stage.market.counters["forgotten assets"] >= ASSETS_MAX


@pytest.mark.costly
def test_invented_names_keep_no_real_asset_out_and_take_none_that_ticks_or_is_locked() -> None:
    stage = Stage(focus=lock(EUR, GBP))
    stage.ticks_of(START_MS, stage.minute(1), (EUR,))
    for at in range(0, ASSETS_MAX * 2, 500):
        rows = [[f"X{n}", (stage.now_ms - 750 + stage.offset_ms) / 1_000, 1.0] for n in range(at, at + 500)]
        stage.event("s1", "updateStream", rows)
        stage.tick(stage.minute(1) + at, EUR)
    stage.ticks_of(stage.minute(1) + 4_000, stage.minute(4), (EUR, GBP))
    stage.pass_time(stage.minute(4) + 20_000)

    assert {candle.ts_ms for candle in stage.sealed[GBP]} >= {stage.minute(2), stage.minute(3)}
    assert stage.market.feeds.feed(EUR).tick_count == 480
    assert "malformed.too many assets" not in stage.market.counters


def test_a_socket_leaves_nothing_behind() -> None:
    stage = ready()
    for at in range(200):
        stage.tick(stage.minute(1) + at * 100, EUR, f"t{at}")
        stage.lose(f"t{at}")

    assert list(stage.market._decoders) == ["s1"]
    assert list(stage.market.feeds._sockets) == ["s1"]
    assert stage.market.feeds.feed(EUR).pending_unsubscribes == {}


@pytest.mark.costly
def test_hours_of_ticks_stay_within_bounds() -> None:
    stage = Stage()
    stage.ticks_of(START_MS, START_MS + 5_000)
    for at_ms in range(5_000, 4 * 3_600_000, 2_000):
        stage.tick(START_MS + at_ms)

    feed = stage.market.feeds.feed(EUR)
    assert len(feed.tape) < 2 * 3_600
    assert len(feed.live) == 1


def test_what_is_decided_is_pending_until_it_is_taken() -> None:
    stage = ready()
    market, pending = stage.market, stage.market.pending
    for ts_ms in range(stage.minute(1), stage.minute(2) + 1_000, 500):
        market.received("s1", 1, announcement("updateStream"), stage.at(ts_ms + LAG_MS, drained=False))
        market.received("s1", 2, attachment([[EUR, (ts_ms + 7_200_000) / 1_000, 1.5]]), stage.at())
        market.advance_time(stage.at())
    decided = list(pending.sealed[EUR])

    taken = market.drain()

    assert taken.sealed == {EUR: decided}
    assert market.pending is pending
    assert not pending


def test_no_secret_is_in_the_view() -> None:
    stage = ready()
    stage.event("s1", "successauth", {"id": "SECRET"})
    stage.event("s1", "successupdateBalance", {"isDemo": 1, "balance": "SECRET"})
    stage.market.received("s1", 1, '42["auth",{"session":"SECRET"}]', stage.at())
    stage.market.advance_time(stage.at())
    stage.market.sent("s1", 1, '42["auth",{"session":"SECRET","uid":7}]', stage.at())
    stage.market.received("s1", 1, '0{"sid":"SECRET","pingInterval":25000}', stage.at())
    stage.market.advance_time(stage.at())

    told = msgspec.json.encode(stage.market.view(stage.at())) + repr(stage.market.drain()).encode()
    assert b"SECRET" not in told


def test_the_view_tells_assets_and_counters() -> None:
    stage = ready()
    stage.event("s1", "successfavorite/change", [EUR, GBP])
    view = stage.market.view(stage.at())

    assert view.favourites == (EUR, GBP)
    assert {asset.symbol: asset.feed_state for asset in view.assets} == {EUR: FeedState.LIVE, GBP: FeedState.LIVE}
    assert view.assets[0].ticks == 60
    assert view.clock == "synchronised"


def test_feed_states_tell_what_feeds_an_asset() -> None:
    stage = Stage()
    assert stage.market.feed_state(EUR) is FeedState.NO_SOCKET
    stage.ticks_of(START_MS, START_MS + 10_000, (EUR, GBP))
    assert stage.market.feed_state(EUR) is FeedState.LIVE
    assert stage.market.feed_state(AUD) is FeedState.UNSUBSCRIBED
    stage.turn(GBP)
    stage.ticks_of(START_MS + 10_000, START_MS + 20_000, (GBP,))
    assert stage.market.feed_state(EUR) is FeedState.UNSUBSCRIBED
    stage.lose()
    assert stage.market.feed_state(GBP) is FeedState.NO_SOCKET


def test_time_before_anything_happened_does_no_harm() -> None:
    market = Market(PocketOption(), MINUTE, Focus())
    market.advance_time(ArrivalTime.from_ms(1, 1))
    market.on_socket_closed("s", GapReason.CHROME_GONE, ArrivalTime.from_ms(1, 1))

    assert not market.drain()
    assert market.forming() == {}


# --- logged out ---


@pytest.mark.parametrize("frame", ['42["NotAuthorized"]', '42["notAuthorized"]', '42["auth_error",{"x":1}]', "41"])
def test_a_refused_session_is_a_state_of_every_feed_until_a_tick_comes(frame: str) -> None:
    stage = ready()
    stage.lose("s1", GapReason.RELOADED)
    stage.market.received("s2", 1, frame, stage.at())
    refused = (
        stage.market.feed_state(EUR),
        stage.market.feed_state("never seen"),
        stage.market.view(stage.at()).logged_out,
    )

    stage.tick(stage.now_ms, EUR, "s3")

    assert refused == (FeedState.LOGGED_OUT, FeedState.LOGGED_OUT, True)
    assert stage.market.feed_state(EUR) is FeedState.LIVE


def test_a_session_that_is_refused_before_anything_came_is_told_too() -> None:
    stage = Stage()
    stage.market.received("s1", 1, "41", stage.at())

    assert stage.market.feed_state(EUR) is FeedState.LOGGED_OUT


def test_another_socket_that_ends_by_itself_says_nothing_of_a_feed_that_goes_on() -> None:
    stage = ready()
    stage.market.received("chat", 1, "41", stage.at())

    assert stage.market.feed_state(EUR) is FeedState.LIVE


def test_the_socket_of_the_ticks_that_is_refused_stops_the_feed_at_once() -> None:
    stage = ready()
    stage.market.received("s1", 1, '42["NotAuthorized"]', stage.at())

    assert stage.market.feed_state(EUR) is FeedState.LOGGED_OUT


def test_a_closed_tab_is_logged_out_no_more() -> None:
    stage = ready()
    stage.market.received("s1", 1, "41", stage.at())
    stage.lose("s1", GapReason.TAB_CLOSED)

    assert stage.market.feed_state(EUR) is FeedState.NO_SOCKET


# --- only ticks prove a feed ---


def test_pings_and_signals_prove_no_feed() -> None:
    stage = ready()
    last_ms = stage.now_ms
    for at_ms in range(last_ms, last_ms + 20_000, 1_000):
        stage.market.received("s1", 1, "2", stage.at(at_ms))
        stage.market.received("s1", 1, '42["signals/update",[]]', stage.at())
        stage.pass_time(at_ms + 1_000)

    assert stage.market.feed_state(EUR) is FeedState.STALLED
