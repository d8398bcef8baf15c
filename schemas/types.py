"""The values that travel through fluxcap: ticks, candles, stream keys and the messages of the wire.

All are frozen. Times are integers with their unit in the name: ``ts_ms`` is UNIX epoch milliseconds in true UTC,
``raw_ts_ms`` the same as the platform stamped it, ``*_ns`` nanoseconds. Nothing here does I/O.

Candles in bulk are NumPy arrays of ``CANDLE_DTYPE`` (shape ``(n,)``), so that ten thousand of them cost no Python
object each; ``Candle`` is one of them as a value.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from fluxcap.schemas.errors import ConfigError

WIRE_SCHEMA_VERSION = 2
"""The highest envelope version this code reads and writes. Version-1 messages still say 1: see codec/envelope.py."""

CANDLE_DTYPE = np.dtype(
    [
        ("ts_ms", "<i8"),
        ("open", "<f8"),
        ("high", "<f8"),
        ("low", "<f8"),
        ("close", "<f8"),
        ("volume", "<f8"),
        ("tick_count", "<u4"),
        ("flags", "<u2"),
    ]
)
"""One candle a row, in the wire's field order. Packed, little-endian."""

CandleArray: TypeAlias = npt.NDArray[np.void]
"""Shape ``(n,)``, dtype ``CANDLE_DTYPE``."""


class CandleFlags(enum.IntFlag):
    """The origin of a candle. 0 is a complete candle made from live ticks."""

    NONE = 0
    JOINED_LATE = 1
    """The first bucket after an attach: it began before the attach, so its open is not known."""
    BLIND = 2
    """Part of the bucket had no working feed: high, low and close may miss ticks."""
    FILLED = 4
    """Made from, or completed with, the platform's own history."""
    REVISED = 8
    """Differs from what was first published under this sequence."""


class FeedState(enum.IntEnum):
    """The state of a stream's feed; the ``feed_state`` byte of StreamStatusResponse.

    The list grows: ``FeedState(byte)`` is UNKNOWN for a byte of a newer server's.
    """

    UNKNOWN = 0
    NO_BROWSER = 1
    """No connection to Chrome."""
    NO_SOCKET = 2
    """Chrome is there, but no socket of the platform has sent anything since."""
    UNSYNCHRONISED = 3
    """Ticks arrive, but the platform's clock offset is not known yet; nothing is published."""
    LIVE = 4
    """The socket talks. A quiet asset on a talking socket is LIVE."""
    STALLED = 5
    """The socket is open but has said nothing for longer than it should."""
    UNSUBSCRIBED = 6
    """The socket talks, but the page has turned to other assets: this one is not sent any more."""
    LOGGED_OUT = 7
    """The page is there, but its session on the platform has ended."""
    WAITING_FOR_CONSENT = 8
    """Chrome asks the trader whether it may be attached to, and has no answer yet."""
    NOT_IN_FOCUS = 9
    """The daemon makes no candles of the asset at present: it is neither locked, followed nor looked at."""
    CLOCK_IN_QUESTION = 10
    """This computer's clock and the platform's contradict each other."""

    @classmethod
    def _missing_(cls, value: object) -> FeedState | None:
        return cls.UNKNOWN if isinstance(value, int) else None


class Tick(msgspec.Struct, frozen=True, gc=False):
    """One price as the platform sent it. ``ts_ms`` has the platform's offset removed, ``raw_ts_ms`` has not."""

    symbol: str
    ts_ms: int
    raw_ts_ms: int
    price: float


class Candle(msgspec.Struct, frozen=True, gc=False):
    """One bucket.

    Attributes
    ----------
    ts_ms
        Start of the bucket, UNIX epoch milliseconds, true UTC.
    open, high, low, close
        Prices.
    volume
        Number of ticks, as FX platforms count it.
    tick_count
        Ticks seen; 0: not known, as from history.
    flags
        ``CandleFlags``; 0: complete, made from live ticks.
    """

    ts_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float = 0.0
    tick_count: int = 0
    flags: int = 0


def candle_array(candles: Iterable[Candle]) -> CandleArray:
    """Candles as an array of ``CANDLE_DTYPE``, in the order given."""
    rows = [(c.ts_ms, c.open, c.high, c.low, c.close, c.volume, c.tick_count, c.flags) for c in candles]
    return np.array(rows, dtype=CANDLE_DTYPE)


def candles_from(array: CandleArray) -> Iterator[Candle]:
    """The rows of a candle array as values."""
    for row in array.tolist():
        yield Candle(*row)


_INTERVAL = re.compile(r"([1-9][0-9]{0,5})([smhd])")
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def interval_ms(interval: str) -> int:
    """Length of an interval such as ``5s``, ``1m``, ``4h``, ``1d``, in milliseconds.

    Raises ConfigError for anything else.
    """
    match = _INTERVAL.fullmatch(interval)
    if match is None:
        raise ConfigError(f"{interval!r} is not an interval; write a number and s, m, h or d, such as 1m.")
    return int(match[1]) * _UNIT_MS[match[2]]


