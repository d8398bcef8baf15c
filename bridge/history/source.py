"""The sources of history: a running server over the wire, or a store file that nobody has open.

Both have the same questions and the same answers, so that whoever asks need not know which of them it is.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from fluxcap.bridge.client.fetch import RequestConnection
from fluxcap.bridge.client.options import connect_requests, endpoints
from fluxcap.bridge.http.run_file import read_run_file
from fluxcap.bridge.system.folders import STORE_FILE, default_data_dir
from fluxcap.bridge.transport.curve import ClientCurve
from fluxcap.schemas.errors import ConfigError, NotKnown, StoreLocked, WireError, WireTimeout
from fluxcap.schemas.types import (
    CANDLE_DTYPE,
    CandleArray,
    Gap,
    GapsRequest,
    GapsResponse,
    HistoryRequest,
    HistoryResponse,
    ListStreamsRequest,
    ListStreamsResponse,
    Message,
    StreamKey,
)

if TYPE_CHECKING:
    from fluxcap.bridge.store.offline import OfflineStore

_Answer = TypeVar("_Answer")
_one_at_a_time = threading.Lock()
"""A process opens a store file once; a second thread waits for the first."""


class Range(msgspec.Struct, frozen=True):
    """Candles that begin in ``[from_ms, to_ms)`` (UTC ms; ``to_ms`` None: up to the newest), as they stand.

    Or as they had been told by ``as_of_ms``.
    """

    from_ms: int = 0
    to_ms: int | None = None
    as_of_ms: int | None = None


class HistorySource(Protocol):
    """Raises NotKnown, StoreError; of a server WireError, WireTimeout, CodecError. ``name``: of the file or server."""

    name: str

    def streams(self) -> list[StreamKey]:
        """The streams that have candles."""

    def candles(self, key: StreamKey, span: Range) -> tuple[CandleArray, npt.NDArray[np.uint64]]:
        """Ascending by time, with their sequences; 0 for a minute the main stream never had."""

    def first_from(self, key: StreamKey, from_ms: int, as_of_ms: int | None) -> int | None:
        """Begin (UTC ms) of the first candle from a time on; None without any."""

    def gaps(self, key: StreamKey, span: Range) -> list[Gap]:
        """Those of the stream's symbol that touch the time, by their begin."""


class ServerHistory:
    """A running server. See HistorySource."""

    def __init__(self, server: RequestConnection, name: str) -> None:
        self._server = server
        self.name = name

    def streams(self) -> list[StreamKey]:
        found = self._server.request(ListStreamsRequest(), ListStreamsResponse).streams
        return [status.key for status in found if status.latest_sequence]

    def candles(self, key: StreamKey, span: Range) -> tuple[CandleArray, npt.NDArray[np.uint64]]:
        pages = list(self._pages(key, span))
        if not pages:
            return np.empty(0, CANDLE_DTYPE), np.empty(0, np.uint64)
        sequences = np.concatenate([page.sequences for page in pages])
        candles = np.empty(len(sequences), CANDLE_DTYPE)
        at = 0
        for page in pages:
            candles[at : at + len(page.candles)] = page.candles
            at += len(page.candles)
        return candles, sequences

    def first_from(self, key: StreamKey, from_ms: int, as_of_ms: int | None) -> int | None:
        found = next(self._pages(key, Range(from_ms, None, as_of_ms), limit=1), None)
        return None if found is None else int(found.candles["ts_ms"][0])

    def gaps(self, key: StreamKey, span: Range) -> list[Gap]:
        request = GapsRequest(key.source_id, key.symbol, span.from_ms, span.to_ms or 0, span.as_of_ms)
        return [change.gap for change in self._ask(request, GapsResponse).gaps]

    def _pages(self, key: StreamKey, span: Range, limit: int = 0) -> Iterator[HistoryResponse]:
        """The pages with candles."""
        from_ms = span.from_ms
        while True:
            request = HistoryRequest(key, from_ms, span.to_ms or 0, span.as_of_ms, limit)
            page = self._ask(request, HistoryResponse)
            if len(page.candles):
                yield page
            if page.next_ms <= from_ms:
                return
            from_ms = page.next_ms

    def _ask(self, request: Message, kind: type[_Answer]) -> _Answer:
        try:
            return self._server.request(request, kind)
        except WireError as error:
            if error.code == 410:
                raise NotKnown(str(error).removesuffix(f" (wire error {error.code})")) from None
            if error.code in (400, 426):
                raise WireError(error.code, f"The fluxcap at {self.name} has no history yet; upgrade it.") from None
            raise


