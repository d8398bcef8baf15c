"""The receiver against a model of a server behind a network that may lose, repeat, reorder, delay and forge."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxcap.bridge.client.receiver.actions import (
    Action,
    Deliver,
    DeliverRevisions,
    Duplicate,
    RequestCandles,
    RequestRevisions,
    RequestStatus,
    Restart,
    SkipGap,
)
from fluxcap.bridge.client.receiver.receiver import ReceiverState, StreamReceiver
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
from tests.support.examples import examples

KEY = StreamKey("SIM", "EURUSD", "1s")
PAGE = 7
SECOND_NS = 1_000_000_000


@dataclass
class Server:
    """The truth: a store with an identity, its candles and its revisions."""

    store_id: str
    began_ts_ms: int
    rows: list[tuple[float, ...]] = field(default_factory=list)
    revisions: list[tuple[int, tuple[float, ...]]] = field(default_factory=list)
    oldest: int = 1

    def make(self, count: int) -> CandleBatch:
        start = len(self.rows) + 1
        for sequence in range(start, start + count):
            self.rows.append((self.began_ts_ms + 1000 * sequence, 1.0, 2.0, 0.5, float(sequence), 3.0, 3, 0))
        return CandleBatch(KEY, start, self.candles(start, count))

    def revise(self, sequence: int) -> CandleRevision:
        row = self.rows[sequence - 1]
        better = (*row[:4], row[4] + 0.25, *row[5:7], 8)
        self.rows[sequence - 1] = better
        self.revisions.append((sequence, better))
        number = len(self.revisions)
        page = self.revision_page(number - 1, 1)
        return CandleRevision(KEY, number, page.sequences, page.candles)

    def candles(self, start: int, count: int) -> CandleArray:
        return np.array(self.rows[start - 1 : start - 1 + count], dtype=CANDLE_DTYPE)

    def status(self) -> StreamStatus:
        latest = self.rows[-1][0] if self.rows else 0
        first = self.oldest if self.rows else 0
        return StreamStatus(KEY, len(self.rows), int(latest), 0, first, self.store_id, len(self.revisions))

    def page(self, after: int, limit: int) -> BackfillCandlesResponse:
        start = max(after + 1, self.oldest)
        rows = self.candles(start, limit)
        return BackfillCandlesResponse(KEY, start, rows, start + len(rows) <= len(self.rows), start + len(rows))

    def revision_page(self, after: int, limit: int) -> RevisionsResponse:
        part = self.revisions[after : after + limit]
        return RevisionsResponse(
            KEY,
            after + 1,
            np.array([s for s, _ in part], dtype=np.uint64),
            np.array([row for _, row in part], dtype=CANDLE_DTYPE),
            after + len(part) < len(self.revisions),
            after + 1 + len(part),
        )


class World:
    """One client, one server, and what is under way between them."""

    def __init__(self, seed: int, buffer_rows: int = 40) -> None:
        self.random = random.Random(seed)
        self.now_ns = 0
        self.stores = 1
        self.server = Server("store-1", 0)
        self.receiver = StreamReceiver(Backoff(self.random.random), page_limit=PAGE, buffer_rows=buffer_rows)
        self.live: list[CandleBatch | StreamStatus | CandleRevision] = []
        self.asked: Action | None = None
        self.table: dict[int, tuple[float, ...]] = {}
        self.last_ts_ms = 0
        self.next_sequence = 1
        self.fresh = True
        self.lost: list[tuple[int, int]] = []
        self.steps = 0
        self.carry_out(self.receiver.on_connected(self.now_ns))

    def carry_out(self, actions: list[Action]) -> None:
        self.steps += 1
        for action in actions:
            match action:
                case Deliver(start, candles, _):
                    if self.fresh:  # begins with the oldest that the server keeps
                        self.next_sequence, self.fresh = max(start, self.next_sequence), False
                    assert start == self.next_sequence, "out of order, or twice"
                    for row in candles.tolist():
                        assert row[0] > self.last_ts_ms
                        self.table[self.next_sequence] = row
                        self.last_ts_ms = row[0]
                        self.next_sequence += 1
                case DeliverRevisions(_, sequences, candles):
                    for sequence, row in zip(sequences.tolist(), candles.tolist(), strict=True):
                        forgotten = sequence < self.server.oldest
                        assert forgotten or sequence < self.next_sequence, "a correction before its candle"
                        if sequence in self.table:
                            self.table[sequence] = row
                case SkipGap(first, last, _):
                    assert self.fresh or first == self.next_sequence
                    self.fresh = False
                    self.lost.append((first, last))
                    self.next_sequence = last + 1
                case Restart():
                    self.table.clear()
                    self.lost.clear()
                    self.last_ts_ms, self.next_sequence, self.fresh = 0, 1, True
                case RequestStatus() | RequestCandles() | RequestRevisions():
                    assert self.asked is None, "two requests under way"
                    self.asked = action
                case _:
                    assert isinstance(action, Duplicate) or action.count > 0

    def hear(self, message: CandleBatch | StreamStatus | CandleRevision) -> None:
        match message:
            case CandleBatch():
                self.carry_out(self.receiver.on_batch(message, self.now_ns))
            case StreamStatus():
                self.carry_out(self.receiver.on_heartbeat(message, self.now_ns))
            case CandleRevision():
                self.carry_out(self.receiver.on_revision(message, self.now_ns))

    def answer(self, *, empty: bool = False) -> None:
        asked, self.asked = self.asked, None
        match asked:
            case RequestStatus():
                self.carry_out(self.receiver.on_status(self.server.status(), self.now_ns))
            case RequestCandles(after, limit):
                page = self.server.page(after, 0 if empty else limit)
                self.carry_out(self.receiver.on_page(page, self.now_ns))
            case RequestRevisions(after, limit):
                revisions = self.server.revision_page(after, 0 if empty else limit)
                self.carry_out(self.receiver.on_revisions(revisions, self.now_ns))
            case _:
                pass

    def fail(self) -> None:
        if self.asked is not None:
            self.asked = None
            self.carry_out(self.receiver.on_failed(self.now_ns))

    def reconnect(self) -> None:
        self.carry_out(self.receiver.on_disconnected(self.now_ns))
        self.asked = None
        self.live.clear()
        self.carry_out(self.receiver.on_connected(self.now_ns))

    def replace_store(self) -> None:
        self.stores += 1
        self.server = Server(f"store-{self.stores}", 1_000_000 * self.stores)
        self.reconnect()

    def do(self, fault: str, size: int) -> None:
        pick = self.random.randrange
        match fault:
            case "produce":
                self.live.append(self.server.make(1 + size % 5))
            case "heartbeat":
                self.live.append(self.server.status())
            case "revise" if self.server.rows:
                self.live.append(self.server.revise(1 + size % len(self.server.rows)))
            case "hear" if self.live:
                self.hear(self.live.pop(0))
            case "hear out of order" if self.live:
                self.hear(self.live.pop(pick(len(self.live))))
            case "hear twice" if self.live:
                self.hear(self.live[pick(len(self.live))])
            case "lose" if self.live:
                self.live.pop(pick(len(self.live)))
            case "answer":
                self.answer()
            case "answer nothing":
                self.answer(empty=True)
            case "fail":
                self.fail()
            case "time":
                self.now_ns += size * 20_000_000
                self.carry_out(self.receiver.on_time(self.now_ns))
            case "server restarts":
                self.reconnect()
            case "store replaced":
                self.replace_store()
            case "forge":
                far = self.server.candles(1, 1)
                self.hear(CandleBatch(KEY, len(self.server.rows) + 1000 + size, far))
            case "forget old" if self.server.rows:
                self.server.oldest = min(self.server.oldest + size % 10, len(self.server.rows))
            case _:
                pass

    def settle(self, most_steps: int) -> int:
        """Let everything through until nothing is left to do; the number of rounds it took."""
        for step in range(most_steps):
            while self.live:
                self.hear(self.live.pop(0))
            self.hear(self.server.status())
            if self.asked is not None:
                self.answer()
            elif self.receiver.state is ReceiverState.LIVE and self.receiver.cursor.store_id == self.server.store_id:
                return step
            self.now_ns += SECOND_NS
            self.carry_out(self.receiver.on_time(self.now_ns))
        raise AssertionError(f"not settled after {most_steps} rounds: {self.receiver.state}")


HONEST = ["produce", "heartbeat", "hear", "answer", "time", "revise"]
FAULTS = ["hear out of order", "hear twice", "lose", "answer nothing", "fail", "server restarts"]


def plays(*names: str) -> st.SearchStrategy[list[tuple[str, int]]]:
    return st.lists(st.tuples(st.sampled_from(names), st.integers(0, 60)), max_size=120)


@settings(max_examples=examples(120), deadline=None)
@given(plays(*HONEST, *FAULTS), st.integers(0, 2**16))
def test_any_interleaving_of_faults_ends_with_the_servers_sequence_in_order_once_each(
    play: list[tuple[str, int]], seed: int
) -> None:
    world = World(seed)
    for fault, size in play:
        world.do(fault, size)

    world.settle(60 + 4 * len(world.server.rows))

    assert world.table == dict(enumerate(world.server.rows, start=1))
    assert world.lost == []


@settings(max_examples=examples(120), deadline=None)
@given(plays(*HONEST, *FAULTS, "store replaced", "forge"), st.integers(0, 2**16))
def test_a_store_created_anew_replaces_all_that_was_delivered(play: list[tuple[str, int]], seed: int) -> None:
    world = World(seed)
    for fault, size in play:
        world.do(fault, size)
    world.server.make(3)

    world.settle(80 + 4 * len(world.server.rows))

    assert world.receiver.cursor.store_id == world.server.store_id
    assert world.table == dict(enumerate(world.server.rows, start=1))


@settings(max_examples=examples(120), deadline=None)
@given(plays(*HONEST, *FAULTS, "forget old"), st.integers(0, 2**16))
def test_what_the_server_forgot_is_announced_and_the_rest_delivered(play: list[tuple[str, int]], seed: int) -> None:
    world = World(seed)
    for fault, size in play:
        world.do(fault, size)

    world.settle(60 + 4 * len(world.server.rows))

    lost = {sequence for first, last in world.lost for sequence in range(first, last + 1)}
    assert lost.isdisjoint(world.table)
    kept = dict(enumerate(world.server.rows, start=1))
    assert all(kept[sequence] == row for sequence, row in world.table.items() if sequence >= world.server.oldest)
    missed = set(kept) - set(world.table) - lost
    assert all(sequence < min(world.table, default=len(kept) + 1) for sequence in missed), "a gap not announced"
    assert all(sequence < world.server.oldest for sequence in missed | lost)


@settings(max_examples=examples(30), deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 40))
def test_a_server_that_answers_nothing_is_asked_at_the_pace_of_the_backoff(seed: int, seconds: int) -> None:
    world = World(seed)
    world.answer()
    world.server.make(5)
    world.hear(world.server.status())
    requests = 0

    for _ in range(seconds * 100):
        if world.asked is not None:
            requests += 1
            world.answer(empty=True)
        world.now_ns += 10_000_000
        world.carry_out(world.receiver.on_time(world.now_ns))

    assert requests <= 2 * (8 + 2 * seconds)
