"""What a session sends of what the source gives; the log is a stand-in that takes everything."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from fluxcap.bridge.jetstream.forward import session as forward_session
from fluxcap.bridge.jetstream.forward.checkpoint import ForwardCheckpoint
from fluxcap.bridge.jetstream.forward.session import ForwardSession
from fluxcap.bridge.jetstream.forward.stream_state import CheckpointEntry, StreamForwardState
from fluxcap.bridge.jetstream.publisher import Ack, PublishError
from fluxcap.bridge.jetstream.stream import StreamInfo
from fluxcap.bridge.jetstream.subjects import Position
from fluxcap.schemas.candles import CandlePage, RevisionPage
from fluxcap.schemas.codec import decode
from fluxcap.schemas.errors import NatsRejected, NatsUnavailable, StoreError
from fluxcap.schemas.types import CandleBatch, CandleRevision, StreamKey, StreamStatus
from tests.support.nats.forward_rig import minutes

KEY = StreamKey("DESK", "EURUSD", "1m")
MET = "2026-11-22T08:00:00Z"


class Source:
    """A store with this many candles and revisions, of which it may have more than it has said."""

    error = ""

    def __init__(self, candles: int, revisions: int, *, hidden_revisions: int = 0, fails: int = 0) -> None:
        self.status = StreamStatus(KEY, candles, candles * 60_000, 0, 1, "store", revisions)
        self._revisions = revisions + hidden_revisions
        self._fails = fails

    def statuses(self) -> dict[StreamKey, StreamStatus]:
        return {KEY: self.status}

    async def candles(self, key: StreamKey, after_sequence: int, limit: int) -> CandlePage:
        if self._fails:
            self._fails -= 1
            raise StoreError("The store is busy.")
        return CandlePage(
            after_sequence + 1, minutes(after_sequence + 1, min(self.status.latest_sequence, after_sequence + limit))
        )

    async def revisions(self, key: StreamKey, after_revision: int, limit: int) -> RevisionPage:
        last = min(self._revisions, after_revision + limit)
        numbers = np.arange(after_revision + 1, last + 1, dtype=np.uint64)
        return RevisionPage(after_revision + 1, numbers, minutes(after_revision + 1, last))


class Log:
    """Writer and access in one. ``answers``: what the first messages are answered; then they are taken."""

    created = MET

    def __init__(self, *answers: Ack) -> None:
        self.taken: list[Any] = []
        self.heartbeats: list[StreamStatus] = []
        self._answers = list(answers)
        self.stream = "FLUX"

    async def state(self) -> StreamInfo:
        return StreamInfo(self.created, len(self.taken), 1, len(self.taken), 1, False)

    async def last(self, subject: str) -> None:
        return None

    async def publish(self, subject: str, payload: bytes, headers: dict[str, str]) -> Ack:
        if self._answers:
            return self._answers.pop(0)
        self.taken.append(decode(payload).message)
        return Ack(len(self.taken))

    async def send_unstored(self, subject: str, payload: bytes) -> None:
        told = decode(payload).message
        assert isinstance(told, StreamStatus)
        self.heartbeats.append(told)

    def on_disconnected(self) -> None: ...


def memory_of(*streams: StreamForwardState) -> ForwardCheckpoint:
    """What is known of the log as it was met."""
    memory = ForwardCheckpoint(None)
    memory.bind_stream("FLUX", MET)
    memory.streams.update({stream.key: stream for stream in streams})
    return memory


def run(
    source: Source, log: Log, until: Callable[[], bool], memory: ForwardCheckpoint | None = None
) -> tuple[Counter[str], ForwardSession]:
    """A session until something holds."""
    counters: Counter[str] = Counter()
    made: list[ForwardSession] = []

    async def work() -> None:
        session = ForwardSession(log, log, source, memory or memory_of(), counters, lambda notice, fields: None)  # type: ignore[arg-type]
        made.append(session)

        def look() -> None:
            session.stop() if until() else session.wake()

        async with asyncio.timeout(20):
            await session.run(look)

    asyncio.run(work())
    return counters, made[0]


def sent(log: Log) -> list[tuple[str, int, int]]:
    def of(message: CandleBatch | CandleRevision) -> tuple[str, int, int]:
        if isinstance(message, CandleBatch):
            return "candles", message.start_sequence, len(message.candles)
        return "revisions", message.start_revision, len(message.candles)

    return [of(message) for message in log.taken]


def test_candles_go_first_and_revisions_only_as_far_as_the_candles_they_may_name():
    log = Log()

    run(Source(700, 2, hidden_revisions=5), log, lambda: len(log.taken) == 3)

    assert sent(log) == [("candles", 1, 500), ("candles", 501, 200), ("revisions", 1, 2)]


@pytest.mark.costly
def test_a_source_that_fails_is_asked_again():
    log = Log()

    counters, session = run(Source(3, 0, fails=2), log, lambda: len(log.taken) == 1)

    assert sent(log) == [("candles", 1, 3)]
    assert counters["candles"] == 3
    assert session.source_error == ""


@pytest.mark.costly
@pytest.mark.parametrize(
    ("answer", "counter"),
    [
        (Ack(error=PublishError.OUT_OF_ORDER), "overtaken"),
        (Ack(7, duplicate=True), "duplicates"),
        (Ack(error=PublishError.FULL, text="full"), "refused"),
        (Ack(error=PublishError.OTHER, text="?"), "refused"),
    ],
)
def test_what_was_not_taken_is_sent_again_after_the_log_was_asked(answer: Ack, counter: str):
    log = Log(answer)

    counters, _ = run(Source(3, 0), log, lambda: len(log.taken) == 1)

    assert sent(log) == [("candles", 1, 3)]
    assert counters[counter] == 1


def test_a_missing_stream_ends_the_session():
    with pytest.raises(NatsRejected, match="fluxcap forward --setup"):
        run(Source(3, 0), Log(Ack(error=PublishError.NO_STREAM, text="nobody")), lambda: False)


def test_heartbeats_tell_what_the_log_has_and_how_the_feed_does():
    log, source = Log(), Source(3, 0)
    source.status = msgspec.structs.replace(source.status, feed_state=4, last_tick_ts_ms=5)

    run(source, log, lambda: len(log.heartbeats) > 0)

    [told, *_] = log.heartbeats
    assert (told.store_id, told.feed_state, told.last_tick_ts_ms) == ("store", 4, 5)
    assert told.latest_sequence in (0, 3)


def test_a_log_made_anew_ends_the_session_before_anything_follows_what_the_old_one_had():
    stream = StreamForwardState(KEY, CheckpointEntry(Position("store", 3, 180_000, 0, 1), 77))
    log = Log()
    log.created = "2026-11-22T09:00:00Z"

    with pytest.raises(NatsUnavailable, match="recreated"):
        run(Source(5, 0), log, lambda: bool(log.taken), memory_of(stream))

    assert log.taken == []


def test_a_log_made_anew_is_noticed_while_nothing_is_sent(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(forward_session, "STREAM_CHECK_S", 0.0)
    log = Log()
    log.created = "2026-11-22T09:00:00Z"

    with pytest.raises(NatsUnavailable, match="recreated"):
        run(Source(0, 0), log, lambda: False)


def test_a_lost_connection_ends_the_session():
    async def work() -> None:
        log = Log()
        session = ForwardSession(
            log, log, Source(0, 0), ForwardCheckpoint(None), Counter(), lambda notice, fields: None
        )  # type: ignore[arg-type]
        session.on_disconnected()
        await session.run(lambda: None)

    with pytest.raises(NatsUnavailable, match="ended"):
        asyncio.run(work())
