"""fluxcap.bridge.client.receiver.receiver: the rules of one stream's receiver, one by one. The model is in
tests/property."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from fluxcap.bridge.client.receiver.actions import (
    Action,
    Buffered,
    Cursor,
    Deliver,
    DeliverRevisions,
    Duplicate,
    RequestCandles,
    RequestRevisions,
    RequestStatus,
    Restart,
    RestartReason,
    SkipGap,
    StartFrom,
)
from fluxcap.bridge.client.receiver.receiver import (
    HOLE_CONFIRMATIONS,
    MAX_EMPTY_REPLIES,
    ROLLBACK_CONFIRMATIONS,
    ReceiverState,
    StreamReceiver,
)
from fluxcap.bridge.transport.backoff import Backoff
from fluxcap.schemas.types import (
    CANDLE_DTYPE,
    BackfillCandlesResponse,
    CandleArray,
    CandleBatch,
    CandleRevision,
    RevisionsResponse,
    StreamKey,
    StreamStatus,
)

KEY = StreamKey("SIM", "EURUSD", "1s")
SECOND_NS = 1_000_000_000


def candles(start: int, count: int, *, shift_ms: int = 0) -> CandleArray:
    rows = np.zeros(count, CANDLE_DTYPE)
    rows["ts_ms"] = 1_000 * np.arange(start, start + count) + shift_ms
    rows["close"] = np.arange(start, start + count)
    return rows


def batch(start: int, count: int = 1) -> CandleBatch:
    return CandleBatch(KEY, start, candles(start, count))


def page(start: int, count: int) -> BackfillCandlesResponse:
    return BackfillCandlesResponse(KEY, start, candles(start, count), False, start + count)


def status(latest: int, *, store: str = "a", first: int = 1, revision: int = 0) -> StreamStatus:
    return StreamStatus(KEY, latest, 1_000 * latest, 0, first, store, revision)


def revised(start: int, sequences: Sequence[int]) -> CandleRevision:
    return CandleRevision(KEY, start, np.array(sequences, np.uint64), candles(1, len(sequences)))


def receiver(
    *, cursor: Cursor | None = None, start: StartFrom | int = StartFrom.RESUME, page_limit: int = 100
) -> StreamReceiver:
    return StreamReceiver(Backoff(lambda: 1.0), cursor=cursor, start=start, page_limit=page_limit)


def live_receiver(position: int = 10) -> StreamReceiver:
    """One that has delivered up to ``position``."""
    it = receiver(cursor=Cursor("a", position, 1_000 * position, 0))
    it.on_connected(0)
    it.on_status(status(position), 0)
    assert it.state is ReceiverState.LIVE
    return it


def told(actions: list[Action]) -> list[tuple[object, ...]]:
    """Actions in short: arrays as (start, count)."""
    short: list[tuple[object, ...]] = []
    for action in actions:
        match action:
            case Deliver(start, rows, is_backfill):
                assert rows["close"].tolist() == list(range(start, start + len(rows)))
                short.append(("deliver", start, len(rows), is_backfill))
            case DeliverRevisions(start, sequences, _):
                short.append(("revise", start, sequences.tolist()))
            case RequestCandles(after, limit):
                short.append(("request", after, limit))
            case RequestRevisions(after, limit):
                short.append(("request revisions", after, limit))
            case RequestStatus():
                short.append(("status",))
            case Buffered(start, count):
                short.append(("buffered", start, count))
            case Duplicate(count):
                short.append(("duplicate", count))
            case Restart(reason, store):
                short.append(("restart", reason, store))
            case SkipGap(first, last, _):
                short.append(("lost", first, last))
    return short


def test_a_new_connection_asks_for_the_watermark_first() -> None:
    it = receiver()

    assert told(it.on_connected(0)) == [("status",)]
    assert it.state is ReceiverState.VERIFYING


def test_it_fetches_up_to_the_watermark_page_by_page_while_live_waits() -> None:
    it = receiver(page_limit=4)
    it.on_connected(0)
    assert told(it.on_batch(batch(8), 0)) == [("buffered", 8, 1)]

    assert told(it.on_status(status(7), 0)) == [("request", 0, 4)]
    assert told(it.on_batch(batch(9), 0)) == [("buffered", 9, 1)]
    assert told(it.on_page(page(1, 4), 0)) == [("deliver", 1, 4, True), ("request", 4, 3)]
    assert it.state is ReceiverState.CATCHING_UP
    assert told(it.on_page(page(5, 3), 0)) == [("deliver", 5, 3, True), ("deliver", 8, 2, False)]
    assert it.state is ReceiverState.LIVE


def test_a_batch_that_comes_next_is_delivered() -> None:
    it = live_receiver()

    assert told(it.on_batch(batch(11, 2), 0)) == [("deliver", 11, 2, False)]
    assert it.cursor == Cursor("a", 12, 12_000, 0)


def test_a_gap_is_fetched_exactly_and_the_batch_after_it_waits() -> None:
    it = live_receiver()

    assert told(it.on_batch(batch(14), 0)) == [("buffered", 14, 1), ("request", 10, 3)]
    assert told(it.on_page(page(11, 3), 0)) == [("deliver", 11, 3, True), ("deliver", 14, 1, False)]


def test_there_are_never_two_requests_under_way() -> None:
    it = live_receiver()
    it.on_batch(batch(14), 0)

    assert told(it.on_batch(batch(20), 0)) == [("buffered", 20, 1)]
    assert told(it.on_heartbeat(status(30), 0)) == []
    assert told(it.on_time(10 * SECOND_NS)) == []


def test_a_heartbeat_tells_of_a_lost_last_batch() -> None:
    it = live_receiver()

    assert told(it.on_heartbeat(status(12), 0)) == [("request", 10, 2)]


def test_what_was_delivered_is_a_duplicate() -> None:
    it = live_receiver()

    assert told(it.on_batch(batch(9, 2), 0)) == [("duplicate", 2)]


def test_an_answer_that_the_live_feed_overtook_asks_for_nothing_more() -> None:
    it = live_receiver()
    it.on_heartbeat(status(11), 0)
    it.on_batch(batch(11), 0)

    assert told(it.on_page(page(11, 1), 0)) == []
    assert it.empty_replies == 0


def test_an_empty_answer_backs_off_then_asks_where_the_server_stands() -> None:
    it = live_receiver()
    it.on_heartbeat(status(12), 0)

    assert told(it.on_page(page(11, 0), 0)) == []
    assert it.wake_ns == 50_000_000
    assert told(it.on_time(49_999_999)) == []
    assert told(it.on_time(50_000_000)) == [("status",)]
    assert told(it.on_status(status(12), 50_000_000)) == [("request", 10, 2)]
    assert told(it.on_page(page(11, 0), 50_000_000)) == []
    assert it.wake_ns == 150_000_000
    assert it.empty_replies == 2


def test_a_failed_request_backs_off_and_progress_forgets_the_failures() -> None:
    it = live_receiver()
    it.on_heartbeat(status(12), 0)
    it.on_failed(0)
    it.on_time(50_000_000)
    it.on_status(status(12), 50_000_000)

    assert told(it.on_page(page(11, 2), 50_000_000)) == [("deliver", 11, 2, True)]
    it.on_heartbeat(status(13), 50_000_000)
    it.on_failed(50_000_000)
    assert it.wake_ns == 100_000_000


def test_a_new_store_starts_the_stream_over() -> None:
    it = live_receiver()
    it.on_disconnected(0)
    assert told(it.on_connected(0)) == [("status",)]
    it.on_batch(batch(11), 0)

    actions = told(it.on_status(status(3, store="b"), 0))

    assert actions == [("restart", RestartReason.STORE_REPLACED, "b"), ("request", 0, 3)]
    assert told(it.on_page(page(1, 3), 0)) == [("deliver", 1, 3, True)]
    assert it.cursor.store_id == "b"


def test_a_heartbeat_of_another_store_holds_everything_back_until_an_answer_decides() -> None:
    it = live_receiver()

    assert told(it.on_heartbeat(status(40, store="b"), 0)) == [("status",)]
    assert told(it.on_batch(batch(11), 0)) == [("buffered", 11, 1)]
    assert told(it.on_status(status(10), 0)) == [("deliver", 11, 1, False)]


def test_what_waited_is_fetched_anew_after_doubts_about_the_store() -> None:
    it = live_receiver()
    it.on_batch(batch(14), 0)
    it.on_heartbeat(status(40, store="b"), 0)
    it.on_failed(0)
    it.on_time(SECOND_NS)

    assert told(it.on_status(status(14), SECOND_NS)) == [("request", 10, 4)]


def test_what_waited_is_fetched_anew_after_a_new_connection() -> None:
    it = live_receiver()
    it.on_batch(batch(14), 0)
    it.on_disconnected(0)
    it.on_connected(0)
    it.on_status(status(14), 0)

    assert told(it.on_page(page(10, 1), 0)) == [("request", 10, 4)]


def test_an_answer_of_an_older_connection_is_not_taken() -> None:
    it = live_receiver()
    it.on_heartbeat(status(12), 0)
    it.on_disconnected(0)
    it.on_connected(0)

    assert told(it.on_page(page(11, 2), 0)) == []
    assert it.cursor.latest_sequence == 10


def test_a_store_that_went_back_is_believed_after_several_answers_only() -> None:
    it = live_receiver()
    now_ns = 0
    it.on_heartbeat(status(4), now_ns)
    answers: list[tuple[object, ...]] = []
    for _ in range(ROLLBACK_CONFIRMATIONS):
        assert answers == []
        answers = told(it.on_status(status(4), now_ns))
        now_ns += SECOND_NS
        it.on_time(now_ns)

    assert answers[0] == ("restart", RestartReason.STORE_WENT_BACK, "a")


# --- a store that was put back from a backup and went on ---


def test_another_time_under_the_newest_sequence_starts_the_stream_over() -> None:
    it = receiver(cursor=Cursor("a", 10, 9_999, 0))
    it.on_connected(0)

    restarted = told(it.on_status(status(10), 0))

    assert restarted == [("restart", RestartReason.STORE_DIFFERS, "a"), ("request", 0, 10)]
    assert told(it.on_page(page(1, 10), 0)) == [("deliver", 1, 10, True)]


def test_a_server_that_is_ahead_is_asked_for_the_newest_candle_before_anything_is_delivered() -> None:
    it = receiver(cursor=Cursor("a", 10, 9_999, 0))
    it.on_connected(0)

    assert told(it.on_status(status(11), 0)) == [("request", 9, 1)]
    assert told(it.on_batch(batch(11), 0)) == [("buffered", 11, 1)]
    restarted = told(it.on_page(page(10, 1), 0))

    assert restarted == [("restart", RestartReason.STORE_DIFFERS, "a"), ("status",)]
    assert it.state is ReceiverState.CATCHING_UP
    assert told(it.on_status(status(11), 0)) == [("request", 0, 11)]
    assert it.state is ReceiverState.CATCHING_UP
    assert told(it.on_page(page(1, 11), 0)) == [("deliver", 1, 11, True)]
    assert it.state is ReceiverState.LIVE


def test_the_same_candle_under_the_newest_sequence_lets_the_stream_go_on() -> None:
    it = receiver(cursor=Cursor("a", 10, 10_000, 0))
    it.on_connected(0)
    it.on_status(status(11), 0)
    it.on_batch(batch(11), 0)

    assert told(it.on_page(page(10, 1), 0)) == [("deliver", 11, 1, False)]
    assert it.state is ReceiverState.LIVE


def test_it_is_compared_once_a_connection() -> None:
    it = live_receiver()

    assert told(it.on_heartbeat(status(11), 0)) == [("request", 10, 1)]
    it.on_page(page(11, 1), 0)
    it.on_disconnected(0)
    it.on_connected(0)
    assert told(it.on_status(status(12), 0)) == [("request", 10, 1)]
    assert told(it.on_page(page(11, 1), 0)) == [("request", 11, 1)]


def test_a_newest_candle_that_the_server_keeps_no_more_is_not_compared() -> None:
    it = receiver(cursor=Cursor("a", 10, 9_999, 0))
    it.on_connected(0)

    assert told(it.on_status(status(20, first=15), 0)) == [("lost", 11, 14), ("request", 14, 6)]


def test_a_newest_candle_that_is_the_oldest_the_server_keeps_is_compared() -> None:
    it = receiver(cursor=Cursor("a", 10, 9_999, 0))
    it.on_connected(0)

    assert told(it.on_status(status(20, first=10), 0)) == [("request", 9, 1)]


def test_a_watermark_without_a_time_proves_nothing_and_the_next_one_with_another_is_a_doubt() -> None:
    it = receiver(cursor=Cursor("a", 10, 9_999, 0))
    it.on_connected(0)

    assert told(it.on_status(msgspec.structs.replace(status(10), latest_ts_ms=0), 0)) == []
    assert it.state is ReceiverState.LIVE
    assert told(it.on_heartbeat(status(10), 0)) == [("status",)]
    assert told(it.on_status(status(10), 0))[0] == ("restart", RestartReason.STORE_DIFFERS, "a")


def test_a_position_whose_candle_has_no_known_time_is_not_compared() -> None:
    it = receiver(cursor=Cursor("a", 10, 0, 0))
    it.on_connected(0)

    assert told(it.on_status(status(10), 0)) == []
    assert it.state is ReceiverState.LIVE


def test_without_a_candle_there_is_nothing_to_compare_though_the_server_names_no_oldest_one() -> None:
    it = receiver()
    it.on_connected(0)

    assert told(it.on_status(status(5, first=0), 0)) == [("request", 0, 5)]


def test_an_answer_that_begins_behind_the_newest_candle_proves_nothing() -> None:
    it = receiver(cursor=Cursor("a", 10, 9_999, 0))
    it.on_connected(0)
    it.on_status(status(11), 0)

    assert told(it.on_page(page(11, 1), 0)) == [("request", 10, 1)]


@pytest.mark.parametrize("answer", [page(9, 1), page(10, 0)], ids=["older", "empty"])
def test_an_answer_without_the_newest_candle_is_in_vain_and_it_is_asked_for_again(
    answer: BackfillCandlesResponse,
) -> None:
    it = receiver(cursor=Cursor("a", 10, 9_999, 0))
    it.on_connected(0)
    it.on_status(status(11), 0)

    assert told(it.on_page(answer, 0)) == []
    assert told(it.on_time(60 * SECOND_NS)) == [("status",)]
    assert told(it.on_status(status(11), 60 * SECOND_NS)) == [("request", 9, 1)]


def test_a_heartbeat_with_another_time_is_a_doubt_that_an_answer_settles() -> None:
    it = receiver(cursor=Cursor("a", 10, 9_999, 0))
    it.on_connected(0)

    assert told(it.on_heartbeat(status(10), 0)) == []  # the request for the status is under way
    assert told(it.on_status(status(10), 0))[0] == ("restart", RestartReason.STORE_DIFFERS, "a")


def test_a_server_that_cannot_show_the_newest_candle_keeps_nobody_waiting_for_ever() -> None:
    it = receiver(cursor=Cursor("a", 10, 10_000, 0))
    it.on_connected(0)
    it.on_status(status(11), 0)
    it.on_batch(batch(11), 0)
    now_ns, delivered = 0, list[tuple[object, ...]]()
    for _ in range(MAX_EMPTY_REPLIES):
        assert delivered == []
        delivered = told(it.on_failed(now_ns))
        now_ns += 60 * SECOND_NS
        it.on_time(now_ns)

    assert delivered == [("deliver", 11, 1, False)]


def test_a_status_a_moment_behind_the_feed_restarts_nothing() -> None:
    it = live_receiver()
    it.on_heartbeat(status(9), 0)
    it.on_batch(batch(11), 0)
    it.on_status(status(10), 0)
    it.on_time(SECOND_NS)

    assert told(it.on_status(status(11), SECOND_NS)) == []
    assert it.state is ReceiverState.LIVE


def test_candles_older_than_the_oldest_kept_are_announced_as_lost() -> None:
    it = receiver(cursor=Cursor("a", 10, 10_000, 0))
    it.on_connected(0)

    assert told(it.on_status(status(40, first=31), 0)) == [("lost", 11, 30), ("request", 30, 10)]


def test_candles_lost_since_a_cursor_of_a_server_without_store_id_are_announced_too() -> None:
    it = receiver(cursor=Cursor("", 10, 10_000, 0))
    it.on_connected(0)

    assert told(it.on_status(status(40, first=31), 0)) == [("lost", 11, 30), ("request", 30, 10)]
    assert it.cursor == Cursor("a", 30, 10_000, 0)


def test_a_hole_in_the_servers_store_is_believed_after_several_answers_only() -> None:
    it = live_receiver()
    it.on_heartbeat(status(13), 0)
    now_ns = 0
    for _ in range(HOLE_CONFIRMATIONS - 1):
        assert [action[0] for action in told(it.on_page(page(12, 2), now_ns))] == []
        now_ns += SECOND_NS
        it.on_time(now_ns)
        it.on_status(status(13), now_ns)

    assert told(it.on_page(page(12, 2), now_ns)) == [("lost", 11, 11), ("deliver", 12, 2, True)]


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (StartFrom.RESUME, [("request", 4, 96)]),
        (StartFrom.EARLIEST, [("request", 4, 96)]),
        (StartFrom.LATEST, []),
        (50, [("request", 49, 51)]),
        (2, [("lost", 2, 4), ("request", 4, 96)]),
        (500, []),
        (-10, [("request", 90, 10)]),
        (-500, [("request", 4, 96)]),
    ],
)
def test_where_a_stream_without_a_cursor_begins(start: StartFrom | int, expected: list[tuple[object, ...]]) -> None:
    it = receiver(start=start)
    it.on_connected(0)

    assert told(it.on_status(status(100, first=5), 0)) == expected


def test_a_cursor_goes_before_the_wish_where_to_begin() -> None:
    it = receiver(cursor=Cursor("a", 98, 98_000, 0), start=StartFrom.LATEST)
    it.on_connected(0)

    assert told(it.on_status(status(100), 0)) == [("request", 97, 1)]
    assert told(it.on_page(page(98, 1), 0)) == [("request", 98, 2)]


def test_a_number_on_the_wrong_time_is_left_to_the_servers_store() -> None:
    it = live_receiver()
    forged = CandleBatch(KEY, 11, candles(11, 1, shift_ms=-5_000))

    assert told(it.on_batch(forged, 0)) == [("status",)]
    assert told(it.on_status(status(11), 0)) == [("request", 10, 1)]
    assert told(it.on_page(page(11, 1), 0)) == [("deliver", 11, 1, True)]


def test_times_delivered_before_are_dropped_from_a_page() -> None:
    it = live_receiver()
    it.on_heartbeat(status(13), 0)
    rows = candles(11, 3)
    rows["ts_ms"][0] = 10_000

    actions = it.on_page(BackfillCandlesResponse(KEY, 11, rows, False, 14), 0)

    assert told(actions) == [("duplicate", 1), ("deliver", 12, 2, True)]


@pytest.mark.parametrize("times", [[11_000, 11_000], [12_000, 11_000]])
def test_a_batch_whose_times_do_not_rise_is_dropped(times: list[int]) -> None:
    it = live_receiver()
    rows = candles(11, 2)
    rows["ts_ms"] = times

    assert told(it.on_batch(CandleBatch(KEY, 11, rows), 0)) == []
    assert it.buffered_rows == 0


def test_sequences_beyond_the_servers_watermark_are_given_up_after_vain_requests() -> None:
    it = live_receiver()
    it.on_batch(batch(9_000), 0)
    now_ns = 0
    for _ in range(5):
        it.on_page(page(11, 0), now_ns)
        now_ns += SECOND_NS
        it.on_time(now_ns)
        it.on_status(status(10), now_ns)

    assert it.state is ReceiverState.LIVE
    assert it.buffered_rows == 0


def test_a_revision_waits_for_the_candle_it_corrects() -> None:
    it = live_receiver()

    assert told(it.on_revision(revised(1, [5, 11]), 0)) == [("revise", 1, [5])]
    assert told(it.on_batch(batch(11), 0)) == [("deliver", 11, 1, False), ("revise", 2, [11])]


def test_missing_revisions_are_fetched_after_the_candles() -> None:
    it = live_receiver()

    assert told(it.on_heartbeat(status(11, revision=2), 0)) == [("request", 10, 1)]
    assert told(it.on_page(page(11, 1), 0)) == [("deliver", 11, 1, True), ("request revisions", 0, 2)]
    answer = RevisionsResponse(KEY, 1, np.array([3, 0], np.uint64), candles(1, 2), False, 3)
    assert told(it.on_revisions(answer, 0)) == [("revise", 1, [3, 0])]
    assert it.cursor.latest_revision == 2


def test_revisions_that_the_server_forgot_are_passed_over() -> None:
    it = live_receiver()
    it.on_heartbeat(status(10, revision=9), 0)

    answer = RevisionsResponse(KEY, 8, np.array([3, 4], np.uint64), candles(1, 2), False, 10)

    assert told(it.on_revisions(answer, 0)) == [("revise", 8, [3, 4])]
    assert it.state is ReceiverState.LIVE


def test_nothing_is_asked_and_nothing_taken_without_a_server() -> None:
    it = live_receiver()

    assert told(it.on_disconnected(0)) == []
    assert it.state is ReceiverState.OFFLINE
    assert told(it.on_batch(batch(11), 0)) == []
    assert told(it.on_heartbeat(status(20), 0)) == []
    assert it.wake_ns is None


# --- to the last row ---


def answered(start: int, sequences: Sequence[int], end: int) -> RevisionsResponse:
    rows = np.array(sequences, np.uint64)
    return RevisionsResponse(KEY, start, rows, candles(1, len(rows)), False, end)


def gap_reasons(actions: list[Action]) -> list[str]:
    return [action.reason for action in actions if isinstance(action, SkipGap)]


def ask_again(it: StreamReceiver, now_ns: int, watermark: StreamStatus) -> list[Action]:
    """The wait is over; the server says where it stands."""
    it.on_time(now_ns)
    return it.on_status(watermark, now_ns)


def test_it_begins_offline_and_where_its_cursor_stands() -> None:
    it = receiver(cursor=Cursor("a", 10, 10_000, 3))

    assert it.state is ReceiverState.OFFLINE
    assert it.cursor == Cursor("a", 10, 10_000, 3)


def test_by_default_a_page_has_ten_thousand_candles_and_fifty_thousand_rows_wait() -> None:
    it = StreamReceiver(Backoff(lambda: 1.0), cursor=Cursor("a", 10, 10_000, 0))
    it.on_connected(0)
    it.on_status(status(20_010), 0)
    assert told(it.on_page(page(10, 1), 0)) == [("request", 10, 10_000)]

    it.on_batch(batch(100_000, 50_000), 0)
    it.on_batch(batch(200_000), 0)

    assert it.buffered_rows == 50_000


def test_of_either_lane_no_more_waits_than_the_buffer_holds() -> None:
    it = StreamReceiver(Backoff(lambda: 1.0), cursor=Cursor("a", 10, 10_000, 0), buffer_rows=5)
    it.on_connected(0)
    it.on_status(status(10), 0)

    it.on_batch(batch(20, 5), 0)
    it.on_batch(batch(30, 5), 0)
    assert it.buffered_rows == 5

    it.on_revision(revised(20, [1] * 5), 0)
    it.on_revision(revised(30, [1] * 5), 0)
    assert it.buffered_rows == 10


def test_a_cursor_of_another_store_starts_over_on_the_first_connection() -> None:
    it = receiver(cursor=Cursor("a", 10, 10_000, 2))
    it.on_connected(0)

    actions = told(it.on_status(status(40, store="b", first=5), 0))

    # Nothing of the new store is lost: what it does not keep was never this client's.
    assert actions == [("restart", RestartReason.STORE_REPLACED, "b"), ("request", 4, 36)]
    assert it.cursor == Cursor("b", 4, 0, 0)


def test_a_number_on_the_time_delivered_last_is_left_to_the_servers_store_too() -> None:
    it = live_receiver()

    assert told(it.on_batch(CandleBatch(KEY, 11, candles(11, 1, shift_ms=-1_000)), 0)) == [("status",)]
    assert told(it.on_status(status(10), 0)) == [("request", 10, 1)]


def test_an_empty_batch_says_nothing() -> None:
    assert told(live_receiver().on_batch(batch(11, 0), 0)) == []


def test_every_time_of_a_batch_must_rise_above_the_one_before() -> None:
    it = live_receiver()
    rows = candles(11, 3)
    rows["ts_ms"] = [11_000, 13_000, 12_000]

    assert told(it.on_batch(CandleBatch(KEY, 11, rows), 0)) == []


def test_a_batch_one_beyond_the_next_is_told_to_wait() -> None:
    assert told(live_receiver().on_batch(batch(12), 0)) == [("buffered", 12, 1), ("request", 10, 1)]


def test_sequences_beyond_the_watermark_are_given_up_after_just_so_many_vain_requests() -> None:
    it = live_receiver()
    it.on_batch(batch(9_000), 0)
    for at in range(1, MAX_EMPTY_REPLIES + 1):
        assert it.state is ReceiverState.CATCHING_UP
        it.on_page(page(11, 0), at * SECOND_NS)
        ask_again(it, at * SECOND_NS + SECOND_NS, status(10))

    assert it.state is ReceiverState.LIVE


def test_revisions_beyond_the_watermark_are_given_up_too() -> None:
    it = live_receiver()
    it.on_revision(revised(9_000, [5]), 0)
    for at in range(1, MAX_EMPTY_REPLIES + 1):
        it.on_revisions(answered(1, [], 1), at * SECOND_NS)
        ask_again(it, at * SECOND_NS + SECOND_NS, status(10))

    assert it.state is ReceiverState.LIVE
    assert it.buffered_rows == 0


def test_what_the_server_says_it_has_is_kept_through_vain_requests() -> None:
    it = live_receiver()
    it.on_batch(batch(14), 0)
    it.on_revision(revised(3, [5]), 0)
    for at in range(1, MAX_EMPTY_REPLIES + 1):
        it.on_page(page(11, 0), at * SECOND_NS)
        ask_again(it, at * SECOND_NS + SECOND_NS, status(14, revision=3))

    assert it.buffered_rows == 2


def test_an_answer_that_was_given_up_is_not_taken() -> None:
    it = live_receiver()
    it.on_heartbeat(status(12), 0)
    it.on_failed(0)

    assert told(it.on_page(page(11, 2), 0)) == []
    assert it.cursor.latest_sequence == 10


def test_an_answer_to_revisions_that_was_given_up_is_not_taken() -> None:
    it = live_receiver()
    it.on_heartbeat(status(10, revision=2), 0)
    it.on_failed(0)

    assert told(it.on_revisions(answered(1, [3, 4], 3), 0)) == []
    assert it.cursor.latest_revision == 0


def test_an_answer_is_not_taken_while_the_store_is_in_doubt() -> None:
    it = live_receiver()
    it.on_heartbeat(status(12, revision=2), 0)
    it.on_heartbeat(status(40, store="b"), 0)

    assert told(it.on_page(page(11, 2), 0)) == [("status",)]
    assert it.buffered_rows == 0
    assert told(it.on_status(status(12, revision=2), 0)) == [("request", 10, 2)]
    it.on_page(page(11, 2), 0)
    it.on_heartbeat(status(40, store="b"), 0)
    assert told(it.on_revisions(answered(1, [3, 4], 3), 0)) == [("status",)]
    assert it.buffered_rows == 0


def test_an_answer_of_older_candles_only_is_in_vain() -> None:
    it = live_receiver()
    it.on_heartbeat(status(12), 0)

    assert told(it.on_page(page(5, 3), SECOND_NS)) == []
    assert it.wake_ns == SECOND_NS + 50_000_000


def test_an_empty_answer_to_revisions_is_in_vain_whatever_number_it_names() -> None:
    it = live_receiver()
    it.on_heartbeat(status(10, revision=9), 0)

    assert told(it.on_revisions(answered(9, [], 9), SECOND_NS)) == []
    assert it.wake_ns == SECOND_NS + 50_000_000
    assert it.cursor.latest_revision == 0
    assert told(it.on_revision(revised(1, [5]), SECOND_NS)) == [("revise", 1, [5])]


def test_an_answer_with_revisions_is_no_vain_one() -> None:
    it = live_receiver()
    it.on_heartbeat(status(10, revision=3), 0)

    assert told(it.on_revisions(answered(2, [3, 4], 4), 0)) == [("revise", 2, [3, 4])]
    assert (it.wake_ns, it.empty_replies) == (None, 0)


def test_revisions_of_the_live_feed_come_apart_from_fetched_ones() -> None:
    it = live_receiver()
    it.on_revision(revised(2, [5]), 0)

    assert told(it.on_revisions(answered(1, [4], 2), 0)) == [("revise", 1, [4]), ("revise", 2, [5])]


def test_revisions_are_numbered_from_one_and_not_taken_offline() -> None:
    it = live_receiver()
    assert told(it.on_revision(revised(0, [5, 6]), 0)) == []

    it.on_disconnected(0)
    it.on_revision(revised(1, [5]), 0)

    assert it.buffered_rows == 0
    assert it.target_sequence == 10


def test_a_store_that_is_behind_from_the_first_answer_is_believed_as_late_as_any() -> None:
    it = receiver(cursor=Cursor("a", 10, 10_000, 0))
    it.on_connected(0)
    answers: list[list[tuple[object, ...]]] = []
    for at in range(2 * ROLLBACK_CONFIRMATIONS):
        latest = 4 if at < ROLLBACK_CONFIRMATIONS else 2
        answers.append(told(ask_again(it, at * SECOND_NS, status(latest))))
        if at == ROLLBACK_CONFIRMATIONS - 1:
            it.on_page(page(1, 4), at * SECOND_NS)
            it.on_heartbeat(status(2), at * SECOND_NS)

    restarts = [at for at, told_then in enumerate(answers) if told_then and told_then[0][0] == "restart"]
    assert restarts == [ROLLBACK_CONFIRMATIONS - 1, 2 * ROLLBACK_CONFIRMATIONS - 1]


def test_a_single_candle_that_the_server_forgot_is_announced_as_lost_with_the_reason() -> None:
    it = receiver(cursor=Cursor("a", 10, 10_000, 0))
    it.on_connected(0)

    actions = it.on_status(status(40, first=12), 0)

    assert told(actions) == [("lost", 11, 11), ("request", 11, 29)]
    assert gap_reasons(actions) == ["older than the oldest candle the server keeps"]


@pytest.mark.parametrize(
    ("start", "first", "expected"),
    [
        (0, 5, []),
        (1, 5, [("lost", 1, 4), ("request", 4, 96)]),
        (5, 5, [("request", 4, 96)]),
        (-500, 1, [("request", 0, 100)]),
        (-100, 1, [("request", 0, 100)]),
        (1, 1, [("request", 0, 100)]),
    ],
)
def test_where_a_stream_begins_at_the_edges(start: int, first: int, expected: list[tuple[object, ...]]) -> None:
    it = receiver(start=start)
    it.on_connected(0)

    actions = it.on_status(status(100, first=first), 0)

    assert told(actions) == expected
    assert gap_reasons(actions) in ([], ["older than the oldest candle the server keeps"])


def believed_after(it: StreamReceiver, missing: int, latest: int) -> tuple[int, list[str]]:
    """How many answers that begin after ``missing`` it takes until that candle counts as lost, and why."""
    for at in range(1, 2 * HOLE_CONFIRMATIONS):
        actions = it.on_page(page(missing + 1, 1), at * SECOND_NS)
        if reasons := gap_reasons(actions):
            return at, reasons
        ask_again(it, at * SECOND_NS + SECOND_NS // 2, status(latest))
    return 0, []


def test_a_hole_is_believed_as_late_after_progress_after_a_loss_and_after_another_hole() -> None:
    it = receiver(cursor=Cursor("a", 10, 10_000, 0))
    it.on_connected(0)
    it.on_status(status(99, first=31), 0)  # 11 to 30 are lost
    expected = (HOLE_CONFIRMATIONS, ["the server has no such candles"])

    assert believed_after(it, 31, 99) == expected
    assert told(it.on_page(page(33, 2), 0))[0] == ("deliver", 33, 2, True)
    assert believed_after(it, 35, 99) == expected
    assert believed_after(it, 37, 99) == expected
