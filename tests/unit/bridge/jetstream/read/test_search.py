"""fluxcap.bridge.jetstream.read.search: the first message of which something holds, in few questions."""

from __future__ import annotations

import asyncio
import itertools
from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from fluxcap.bridge.jetstream.read.search import bisect_first, bisect_steps
from fluxcap.bridge.jetstream.stream import StoredMessage


class Log:
    """One subject's messages at these positions."""

    def __init__(self, positions: list[int]) -> None:
        self.positions = positions
        self.asked = 0

    async def next(self, subject: str, position: int) -> StoredMessage | None:
        self.asked += 1
        place = bisect_left(self.positions, position)
        return message(self.positions[place]) if place < len(self.positions) else None


def message(position: int) -> StoredMessage:
    return StoredMessage(position, "s", {}, b"")


def search(log: Log, low: int, wanted: int) -> int:
    found = bisect_first(log, "s", low, message(log.positions[-1]), lambda m: m.position >= wanted)
    return asyncio.run(found).position


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=60, unique=True), st.data())
def test_it_is_found_wherever_it_is(positions: list[int], data: st.DataObject) -> None:
    positions.sort()
    wanted = data.draw(st.integers(1, positions[-1]))
    low = data.draw(st.integers(1, positions[-1]))

    found = search(Log(positions), low, wanted)

    assert found == next(position for position in positions if position >= max(low, wanted))


def test_a_long_log_takes_few_questions() -> None:
    log = Log(list(range(1, 1_000_000, 3)))

    assert search(log, 1, 765_431) == 765_433
    assert log.asked <= 2 * 20 + 2


def test_what_is_near_takes_fewer() -> None:
    log = Log(list(range(1, 1_000_000)))

    assert search(log, 500_000, 500_003) == 500_003
    assert log.asked <= 8


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=60, unique=True), st.data())
def test_every_rise_is_found_and_nothing_else(positions: list[int], data: st.DataObject) -> None:
    positions.sort()
    low = data.draw(st.integers(1, positions[-1]))
    steps = data.draw(st.lists(st.integers(0, 2), min_size=len(positions), max_size=len(positions)))
    numbers = dict(zip(positions, itertools.accumulate(steps), strict=True))
    before = max((number for position, number in numbers.items() if position < low), default=0)
    if numbers[positions[-1]] == before:
        numbers[positions[-1]] += 1
    log = Log(positions)

    found = asyncio.run(bisect_steps(log, "s", low, message(positions[-1]), lambda m: numbers[m.position], before))

    at_and_before = zip(positions, [0, *numbers.values()], strict=False)
    assert [m.position for m in found] == [p for p, earlier in at_and_before if p >= low and numbers[p] > earlier]


def test_rare_rises_take_few_questions_each() -> None:
    log = Log(list(range(1, 300_000, 3)))

    found = asyncio.run(bisect_steps(log, "s", 1, message(log.positions[-1]), lambda m: m.position // 30_000, before=0))

    assert len(found) == 9
    assert log.asked <= 9 * 20


def test_the_first_message_of_a_subject_is_found_by_one_question() -> None:
    log = Log([900, 2_000, 3_000])

    assert search(log, 1, 1) == 900
    assert log.asked == 1
