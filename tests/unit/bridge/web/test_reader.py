"""Candles by time, against the plain list of them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fluxcap.bridge.web.reader import CandleReader, ReaderTarget
from fluxcap.schemas.errors import NotAnswering, WireError, WireTimeout
from fluxcap.schemas.types import Candle, CandleFlags, StreamKey, candles_from
from tests.support.examples import examples
from tests.support.wire.memory_server import MemoryConnection, MemoryServer

MINUTE = 60_000
KEY = StreamKey("DESK", "EURUSD_otc", "1m")
BEGIN = 1_000 * MINUTE


def candle(ts_ms: int, price: float = 1.0, flags: int = 0) -> Candle:
    return Candle(ts_ms, price, price, price, price, 1.0, 1, flags)


def server_with(steps: Sequence[int], passed: Sequence[int] = (), first: int = 1) -> MemoryServer:
    """Candles so many minutes apart; in minutes that were passed over, those that a revision brought."""
    server = MemoryServer()
    times = [BEGIN]
    for step in steps:
        times.append(times[-1] + step * MINUTE)
    server.publish(KEY, map(candle, times))
    empty = sorted(set(range(times[0], times[-1], MINUTE)) - set(times))
    late = sorted({empty[at % len(empty)] for at in passed}) if empty else []
    for price, ts_ms in enumerate(late, start=2):
        server.revise(KEY, [(0, candle(ts_ms, price, CandleFlags.FILLED))])
        server.revise(KEY, [(0, candle(ts_ms, price + 0.5, CandleFlags.FILLED))])
    server.prune(KEY, first)
    return server


def reader_of(server: MemoryServer) -> tuple[CandleReader, MemoryConnection]:
    connection = MemoryConnection(server)
    return CandleReader(ReaderTarget("pub", "rep"), lambda: connection), connection  # type: ignore[arg-type, return-value]


STEPS = st.lists(st.integers(1, 4), max_size=80)
PASSED = st.lists(st.integers(0, 300), max_size=10)
TIMES = st.integers(-5, 350).map(lambda minutes: BEGIN + minutes * MINUTE // 2)
LIMITS = st.integers(1, 50)


@pytest.mark.costly
@given(STEPS, PASSED, st.integers(1, 30), TIMES, TIMES, LIMITS)
@settings(max_examples=examples(300), deadline=None)
def test_pages_of_the_oldest_hold_every_candle_of_a_time_once(
    steps: list[int], passed: list[int], first: int, from_ms: int, to_ms: int, limit: int
) -> None:
    server = server_with(steps, passed, first)
    reader, _ = reader_of(server)

    found, begin = [], from_ms
    while True:
        page = reader.oldest(KEY, begin, to_ms, limit)
        found += candles_from(page.candles)
        assert len(page.candles) <= limit
        if page.next_ms is None:
            break
        begin = page.next_ms

    view = server.streams[KEY].view()
    assert found == [view[ts_ms] for ts_ms in sorted(view) if from_ms <= ts_ms < to_ms]


# Two minutes that only revisions brought, a page of one, and a candle before the time asked for.
@pytest.mark.costly
@example([3], [0, 1], 1, BEGIN + MINUTE // 2, BEGIN + 5 * MINUTE // 2, 1)
@given(STEPS, PASSED, st.integers(1, 30), TIMES, TIMES, LIMITS)
@settings(max_examples=examples(300), deadline=None)
def test_pages_of_the_newest_hold_every_candle_of_a_time_once(
    steps: list[int], passed: list[int], first: int, from_ms: int, to_ms: int, limit: int
) -> None:
    server = server_with(steps, passed, first)
    reader, _ = reader_of(server)

    found: list[Candle] = []
    end = to_ms
    while True:
        page = reader.newest(KEY, end, limit, from_ms)
        found = [*candles_from(page.candles), *found]
        assert len(page.candles) <= limit
        if page.next_ms is None:
            break
        end = page.next_ms

    view = server.streams[KEY].view()
    assert found == [view[ts_ms] for ts_ms in sorted(view) if from_ms <= ts_ms < to_ms]


def test_each_candle_has_its_sequence_and_one_that_only_a_revision_brought_has_none() -> None:
    reader, _ = reader_of(server_with([1, 3, 1], [0]))

    page = reader.oldest(KEY, 0, None, 100)

    assert page.sequences.tolist() == [1, 2, 0, 3, 4]
    assert page.candles["close"][2] == 2.5


@pytest.mark.costly
def test_a_time_in_a_long_stream_with_nights_is_found_with_few_questions() -> None:
    server = server_with([*[1] * 20_000, 600, *[1] * 20_000, 3_000, *[1] * 20_000])
    reader, connection = reader_of(server)
    wanted = server.streams[KEY].candles[33_333].ts_ms

    page = reader.oldest(KEY, wanted, None, 10)

    assert page.sequences.tolist() == list(range(33_334, 33_344))
    assert connection.asked <= 25


def test_of_revisions_only_new_ones_are_asked_for_again() -> None:
    server = server_with([2, 2], [0])
    reader, connection = reader_of(server)
    reader.newest(KEY, None, 10)
    asked = connection.asked

    reader.newest(KEY, None, 10)

    assert connection.asked - asked == 2  # the status, and the page


def test_a_new_store_is_read_anew() -> None:
    server = server_with([2, 2], [0])
    reader, _ = reader_of(server)
    reader.newest(KEY, None, 10)

    server.replace_store()

    assert len(reader.newest(KEY, None, 10).candles) == 0


def test_a_stream_that_nobody_has_is_a_404() -> None:
    reader, _ = reader_of(MemoryServer())

    with pytest.raises(WireError, match="no stream") as raised:
        reader.oldest(KEY, 0, None, 1)

    assert raised.value.code == 404


def test_a_server_that_does_not_answer_is_said_and_the_next_question_begins_a_new_connection() -> None:
    class Dead(MemoryConnection):
        def request(self, message: object, kind: type[object]) -> object:
            raise WireTimeout("No server answers there.")

    connections = iter([Dead(MemoryServer()), MemoryConnection(server_with([1]))])
    reader = CandleReader(ReaderTarget("pub", "rep"), lambda: next(connections))  # type: ignore[arg-type, return-value]

    with pytest.raises(NotAnswering, match="No server answers there"):
        reader.streams()

    assert len(reader.streams()) == 1


def test_a_closed_reader_asks_no_more() -> None:
    reader, _ = reader_of(server_with([1]))
    reader.close()

    with pytest.raises(NotAnswering, match="stopping"):
        reader.streams()
