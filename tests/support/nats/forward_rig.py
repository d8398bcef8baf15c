"""What the tests of the forwarder share: stores to forward, and what the log must hold by them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from fluxcap.bridge.jetstream.address import NatsAddress, parse_address
from fluxcap.bridge.jetstream.admin import SetupResult, StreamConfig, set_up
from fluxcap.bridge.jetstream.connection import close_connection, open_connection
from fluxcap.bridge.jetstream.forward.forwarder import Forwarder
from fluxcap.bridge.jetstream.forward.source import StoreSource
from fluxcap.bridge.jetstream.forward.status import ForwardState, ForwardStatus
from fluxcap.bridge.jetstream.stream import JetStreamApi, StoredMessage
from fluxcap.bridge.jetstream.subjects import STREAM_NAME, parse_subject, position_of
from fluxcap.bridge.server.server import WireServer
from fluxcap.schemas.codec import decode
from fluxcap.schemas.types import (
    CANDLE_DTYPE,
    Candle,
    CandleArray,
    CandleBatch,
    CandleRevision,
    StreamKey,
    candle_array,
)
from tests.support.patience import PATIENCE_S

MINUTE_MS = 60_000


def candle(n: int, price: float = 1.0) -> Candle:
    """The candle of minute ``n``."""
    return Candle(MINUTE_MS * n, price, price + 1, price - 0.5, price + 0.5, 3.0, 3)


def minutes(first: int, last: int) -> CandleArray:
    """Candles of the minutes ``first`` to ``last``, each with prices of its own."""
    return candle_array([candle(n, 1 + n / 1_000) for n in range(first, last + 1)])


class Desk:
    """A store with its wire server and, while one is started, a forwarder. A context manager."""

    def __init__(self, folder: Path, url: str, credentials: Path | None = None) -> None:
        self.folder = folder
        self.address = parse_address(url, credentials)
        self.server = WireServer(folder / "fluxcap.duckdb", "tcp://127.0.0.1:0", "tcp://127.0.0.1:0")
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.sources: list[StoreSource] = []
        self._forwarders: list[Forwarder] = []

    def forward(self, data_dir: Path | None = None, *, start: bool = True) -> Forwarder:
        """A forwarder of this store. ``data_dir``: where it remembers; None: the desk's own folder."""
        source = StoreSource(self.server.pages(), self.server.status)
        forwarder = Forwarder(
            source,
            self.address,
            data_dir or self.folder,
            on_event=lambda notice, fields: self.told.append((notice.name, dict(fields))),
        )
        self.sources.append(source)
        self._forwarders.append(forwarder)
        return forwarder.start() if start else forwarder

    def publish(self, key: StreamKey, first: int, last: int) -> None:
        self.server.publish({key: minutes(first, last)})
        self._news()

    def revise(self, key: StreamKey, *numbers: int, price: float = 9.0) -> None:
        self.server.revise({key: candle_array([candle(n, price) for n in numbers])})
        self._news()

    def _news(self) -> None:
        for source in self.sources:
            source.notify()

    def notices(self) -> list[str]:
        return [name for name, _ in self.told]

    def __enter__(self) -> Desk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for forwarder in self._forwarders:
            forwarder.stop()
        self.server.close()


def await_current(forwarder: Forwarder, timeout_s: float = PATIENCE_S) -> ForwardStatus:
    """Until all that the store has is on the log."""
    return await_view(forwarder, lambda view: view.state is ForwardState.UP_TO_DATE and not view.behind, timeout_s)


def await_view(
    forwarder: Forwarder, condition: Callable[[ForwardStatus], bool], timeout_s: float = PATIENCE_S
) -> ForwardStatus:
    view = forwarder.await_view(condition, timeout_s)
    assert condition(view), view
    return view


def make_stream(address: NatsAddress, **wanted: Any) -> SetupResult:
    return asyncio.run(set_up(address, StreamConfig(**wanted)))


def ask_log(address: NatsAddress, what: str, question: dict[str, Any] | None = None) -> Any:
    """A question of JetStream's own API."""

    async def ask() -> Any:
        client = await open_connection(address, "test")
        try:
            return await JetStreamApi(client, timeout_s=30).request(what, question or {})
        finally:
            await close_connection(client)

    return asyncio.run(ask())


def read_log(address: NatsAddress, stream: str = STREAM_NAME) -> dict[StreamKey, list[StoredMessage]]:
    """All messages of the log by stream, in order."""

    async def read() -> list[StoredMessage | None]:
        client = await open_connection(address, "test")
        try:
            access = JetStreamApi(client, stream, timeout_s=30)
            state = await access.state()
            found: list[StoredMessage | None] = []
            for start in range(max(state.first_position, 1), state.last_position + 1, 200):
                numbers = range(start, min(start + 200, state.last_position + 1))
                found += await asyncio.gather(*(_message(access, number) for number in numbers))
            return found
        finally:
            await close_connection(client)

    messages: dict[StreamKey, list[StoredMessage]] = {}
    for message in asyncio.run(read()):
        if message is not None:
            messages.setdefault(parse_subject(message.subject), []).append(message)
    return messages


async def _message(access: JetStreamApi, number: int) -> StoredMessage | None:
    return await access._message({"seq": number})


def fold(messages: Sequence[StoredMessage], *, from_sequence: int = 1, from_revision: int = 1) -> CandleArray:
    """The candles that a stream's messages come to. Each must follow the one before it and say where it stands."""
    candles = np.empty(0, CANDLE_DTYPE)
    next_revision = from_revision
    for message in messages:
        told, stands = decode(message.payload).message, position_of(message.headers)
        if isinstance(told, CandleBatch):
            assert told.start_sequence == from_sequence + len(candles), "a batch repeats, or is missing"
            candles = np.concatenate([candles, told.candles])
        else:
            assert isinstance(told, CandleRevision)
            assert told.start_revision == next_revision, "a revision repeats, or is missing"
            next_revision += len(told.candles)
            for sequence, better in zip(told.sequences, told.candles, strict=True):
                if sequence:
                    candles[int(sequence) - from_sequence] = better
        assert stands.latest_sequence == from_sequence + len(candles) - 1
        assert stands.latest_ts_ms == candles["ts_ms"][-1]
        assert stands.latest_revision == next_revision - 1
    return candles


def assert_log_is_store(address: NatsAddress, server: WireServer) -> int:
    """Every candle and revision of the store is on the log, once, in order; how many messages that took."""
    messages = read_log(address)
    reader = server.store.reader()
    marks = {key: mark for key, mark in server.store.watermarks().items() if mark.latest_sequence}
    assert set(messages) == set(marks)
    for key, mark in marks.items():
        candles = fold(messages[key])
        kept = reader.page(key, None, None, 10_000_000).candles
        assert len(candles) == mark.latest_sequence
        assert candles.tobytes() == kept.tobytes(), f"{key}: the log is not the store"
        assert position_of(messages[key][-1].headers).latest_revision == mark.latest_revision
    return sum(map(len, messages.values()))