class StreamKey(msgspec.Struct, frozen=True, gc=False, order=True, cache_hash=True):
    """The name of a stream.

    Attributes
    ----------
    source_id
        The capturing machine's name, such as ``POCKETOPTION``.
    symbol
        The platform's own symbol, with its case, such as ``EURUSD_otc``.
    interval
        A number and s, m, h or d, such as ``1m``.
    """

    source_id: str
    symbol: str
    interval: str

    @property
    def interval_ms(self) -> int:
        """Length of the interval in milliseconds.

        Raises
        ------
        ConfigError
            For what is no interval.
        """
        return interval_ms(self.interval)

    def topic(self, kind: str = "candles") -> bytes:
        """Return a PUB topic of the stream.

        Parameters
        ----------
        kind
            ``candles``, ``status``, ``forming``, ``revisions`` or ``ticks``.

        Returns
        -------
        bytes
            Such as ``b"candles.POCKETOPTION.EURUSD_otc.1m"``. ZeroMQ matches prefixes: compare the whole topic.
        """
        return f"{kind}.{self.source_id}.{self.symbol}.{self.interval}".encode()

    def __str__(self) -> str:
        return f"{self.source_id}.{self.symbol}.{self.interval}"


class Watermark(msgspec.Struct, frozen=True, gc=False):
    """The newest of a stream. All 0 while nothing has been numbered."""

    latest_sequence: int = 0
    latest_ts_ms: int = 0
    latest_revision: int = 0
    first_sequence: int = 0
    """Oldest servable sequence; 0 while there is none."""


class GapState(enum.StrEnum):
    """The state of a gap; the store keeps each one with the time it was told."""

    OPENED = "opened"
    """The feed is blind, and its end is not known."""
    CLOSED = "closed"
    WITHDRAWN = "withdrawn"
    """Nothing was missed after all."""


class Gap(msgspec.Struct, frozen=True, gc=False):
    """A time in which capture was blind, from ``from_ms`` up to but without ``to_ms`` (epoch ms; 0: not over yet).

    ``symbol`` "" means every symbol of the source. One gap is known by source, symbol and ``from_ms``: the same again
    with another ``to_ms`` closes it, and with ``to_ms`` = ``from_ms`` takes it back.
    """

    source_id: str
    symbol: str
    from_ms: int
    to_ms: int = 0
    reason: str = ""

    @property
    def state(self) -> GapState:
        """Return whether it goes on, is over, or was taken back."""
        if not self.to_ms:
            return GapState.OPENED
        return GapState.WITHDRAWN if self.to_ms == self.from_ms else GapState.CLOSED


class GapChange(msgspec.Struct, frozen=True, gc=False):
    """A gap as it was told at ``at_ms`` (UTC ms; 0: not known); see ``gap.state``."""

    gap: Gap
    at_ms: int = 0


# --- messages of the wire, version 1 -------------------------------------------------------------------------------


class HealthRequest(msgspec.Struct, frozen=True, gc=False):
    pass


class HealthResponse(msgspec.Struct, frozen=True, gc=False):
    ok: bool = True
    message: str = ""


class GetCursorRequest(msgspec.Struct, frozen=True, gc=False):
    key: StreamKey


class GetCursorResponse(msgspec.Struct, frozen=True, gc=False):
    key: StreamKey
    latest_sequence: int
    latest_ts_ms: int


class SubscribeCandlesRequest(msgspec.Struct, frozen=True, gc=False):
    key: StreamKey
    from_sequence_exclusive: int | None = None


class SubscribeCandlesAck(msgspec.Struct, frozen=True, gc=False):
    accepted: bool
    reason: str
    key: StreamKey
    latest_sequence: int


class CandleBatch(msgspec.Struct, frozen=True, gc=False, eq=False):
    """Numbered candles: ``candles[i]`` has sequence ``start_sequence + i``; ``ts_ms`` strictly increases."""

    key: StreamKey
    start_sequence: int
    candles: CandleArray

    @property
    def next_sequence(self) -> int:
        return self.start_sequence + len(self.candles)


class BackfillCandlesRequest(msgspec.Struct, frozen=True, gc=False):
    """Candles after a sequence (None: from the oldest), up to and with ``end_ts_ms``; ``limit`` 0 means 10 000."""

    key: StreamKey
    from_sequence_exclusive: int | None = None
    end_ts_ms: int | None = None
    limit: int = 0


class BackfillCandlesResponse(msgspec.Struct, frozen=True, gc=False, eq=False):
    key: StreamKey
    start_sequence: int
    candles: CandleArray
    has_more: bool
    next_sequence: int


class ErrorResponse(msgspec.Struct, frozen=True, gc=False):
    code: int
    message: str


# --- messages of the wire, version 2 -------------------------------------------------------------------------------