class StoppedHistory:
    """A store file that nobody has open. See HistorySource."""

    def __init__(self, store: OfflineStore, name: str) -> None:
        self._store = store
        self.name = name

    def streams(self) -> list[StreamKey]:
        return [held.key for held in self._store.streams() if held.candles]

    def candles(self, key: StreamKey, span: Range) -> tuple[CandleArray, npt.NDArray[np.uint64]]:
        page = self._store.history(key, span.from_ms, span.to_ms, span.as_of_ms)
        return page.candles, page.sequences

    def first_from(self, key: StreamKey, from_ms: int, as_of_ms: int | None) -> int | None:
        return self._store.first_from(key, from_ms, as_of_ms)

    def gaps(self, key: StreamKey, span: Range) -> list[Gap]:
        changes = self._store.told_gaps(key.source_id, key.symbol, span.from_ms, span.to_ms, span.as_of_ms)
        return [change.gap for change in changes]


@contextlib.contextmanager
def open_source(source: str | Path | None, timeout: float, curve: ClientCurve | None) -> Iterator[HistorySource]:
    """A server by its address, or the store of a data folder: from the daemon that holds it, else from the file.

    ``source`` None: the server that the environment names, else the usual data folder, else the usual address. Raises
    ConfigError, StoreError, WireTimeout.
    """
    if isinstance(source, str) and "://" in source:
        if not source.startswith("tcp://"):
            raise ConfigError(f"history() reads a daemon (tcp://…) or a data folder, not {source}.")
        with _server(source, timeout, curve) as server:
            yield server
    elif source is not None:
        path = Path(source)
        path = path / STORE_FILE if path.is_dir() else path
        if not path.is_file():
            raise ConfigError(f"There is no store at {path}; name a data folder, a store file or tcp://HOST:5557.")
        with _store(path, timeout, curve, read_run_file(path.parent) is not None) as found:
            yield found
    elif os.environ.get("FLUX_CHUNK_REP"):
        with _server(endpoints()[1], timeout, curve) as server:
            yield server
    else:
        path = Path(os.environ.get("FLUXCAP_DATA_DIR") or default_data_dir()) / STORE_FILE
        if path.is_file():
            with _store(path, timeout, curve, True) as found:
                yield found
            return
        try:
            connected = contextlib.ExitStack()
            server = connected.enter_context(_server(endpoints()[1], timeout, curve))
        except WireTimeout:
            raise ConfigError(
                f"No fluxcap answers at {endpoints()[1]}, and there is no store in {path.parent}; name a data folder, "
                "a store file or tcp://HOST:5557 as source."
            ) from None
        with connected:
            yield server


@contextlib.contextmanager
def _server(address: str, timeout: float, curve: ClientCurve | None) -> Iterator[HistorySource]:
    connection = RequestConnection(connect_requests(address, timeout, curve, None))
    try:
        connection.await_connection()
        yield ServerHistory(connection, address)
    finally:
        connection.close()


@contextlib.contextmanager
def _store(path: Path, timeout: float, curve: ClientCurve | None, has_daemon: bool) -> Iterator[HistorySource]:
    """The file, or the daemon that holds it. ``has_daemon``: whether it may be one that can be asked."""
    # Only who reads a file needs DuckDB.
    from fluxcap.bridge.store.offline import OfflineStore

    with contextlib.ExitStack() as opened:
        opened.enter_context(_one_at_a_time)
        try:
            store = opened.enter_context(OfflineStore(path))
        except StoreLocked:
            if not has_daemon:
                raise
        else:
            yield StoppedHistory(store, str(path))
            return
    run = read_run_file(path.parent)
    with _server(run.rep if run is not None else endpoints()[1], timeout, curve) as server:
        yield server
