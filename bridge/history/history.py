"""``fluxcap.history``: candles of the past by time, with what was not seen, in the form that a program wants."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fluxcap.bridge.history.source import HistorySource, Range, open_source
from fluxcap.bridge.history.times import TimeLike, to_ms
from fluxcap.bridge.server.timeframes import fold_array
from fluxcap.bridge.transport.curve import ClientCurve
from fluxcap.schemas.candles import first_invalid_candle
from fluxcap.schemas.errors import ConfigError, UnknownAsset
from fluxcap.schemas.types import CANDLE_DTYPE, CandleArray, CandleFlags, Gap, StreamKey, interval_ms

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

FLAG_COLUMNS = {
    "joined_late": CandleFlags.JOINED_LATE,
    "blind": CandleFlags.BLIND,
    "filled": CandleFlags.FILLED,
    "revised": CandleFlags.REVISED,
}
_VALUES = ("open", "high", "low", "close", "volume", "tick_count")
_NOT_WHOLE = np.uint16(CandleFlags.JOINED_LATE | CandleFlags.BLIND)
_FILLED = np.uint16(CandleFlags.FILLED)
_NO_CANDLES = np.empty(0, CANDLE_DTYPE)
_EXTRA_MISSING = "history(…).{}() needs {}: pip install 'fluxcap[{}]'."
DEFAULT_INTERVAL = "1m"


class History:
    """Candles of one stream within a time, and the blind times beside them. Made by ``history``.

    Parameters
    ----------
    key
        The stream.
    candles
        Shape ``(n,)``, dtype ``CANDLE_DTYPE``, ascending by ``ts_ms``: the candle's start, UTC epoch milliseconds.
    sequences
        Shape ``(n,)``, uint64: of each candle its sequence; 0 for a minute that only a revision brought, and for all
        that were folded.
    gaps
        Times in which capture was blind, by their begin: ``from_ms``, ``to_ms`` (exclusive; 0: not over; UTC epoch
        milliseconds), ``reason``, and ``symbol`` (``""``: all). Those that touch the time that was asked for.
    folded_from
        The interval from whose candles these were folded; None where the stream is kept as it is.
    as_of_ms
        By when the candles had been told, UTC epoch milliseconds; None: as they stand.
    source
        The file or the server that was asked.

    Attributes
    ----------
    key, candles, sequences, gaps, folded_from, as_of_ms, source
        As above.
    """

    __slots__ = ("as_of_ms", "candles", "folded_from", "gaps", "key", "sequences", "source")

    def __init__(
        self,
        key: StreamKey,
        candles: CandleArray,
        sequences: npt.NDArray[np.uint64],
        gaps: tuple[Gap, ...] = (),
        folded_from: str | None = None,
        as_of_ms: int | None = None,
        source: str = "",
    ) -> None:
        self.key = key
        self.candles = candles
        self.sequences = sequences
        self.gaps = gaps
        self.folded_from = folded_from
        self.as_of_ms = as_of_ms
        self.source = source

    def __len__(self) -> int:
        return len(self.candles)

    def __repr__(self) -> str:
        first = f" from {self._times()[0]} to {self._times()[-1]} UTC" if len(self) else ""
        return f"<History of {self.key}: {len(self)} candles{first}, {len(self.gaps)} gaps, from {self.source}>"

    def numpy(self) -> dict[str, npt.NDArray[Any]]:
        """Return the candles as NumPy arrays by column.

        Returns
        -------
        dict
            Each of shape ``(n,)``: ``timestamp`` (datetime64[ms], UTC, the candle's start), ``open``, ``high``,
            ``low``, ``close``, ``volume`` (number of ticks), ``tick_count`` (0: not known), and as booleans
            ``joined_late``, ``blind``, ``filled``, ``revised``.
        """
        flags = self.candles["flags"]
        columns: dict[str, npt.NDArray[Any]] = {"timestamp": self._times()}
        columns |= {name: np.ascontiguousarray(self.candles[name]) for name in _VALUES}
        return columns | {name: (flags & np.uint16(flag)) != 0 for name, flag in FLAG_COLUMNS.items()}

    def arrow(self) -> pa.Table:
        """Return the candles as a table of Apache Arrow; needs the extra ``fluxcap[arrow]``.

        Returns
        -------
        pyarrow.Table
            Columns as ``numpy`` has them; ``timestamp`` is ``timestamp[ms, tz=UTC]``.

        Raises
        ------
        ConfigError
            Without pyarrow.
        """
        try:
            import pyarrow as pa
        except ImportError:
            raise ConfigError(_EXTRA_MISSING.format("arrow", "pyarrow", "arrow")) from None
        columns = self.numpy()
        timestamp = pa.array(columns.pop("timestamp")).cast(pa.timestamp("ms", tz="UTC"))
        return pa.table({"timestamp": timestamp, **{name: pa.array(column) for name, column in columns.items()}})

    def pl(self) -> pl.DataFrame:
        """Return the candles as a frame of Polars; needs the extra ``fluxcap[polars]``.

        Returns
        -------
        polars.DataFrame
            Columns as ``numpy`` has them; ``timestamp`` is ``Datetime("ms", "UTC")``.

        Raises
        ------
        ConfigError
            Without polars.
        """
        try:
            import polars as pl
        except ImportError:
            raise ConfigError(_EXTRA_MISSING.format("pl", "polars", "polars")) from None
        return pl.DataFrame(self.numpy()).with_columns(pl.col("timestamp").dt.replace_time_zone("UTC"))

    def df(self) -> pd.DataFrame:
        """Return the candles as a frame of pandas; needs the extra ``fluxcap[pandas]``.

        Returns
        -------
        pandas.DataFrame
            Columns as ``numpy`` has them, but ``timestamp``, which is the index: a DatetimeIndex in UTC.

        Raises
        ------
        ConfigError
            Without pandas.
        """
        try:
            import pandas as pd
        except ImportError:
            raise ConfigError(_EXTRA_MISSING.format("df", "pandas", "pandas")) from None
        columns = self.numpy()
        index = pd.DatetimeIndex(columns.pop("timestamp"), name="timestamp", tz="UTC")
        return pd.DataFrame(columns, index=index)

    def _times(self) -> npt.NDArray[np.datetime64]:
        return np.ascontiguousarray(self.candles["ts_ms"]).view("datetime64[ms]")


def history(
    stream: str | StreamKey,
    interval: str | None = None,
    *,
    start: TimeLike | None = None,
    end: TimeLike | None = None,
    source: str | os.PathLike[str] | None = None,
    as_of: TimeLike | None = None,
    whole: bool = False,
    timeout: float = 5.0,
    curve: ClientCurve | None = None,
) -> History:
    """Return candles of the past, from a running daemon or a stopped store: the same answer from both.

    They are as they stand now, revised, with the minutes that only a revision brought. A timeframe that is no stream of
    its own is folded from the candles of the shortest interval that it is a multiple of, as far as its buckets are over
    and began with the stream; flags are those of a derived stream, but for REVISED, which a fold does not tell.

    Times are milliseconds since 1970, ISO 8601 text, ``datetime`` (pandas' too), ``date`` or ``numpy.datetime64``; UTC
    where nothing else is said.

    Parameters
    ----------
    stream
        The symbol, ``EURUSD_otc``, with its source in front where several have it, ``DESK1/EURUSD_otc``; or a key.
    interval
        A number and s, m, h or d, such as ``5m``; None: that of the key, else ``1m``.
    start
        Candles that begin at this time or later; None: from the oldest.
    end
        Candles that begin before this time; None: up to the newest.
    source
        A data folder, a store file, or the address of a daemon's request socket (``tcp://HOST:5557``). A store that a
        running daemon holds is read from that daemon. None: ``FLUX_CHUNK_REP`` if it is set, else the data folder of
        this machine (``FLUXCAP_DATA_DIR``, ``./data``, or the user's own), else the usual address.
    as_of
        Candles and gaps as a client had them at that time, to the millisecond: without what was sealed, revised or told
        later. What was deleted since (``retention``) is not there.
    whole
        Leave out candles that were not seen whole: joined late or blind, and not filled from history.
    timeout
        Seconds that a server may take for each answer, of which a long history needs several.
    curve
        CURVE keys (``load_client``), for a server beyond this machine.

    Returns
    -------
    History
        The candles; ``.numpy()``, ``.arrow()``, ``.pl()`` and ``.df()`` give them in the form that is wanted.

    Raises
    ------
    ConfigError
        For a wrong argument, or where there is neither daemon nor store.
    UnknownAsset
        When the source has no such symbol; it names the nearest.
    NotKnown
        For an ``as_of`` of which the store has not kept what was told: before fluxcap 0.2 had it.
    StoreError
        When the store cannot be read.
    WireTimeout, WireError, CodecError
        When the daemon does not answer, or cannot.
    """
    key = stream if isinstance(stream, StreamKey) else None
    wanted = interval or (key.interval if key is not None else DEFAULT_INTERVAL)
    interval_ms(wanted)  # refuses what is none
    from_ms = max(0, to_ms(start, "start")) if start is not None else 0
    until_ms = max(0, to_ms(end, "end")) if end is not None else None
    if until_ms is not None and until_ms < from_ms:
        raise ConfigError(f"end ({end!r}) lies before start ({start!r}).")
    span = Range(from_ms, until_ms, None if as_of is None else max(0, to_ms(as_of, "as_of")))
    where = None if source is None else os.fspath(source)
    with open_source(where, timeout, curve) as opened:
        name = stream if isinstance(stream, str) else f"{stream.source_id}/{stream.symbol}"
        found, base = _resolve(name, wanted, opened.streams())
        if until_ms == from_ms:
            return History(found, _NO_CANDLES, np.empty(0, np.uint64), (), None, span.as_of_ms, opened.name)
        if base == found:
            candles, sequences = opened.candles(found, span)
        else:
            candles = _folded(opened, base, found, span)
            sequences = np.zeros(len(candles), dtype=np.uint64)
        gaps = tuple(opened.gaps(found, span))
    if whole:
        keep = (candles["flags"] & _NOT_WHOLE == 0) | (candles["flags"] & _FILLED > 0)
        candles, sequences = candles[keep], sequences[keep]
    folded_from = base.interval if base != found else None
    return History(found, candles, sequences, gaps, folded_from, span.as_of_ms, opened.name)


def _resolve(name: str, interval: str, streams: Iterable[StreamKey]) -> tuple[StreamKey, StreamKey]:
    """The stream that is meant, and the one that it is read or folded from. Raises UnknownAsset, ConfigError."""
    known = sorted(streams)
    assets = {(key.source_id, key.symbol) for key in known}
    source_id, _, symbol = name.rpartition("/") if name not in {key.symbol for key in known} else ("", "", name)
    meant = [(s, a) for s, a in assets if a == symbol and source_id in ("", s)]
    meant = meant or [(s, a) for s, a in assets if _spelling(a) == _spelling(name)]
    meant = meant or [(s, a) for s, a in assets if _spelling(f"{s}{a}") == _spelling(name)]
    if not meant:
        raise UnknownAsset(name, _nearest(name, sorted({a for _, a in assets})))
    if len(meant) > 1:
        names = ", ".join(f"{s}/{a}" for s, a in sorted(meant))
        raise ConfigError(f"{name!r} may be any of {names}; name one of these.")
    wanted = StreamKey(*meant[0], interval)
    length_ms = wanted.interval_ms
    siblings = sorted((k for k in known if (k.source_id, k.symbol) == meant[0]), key=lambda k: k.interval_ms)
    for sibling in siblings:
        if sibling.interval_ms == length_ms:
            return sibling, sibling
    for sibling in siblings:
        if length_ms % sibling.interval_ms == 0:
            return wanted, sibling
    there = ", ".join(k.interval for k in siblings)
    raise ConfigError(f"{wanted.symbol} has no candles of {interval}, nor any that these can be made of: only {there}.")


def _spelling(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _nearest(name: str, symbols: Sequence[str]) -> tuple[str, ...]:
    by_spelling = {_spelling(symbol): symbol for symbol in symbols}
    found = difflib.get_close_matches(_spelling(name), list(by_spelling), n=3, cutoff=0.5)
    return tuple(by_spelling[spelling] for spelling in found)


def _folded(source: HistorySource, base: StreamKey, key: StreamKey, span: Range) -> CandleArray:
    """Candles of a longer interval, by the rules of derived streams.

    Of buckets that are over, and did not begin before the stream.
    """
    length_ms = key.interval_ms
    from_ms = span.from_ms + -span.from_ms % length_ms
    to_ms = None if span.to_ms is None else span.to_ms + -span.to_ms % length_ms
    base_span = Range(from_ms, to_ms, span.as_of_ms)
    if to_ms is not None and to_ms <= from_ms:
        return _NO_CANDLES
    candles, _ = source.candles(base, base_span)
    if not len(candles):
        return candles
    began_ms = source.first_from(base, 0, span.as_of_ms)
    last_ms = int(candles["ts_ms"][-1])
    end_ms = last_ms - last_ms % length_ms + length_ms
    is_over = last_ms + base.interval_ms >= end_ms or source.first_from(base, end_ms, span.as_of_ms) is not None
    begin = np.searchsorted(candles["ts_ms"], -(-(began_ms or 0) // length_ms) * length_ms)
    stop = len(candles) if is_over else np.searchsorted(candles["ts_ms"], end_ms - length_ms)
    candles = candles[begin:stop]
    if not len(candles):
        return candles
    found = fold_array(candles, length_ms, base.interval_ms, source.gaps(base, base_span))
    while len(found) and (bad := first_invalid_candle(found)) is not None:
        found = np.delete(found, bad)
    return found
