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


def stream_of(store: StreamStatus, remembered: CheckpointEntry | None = None) -> StreamForwardState:
    stream = StreamForwardState(KEY, remembered)
    stream.set_store_status(store)
    return stream


def test_a_stream_without_candles_has_nothing_to_do():
    assert stream_of(status(0)).next() is None
    assert stream_of(status(3, store="")).next() is None  # a server that does not say which store it has


def test_the_log_is_asked_before_anything_is_sent():
    assert stream_of(status(3)).next() == FetchLast()


def test_a_new_subject_gets_all_from_the_beginning():
    stream = stream_of(status(3))

    assert stream.answered(None) is False

    assert stream.next() == SendCandles(0)
    assert stream.stream_position == 0


def test_what_the_log_has_is_not_sent_again_but_held_against_the_store_first():
    stream = stream_of(status(5, 2))
    stream.answered(at(3, 1), 77)

    assert stream.next() == CompareCandle(3)
    stream.compared(3 * 60_000)

    assert stream.next() == SendCandles(3)
    assert stream.stream_position == 77


def test_candles_go_before_the_revisions_that_may_name_them():
    stream = stream_of(status(5, 2))
    stream.answered(None)
    stream.stored(at(5), 1)

    assert stream.next() == SendRevisions(0, 2)

    stream.stored(at(5, 2), 2)
    assert stream.next() is None


def test_other_candles_under_the_same_numbers_block_it():
    stream = stream_of(status(5))
    stream.answered(at(3), 77)

    stream.compared(4 * 60_000)

    assert stream.next() is None
    assert stream.state is ForwardPhase.BLOCKED
    assert "other candles" in stream.reason


def test_a_store_behind_the_log_waits_and_is_compared_when_it_gets_there():
    stream = stream_of(status(2))
    stream.answered(at(3), 77)

    assert stream.next() is None
    assert stream.reason == AHEAD
    stream.set_store_status(status(3))

    assert stream.next() == CompareCandle(3)
    assert stream.reason == ""


def test_a_store_that_forgot_the_candle_cannot_be_compared_and_goes_on():
    stream = stream_of(status(9, first=6))
    stream.answered(at(3), 77)

    assert stream.next() == SendCandles(3)


def test_a_doubt_asks_the_log_again():
    stream = stream_of(status(5))
    stream.answered(None)
    stream.stored(at(2), 1)

    stream.invalidate()

    assert stream.next() == FetchLast()


def test_another_store_on_the_subject_is_followed_by_a_new_one():
    stream = stream_of(status(5))

    assert stream.answered(at(900, store="old"), 77) is True

    assert stream.next() == SendCandles(0)
    assert stream.stream_position == 77


def test_a_store_that_was_replaced_never_comes_back():
    stream = stream_of(status(5), CheckpointEntry(at(4), 70))

    assert stream.answered(at(2, store="newer"), 77) is False

    assert stream.next() is None
    assert "another store" in stream.reason
    assert stream.checkpoint == CheckpointEntry(at(4), 70)


def test_a_replaced_store_is_recognised_within_one_run_too():
    stream = stream_of(status(5))
    stream.answered(None)
    stream.stored(at(5), 1)
    stream.invalidate()

    stream.answered(at(2, store="newer"), 77)

    assert stream.state is ForwardPhase.BLOCKED


def test_the_memory_counts_where_the_log_has_forgotten():
    stream = stream_of(status(5), CheckpointEntry(at(4), 70))

    stream.answered(None, first_position=71)
    stream.compared(4 * 60_000)

    assert stream.next() == SendCandles(4)
    assert stream.stream_position == 0


@pytest.mark.parametrize("first_position", [0, 1, 70])
def test_what_the_log_lost_is_sent_again(first_position: int):
    stream = stream_of(status(5), CheckpointEntry(at(4), 70))

    stream.answered(None, first_position=first_position)

    assert stream.next() == SendCandles(0)
    assert stream.stream_position == 0


def test_a_store_knows_what_the_log_had_of_it_and_of_no_other():
    assert not stream_of(status(5)).had_messages
    assert stream_of(status(5), CheckpointEntry(at(4), 70)).had_messages
    assert not stream_of(status(5), CheckpointEntry(at(4, store="old"), 70)).had_messages


def test_the_log_is_believed_against_the_memory():
    stream = stream_of(status(5), CheckpointEntry(at(4), 70))
    stream.answered(at(2), 60)
    stream.compared(2 * 60_000)

    assert stream.next() == SendCandles(2)


def test_the_source_s_new_store_begins_anew():
    stream = stream_of(status(5))
    stream.answered(None)
    stream.stored(at(5), 1)

    stream.set_store_status(status(2, store="new"))

    assert stream.next() == FetchLast()
    assert stream.answered(at(5), 1) is True
    assert stream.next() == SendCandles(0)


def test_too_large_messages_are_halved_until_a_single_candle():
    stream = stream_of(status(5))
    stream.answered(None)
    sizes = []
    while stream.too_large():
        sizes.append(stream.max_candles)

    assert sizes == [250, 125, 62, 31, 15, 7, 3, 1]
    assert stream.state is ForwardPhase.BLOCKED


def test_a_refused_message_lets_the_stream_rest_and_says_why_until_one_is_taken():
    stream = stream_of(status(5))
    stream.answered(None)

    stream.hold("the JetStream stream is full")

    assert (stream.next(), stream.goes_on, stream.reason) == (FetchLast(), False, "the JetStream stream is full")
    stream.answered(None)
    assert (stream.goes_on, stream.reason) == (True, "the JetStream stream is full")
    stream.stored(at(5), 1)
    assert stream.reason == ""


def test_a_reason_to_wait_ends_when_nothing_is_left_to_send():
    stream = stream_of(status(5))
    stream.answered(None)
    stream.hold("JetStream has a message with this id")

    stream.answered(at(5), 1)  # another forwarder of the same store put it there
    stream.compared(5 * 60_000)

    assert stream.next() is None
    assert stream.reason == ""


def test_what_is_behind_counts_candles_and_revisions_that_the_store_still_has():
    stream = stream_of(status(5, 2))
    assert stream.behind(status(5, 2)) == 7
    assert stream.behind(status(20, 0, first=11)) == 10
    stream.answered(at(3, 1), 7)

    assert stream.behind(status(5, 2)) == 3
    assert stream.behind(status(5, 2, store="new")) == 7
