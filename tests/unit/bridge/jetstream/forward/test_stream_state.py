"""One stream on its way to the log: what is done next after each answer."""

from __future__ import annotations

import pytest

from fluxcap.bridge.jetstream.forward.stream_state import (
    AHEAD,
    CheckpointEntry,
    CompareCandle,
    FetchLast,
    ForwardPhase,
    SendCandles,
    SendRevisions,
    StreamForwardState,
)
from fluxcap.bridge.jetstream.subjects import Position
from fluxcap.schemas.types import StreamKey, StreamStatus

KEY = StreamKey("DESK", "EURUSD", "1m")


def status(latest: int, revision: int = 0, store: str = "mine", first: int = 1) -> StreamStatus:
    return StreamStatus(KEY, latest, latest * 60_000, 0, first if latest else 0, store, revision)


def at(latest: int, revision: int = 0, store: str = "mine", first: int = 1) -> Position:
    return Position(store, latest, latest * 60_000, revision, first)


def lane_of(store: StreamStatus, remembered: CheckpointEntry | None = None) -> StreamForwardState:
    lane = StreamForwardState(KEY, remembered)
    lane.set_store_status(store)
    return lane


def test_a_stream_without_candles_has_nothing_to_do():
    assert lane_of(status(0)).next() is None
    assert lane_of(status(3, store="")).next() is None  # a server that does not say which store it has


def test_the_log_is_asked_before_anything_is_sent():
    assert lane_of(status(3)).next() == FetchLast()


def test_a_new_subject_gets_all_from_the_beginning():
    lane = lane_of(status(3))

    assert lane.answered(None) is False

    assert lane.next() == SendCandles(0)
    assert lane.stream_position == 0


def test_what_the_log_has_is_not_sent_again_but_held_against_the_store_first():
    lane = lane_of(status(5, 2))
    lane.answered(at(3, 1), 77)

    assert lane.next() == CompareCandle(3)
    lane.compared(3 * 60_000)

    assert lane.next() == SendCandles(3)
    assert lane.stream_position == 77


def test_candles_go_before_the_revisions_that_may_name_them():
    lane = lane_of(status(5, 2))
    lane.answered(None)
    lane.stored(at(5), 1)

    assert lane.next() == SendRevisions(0, 2)

    lane.stored(at(5, 2), 2)
    assert lane.next() is None


def test_other_candles_under_the_same_numbers_block_it():
    lane = lane_of(status(5))
    lane.answered(at(3), 77)

    lane.compared(4 * 60_000)

    assert lane.next() is None
    assert lane.state is ForwardPhase.BLOCKED
    assert "other candles" in lane.reason


def test_a_store_behind_the_log_waits_and_is_compared_when_it_gets_there():
    lane = lane_of(status(2))
    lane.answered(at(3), 77)

    assert lane.next() is None
    assert lane.reason == AHEAD
    lane.set_store_status(status(3))

    assert lane.next() == CompareCandle(3)
    assert lane.reason == ""


def test_a_store_that_forgot_the_candle_cannot_be_compared_and_goes_on():
    lane = lane_of(status(9, first=6))
    lane.answered(at(3), 77)

    assert lane.next() == SendCandles(3)


def test_a_doubt_asks_the_log_again():
    lane = lane_of(status(5))
    lane.answered(None)
    lane.stored(at(2), 1)

    lane.invalidate()

    assert lane.next() == FetchLast()


def test_another_store_on_the_subject_is_followed_by_a_new_one():
    lane = lane_of(status(5))

    assert lane.answered(at(900, store="old"), 77) is True

    assert lane.next() == SendCandles(0)
    assert lane.stream_position == 77


def test_a_store_that_was_replaced_never_comes_back():
    lane = lane_of(status(5), CheckpointEntry(at(4), 70))

    assert lane.answered(at(2, store="newer"), 77) is False

    assert lane.next() is None
    assert "another store" in lane.reason
    assert lane.checkpoint == CheckpointEntry(at(4), 70)


def test_a_replaced_store_is_recognised_within_one_run_too():
    lane = lane_of(status(5))
    lane.answered(None)
    lane.stored(at(5), 1)
    lane.invalidate()

    lane.answered(at(2, store="newer"), 77)

    assert lane.state is ForwardPhase.BLOCKED


def test_the_memory_counts_where_the_log_has_forgotten():
    lane = lane_of(status(5), CheckpointEntry(at(4), 70))

    lane.answered(None, first_position=71)
    lane.compared(4 * 60_000)

    assert lane.next() == SendCandles(4)
    assert lane.stream_position == 0


@pytest.mark.parametrize("first_position", [0, 1, 70])
def test_what_the_log_lost_is_sent_again(first_position: int):
    lane = lane_of(status(5), CheckpointEntry(at(4), 70))

    lane.answered(None, first_position=first_position)

    assert lane.next() == SendCandles(0)
    assert lane.stream_position == 0


def test_a_store_knows_what_the_log_had_of_it_and_of_no_other():
    assert not lane_of(status(5)).had_messages
    assert lane_of(status(5), CheckpointEntry(at(4), 70)).had_messages
    assert not lane_of(status(5), CheckpointEntry(at(4, store="old"), 70)).had_messages


def test_the_log_is_believed_against_the_memory():
    lane = lane_of(status(5), CheckpointEntry(at(4), 70))
    lane.answered(at(2), 60)
    lane.compared(2 * 60_000)

    assert lane.next() == SendCandles(2)


def test_the_source_s_new_store_begins_anew():
    lane = lane_of(status(5))
    lane.answered(None)
    lane.stored(at(5), 1)

    lane.set_store_status(status(2, store="new"))

    assert lane.next() == FetchLast()
    assert lane.answered(at(5), 1) is True
    assert lane.next() == SendCandles(0)


def test_too_large_messages_are_halved_until_a_single_candle():
    lane = lane_of(status(5))
    lane.answered(None)
    sizes = []
    while lane.too_large():
        sizes.append(lane.max_candles)

    assert sizes == [250, 125, 62, 31, 15, 7, 3, 1]
    assert lane.state is ForwardPhase.BLOCKED


def test_a_refused_message_lets_the_stream_rest_and_says_why_until_one_is_taken():
    lane = lane_of(status(5))
    lane.answered(None)

    lane.hold("the JetStream stream is full")

    assert (lane.next(), lane.goes_on, lane.reason) == (FetchLast(), False, "the JetStream stream is full")
    lane.answered(None)
    assert (lane.goes_on, lane.reason) == (True, "the JetStream stream is full")
    lane.stored(at(5), 1)
    assert lane.reason == ""


def test_a_reason_to_wait_ends_when_nothing_is_left_to_send():
    lane = lane_of(status(5))
    lane.answered(None)
    lane.hold("JetStream has a message with this id")

    lane.answered(at(5), 1)  # another forwarder of the same store put it there
    lane.compared(5 * 60_000)

    assert lane.next() is None
    assert lane.reason == ""


def test_what_is_behind_counts_candles_and_revisions_that_the_store_still_has():
    lane = lane_of(status(5, 2))
    assert lane.behind(status(5, 2)) == 7
    assert lane.behind(status(20, 0, first=11)) == 10
    lane.answered(at(3, 1), 7)

    assert lane.behind(status(5, 2)) == 3
    assert lane.behind(status(5, 2, store="new")) == 7