class StreamStatusRequest(msgspec.Struct, frozen=True, gc=False):
    key: StreamKey


class StreamStatus(msgspec.Struct, frozen=True, gc=False):
    """StreamStatusResponse, asked for or sent each second as the heartbeat on ``status.…``.

    Attributes
    ----------
    key
        The stream.
    latest_sequence, latest_ts_ms
        Its newest candle, and the start of that one's bucket (UNIX epoch milliseconds, true UTC); 0: none yet.
    server_time_ms
        The server's clock, UNIX epoch milliseconds.
    first_sequence
        The oldest candle kept; 0: none.
    store_id
        The store that these numbers belong to.
    latest_revision
        The newest revision; 0: none.
    feed_state
        A ``FeedState``, or the number of one that a newer server has.
    last_tick_ts_ms
        The stream's newest tick, UNIX epoch milliseconds, true UTC; 0: none.
    platform_offset_ms
        Milliseconds that the platform's stamps are ahead of UTC.
    """

    key: StreamKey
    latest_sequence: int = 0
    latest_ts_ms: int = 0
    server_time_ms: int = 0
    first_sequence: int = 0
    store_id: str = ""
    latest_revision: int = 0
    feed_state: int = 0
    last_tick_ts_ms: int = 0
    platform_offset_ms: int = 0


class CandleRevision(msgspec.Struct, frozen=True, gc=False, eq=False):
    """Corrected candles of one stream, numbered ``start_revision + i``.

    ``sequences[i]`` (uint64) is the sequence that ``candles[i]`` replaces; 0 for a minute the main stream never had.
    """

    key: StreamKey
    start_revision: int
    sequences: npt.NDArray[np.uint64]
    candles: CandleArray


class RevisionsRequest(msgspec.Struct, frozen=True, gc=False):
    key: StreamKey
    from_revision_exclusive: int | None = None
    limit: int = 0


class RevisionsResponse(msgspec.Struct, frozen=True, gc=False, eq=False):
    key: StreamKey
    start_revision: int
    sequences: npt.NDArray[np.uint64]
    candles: CandleArray
    has_more: bool
    next_revision: int


class TickBatch(msgspec.Struct, frozen=True, gc=False, eq=False):
    """Ticks as columns of equal length: ``ts_ms`` int64, ``price`` float64. Not stored: best effort."""

    key: StreamKey
    start_sequence: int
    ts_ms: npt.NDArray[np.int64]
    price: npt.NDArray[np.float64]


class ListStreamsRequest(msgspec.Struct, frozen=True, gc=False):
    pass


class ListStreamsResponse(msgspec.Struct, frozen=True, gc=False):
    streams: tuple[StreamStatus, ...] = ()


class HistoryRequest(msgspec.Struct, frozen=True, gc=False):
    """Candles that begin in ``[from_ms, to_ms)`` (UTC ms; ``to_ms`` 0: up to the newest).

    ``as_of_ms`` None: as they stand; else as they had been told by then. ``limit`` 0 means as many as fit a page.
    """

    key: StreamKey
    from_ms: int = 0
    to_ms: int = 0
    as_of_ms: int | None = None
    limit: int = 0


class HistoryResponse(msgspec.Struct, frozen=True, gc=False, eq=False):
    """Ascending by time. ``sequences`` (uint64): 0 for a minute the main stream never had. ``next_ms`` 0: no more."""

    key: StreamKey
    candles: CandleArray
    sequences: npt.NDArray[np.uint64]
    next_ms: int


class GapsRequest(msgspec.Struct, frozen=True, gc=False):
    """Blind times that touch ``[from_ms, to_ms)`` (UTC ms; ``to_ms`` 0: without an end).

    ``symbol`` "" asks for those of every symbol. ``as_of_ms`` as in HistoryRequest.
    """

    source_id: str
    symbol: str = ""
    from_ms: int = 0
    to_ms: int = 0
    as_of_ms: int | None = None


class GapsResponse(msgspec.Struct, frozen=True, gc=False):
    gaps: tuple[GapChange, ...] = ()


Message: TypeAlias = (
    HealthRequest
    | HealthResponse
    | GetCursorRequest
    | GetCursorResponse
    | SubscribeCandlesRequest
    | SubscribeCandlesAck
    | CandleBatch
    | BackfillCandlesRequest
    | BackfillCandlesResponse
    | ErrorResponse
    | StreamStatusRequest
    | StreamStatus
    | CandleRevision
    | RevisionsRequest
    | RevisionsResponse
    | TickBatch
    | ListStreamsRequest
    | ListStreamsResponse
    | HistoryRequest
    | HistoryResponse
    | GapsRequest
    | GapsResponse
)


class Envelope(msgspec.Struct, frozen=True, gc=False, eq=False):
    """A message with what the wire says about it."""

    message: Message
    correlation_id: str = ""
    schema_version: int = 1
