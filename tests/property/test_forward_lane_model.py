"""Any number of forwarders of one store against a log that loses answers, and a store that goes on: once, in order.

The model has one subject. A message is taken only if it names the subject's last position, as JetStream does it. What
the forwarder does is left to the real lane; here are the store, the log and everything that can happen to them.
"""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from bridge.jetstream.forward_lane import Ask, Compare, ForwardLane, LaneState, Remembered, SendCandles, SendRevisions
from bridge.jetstream.subjects import Position
from schemas.types import StreamKey, StreamStatus

KEY = StreamKey("MODEL", "EURUSD", "1m")
MINUTE_MS = 60_000


class Log:
    """``messages``: (position in the log, what each says of itself, the range of numbers it brings)."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, Position, range, range]] = []
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


class World:
    def __init__(self, forwarders: int) -> None:
        self.log = Log()
        self.store = StreamStatus(KEY, store_id="store")
        self.lanes = [ForwardLane(KEY) for _ in range(forwarders)]
        self.disks: list[Remembered | None] = [None] * forwarders

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
        lane = self.lanes[number]
        lane.stands(self.store)
        match lane.next():
            case None:
                return False
            case Ask():
                position, stands, *_ = self.log.messages[-1] if self.log.messages else (0, None)
                lane.answered(stands, position)
            case Compare(sequence):
                lane.compared(sequence * MINUTE_MS)
            case SendCandles(after):
                to = min(self.store.latest_sequence, after + most)
                reached = msgspec.structs.replace(
                    lane.position,
                    latest_sequence=to,
                    latest_ts_ms=to * MINUTE_MS,
                    first_sequence=lane.position.first_sequence or after + 1,
                )
                self._send(lane, fate, reached, range(after + 1, to + 1), range(0))
            case SendRevisions(after, to):
                to = min(to, after + most)
                reached = msgspec.structs.replace(lane.position, latest_revision=to)
                self._send(lane, fate, reached, range(0), range(after + 1, to + 1))
        return True

    def _send(self, lane: ForwardLane, fate: str, reached: Position, candles: range, revisions: range) -> None:
        if fate == "message lost":
            lane.doubt()
            return
        position = self.log.take(lane.log_position, reached, candles, revisions)
        if fate == "answer lost" or not position:
            lane.doubt()
        else:
            lane.stored(reached, position)

    def kill(self, number: int, *, remembers: bool) -> None:
        if not remembers:
            self.disks[number] = None
        self.lanes[number] = ForwardLane(KEY, self.disks[number])

    def remember(self, number: int) -> None:
        self.disks[number] = self.lanes[number].to_remember


FATES = st.sampled_from(["well", "well", "well", "message lost", "answer lost"])
WHO = st.integers(0, 2)
HAPPENINGS = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), st.integers(0, 5), st.integers(0, 3)),
        st.tuples(st.just("step"), WHO, FATES, st.integers(1, 4)),
        st.tuples(st.just("step"), WHO, FATES, st.integers(1, 4)),
        st.tuples(st.just("kill"), WHO, st.booleans()),
        st.tuples(st.just("remember"), WHO),
        st.tuples(st.just("doubt"), WHO),
    ),
    max_size=80,
)


@given(HAPPENINGS)
def test_whatever_happens_the_log_has_all_of_it_once_and_in_order(happenings: list[tuple]):  # type: ignore[type-arg]
    world = World(3)
    for what, *given_ in happenings:
        match what:
            case "commit":
                world.commit(*given_)
            case "step":
                world.step(*given_)
            case "kill":
                world.kill(given_[0], remembers=given_[1])
            case "remember":
                world.remember(*given_)
            case "doubt":
                world.lanes[given_[0]].doubt()

    for number in range(3):
        while world.step(number, "well", 2):
            pass

    sequences = [n for _, _, candles, _ in world.log.messages for n in candles]
    revisions = [n for _, _, _, those in world.log.messages for n in those]
    assert sequences == list(range(1, world.store.latest_sequence + 1))
    assert revisions == list(range(1, world.store.latest_revision + 1))
    assert all(lane.state is not LaneState.BLOCKED for lane in world.lanes)
    assert all(lane.behind(world.store) == 0 for lane in world.lanes)
    if world.log.messages:
        reached = world.log.messages[-1][1]
        assert (reached.latest_sequence, reached.latest_revision) == (len(sequences), len(revisions))
