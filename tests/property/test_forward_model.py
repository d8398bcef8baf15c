"""Any number of forwarders of one store against a log that loses answers, and a store that goes on: once, in order.

The model has one subject. A message is taken only if it names the subject's last position, as JetStream does it. What
the forwarder does is left to the real ``StreamForwardState``; here are the store, the log and everything that can
happen to them.
"""

from __future__ import annotations

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from fluxcap.bridge.jetstream.forward.stream_state import (
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

KEY = StreamKey("MODEL", "EURUSD", "1m")
MINUTE_MS = 60_000


class Log:
    """``messages``: (position in the log, what each says of itself, the range of numbers it brings).

    ``forgotten``: those that grew too old. ``first``: the log's first position.
    """

    def __init__(self) -> None:
        self.messages: list[tuple[int, Position, range, range]] = []
        self.forgotten: list[tuple[int, Position, range, range]] = []
        self.first = 1
        self._last = 0

    @property
    def last(self) -> int:
        return self.messages[-1][0] if self.messages else 0

    def take(self, expected_last: int, stands: Position, candles: range, revisions: range) -> int:
        """Its position, or 0 when it is refused."""
        if expected_last != self.last:
            return 0
        self._last += 3  # other subjects have messages in between
        self.messages.append((self._last, stands, candles, revisions))
        return self._last

    def lose(self, count: int, others: int) -> None:
        """A power failure takes the newest; of ``others``, other subjects' messages, so many are left behind them."""
        del self.messages[max(0, len(self.messages) - count) :]
        self._last = min(self._last, self.last + others)

    def forget(self, count: int) -> None:
        """The oldest grow too old."""
        self.forgotten += self.messages[:count]
        del self.messages[:count]
        if self.forgotten:
            self.first = self.forgotten[-1][0] + 1


class World:
    def __init__(self, forwarders: int) -> None:
        self.log = Log()
        self.store = StreamStatus(KEY, store_id="store")
        self.streams = [StreamForwardState(KEY) for _ in range(forwarders)]
        self.disks: list[CheckpointEntry | None] = [None] * forwarders

    def commit(self, candles: int, revisions: int) -> None:
        latest = self.store.latest_sequence + candles
        self.store = msgspec.structs.replace(
            self.store,
            latest_sequence=latest,
            latest_ts_ms=latest * MINUTE_MS,
            first_sequence=1 if latest else 0,
            latest_revision=self.store.latest_revision + (revisions if latest else 0),
        )

    def step(self, number: int, fate: str, most: int) -> bool:
        """One step of a forwarder; whether there was one. ``fate``: what becomes of a message and its answer."""
        stream = self.streams[number]
        stream.set_store_status(self.store)
        match stream.next():
            case None:
                return False
            case FetchLast():
                position, stands, *_ = self.log.messages[-1] if self.log.messages else (0, None)
                stream.answered(stands, position, first_position=self.log.first)
            case CompareCandle(sequence):
                stream.compared(sequence * MINUTE_MS)
            case SendCandles(after):
                to = min(self.store.latest_sequence, after + most)
                reached = msgspec.structs.replace(
                    stream.position,
                    latest_sequence=to,
                    latest_ts_ms=to * MINUTE_MS,
                    first_sequence=stream.position.first_sequence or after + 1,
                )
                self._send(stream, fate, reached, range(after + 1, to + 1), range(0))
            case SendRevisions(after, to):
                to = min(to, after + most)
                reached = msgspec.structs.replace(stream.position, latest_revision=to)
                self._send(stream, fate, reached, range(0), range(after + 1, to + 1))
        return True

    def _send(self, stream: StreamForwardState, fate: str, reached: Position, candles: range, revisions: range) -> None:
        if fate == "message lost":
            stream.invalidate()
            return
        if fate == "refused":
            stream.hold("the JetStream stream is full")
            return
        position = self.log.take(stream.stream_position, reached, candles, revisions)
        if fate == "answer lost" or not position:
            stream.invalidate()
        else:
            stream.stored(reached, position)

    def kill(self, number: int, *, remembers: bool) -> None:
        if not remembers:
            self.disks[number] = None
        self.streams[number] = StreamForwardState(KEY, self.disks[number])

    def remember(self, number: int) -> None:
        self.disks[number] = self.streams[number].checkpoint

    def lose(self, count: int, others: int) -> None:
        """With the log's server every connection ends."""
        self.log.lose(count, others)
        for stream in self.streams:
            stream.invalidate()

    def happen(self, happenings: list[tuple]) -> None:  # type: ignore[type-arg]
        """All of them; then everything goes well until all is at rest."""
        for happening in happenings:
            match happening:
                case "commit", candles, revisions:
                    self.commit(candles, revisions)
                case "step", who, fate, most:
                    self.step(who % len(self.streams), fate, most)
                case "kill", who, remembers:
                    self.kill(who % len(self.streams), remembers=remembers)
                case "remember", who:
                    self.remember(who % len(self.streams))
                case "doubt", who:
                    self.streams[who % len(self.streams)].invalidate()
                case "lose", count, others:
                    self.lose(count, others)
                case "forget", count:
                    self.log.forget(count)
        for number in range(len(self.streams)):
            while self.step(number, "well", 2):
                pass

    def assert_rest(self) -> None:
        """No forwarder waits, or holds that anything is missing."""
        assert all(stream.state is not ForwardPhase.BLOCKED and not stream.reason for stream in self.streams)
        assert all(stream.behind(self.store) == 0 for stream in self.streams)

    def assert_all_is_there(self) -> None:
        """Everything of the store, once and in order, and every forwarder knows it."""
        self.assert_rest()
        messages = self.log.messages
        sequences = [n for _, _, candles, _ in messages for n in candles]
        revisions = [n for _, _, _, those in messages for n in those]
        assert sequences == list(range(1, self.store.latest_sequence + 1))
        assert revisions == list(range(1, self.store.latest_revision + 1))
        if messages:
            reached = messages[-1][1]
            assert (reached.latest_sequence, reached.latest_revision) == (len(sequences), len(revisions))


FATES = st.sampled_from(["well", "well", "well", "message lost", "answer lost", "refused"])
WHO = st.integers(0, 2)
HAPPENINGS = [
    st.tuples(st.just("commit"), st.integers(0, 5), st.integers(0, 3)),
    st.tuples(st.just("step"), WHO, FATES, st.integers(1, 4)),
    st.tuples(st.just("step"), WHO, FATES, st.integers(1, 4)),
    st.tuples(st.just("kill"), WHO, st.booleans()),
    st.tuples(st.just("remember"), WHO),
    st.tuples(st.just("doubt"), WHO),
]
POWER_FAILURE = st.tuples(st.just("lose"), st.integers(0, 9), st.integers(0, 9))
AGEING = st.tuples(st.just("forget"), st.integers(1, 4))


@given(st.integers(1, 3), st.lists(st.one_of(*HAPPENINGS), max_size=80))
def test_whatever_happens_the_log_has_all_of_it_once_and_in_order(forwarders: int, happenings: list[tuple]):  # type: ignore[type-arg]
    world = World(forwarders)

    world.happen(happenings)

    world.assert_all_is_there()


@given(st.integers(1, 3), st.lists(st.one_of(*HAPPENINGS, POWER_FAILURE), max_size=80))
@example(1, [("commit", 3, 0), ("step", 0, "well", 4), ("step", 0, "well", 4), ("lose", 1, 0)])
def test_whatever_a_power_failure_took_is_on_the_log_again(forwarders: int, happenings: list[tuple]):  # type: ignore[type-arg]
    world = World(forwarders)

    world.happen(happenings)

    world.assert_all_is_there()


@given(st.integers(1, 3), st.lists(st.one_of(*HAPPENINGS, AGEING), max_size=80))
def test_whatever_the_log_forgot_there_is_no_hole(forwarders: int, happenings: list[tuple]):  # type: ignore[type-arg]
    """Who does not remember that it was there sends it again."""
    world = World(forwarders)

    world.happen(happenings)

    world.assert_rest()
    messages = world.log.messages
    there = [n for _, _, candles, _ in messages for n in candles]
    ever = {n for _, _, candles, _ in world.log.forgotten for n in candles} | set(there)
    latest = world.store.latest_sequence
    assert there == list(range(latest - len(there) + 1, latest + 1))
    assert ever == set(range(1, latest + 1))
