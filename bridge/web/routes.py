"""Routes of readers: ``/api/streams``, ``/api/candles``, ``/api/stream``, ``/udf/…``. All are GET and change nothing.

Whoever includes them guards Host and Origin, as for every other route.
"""

from __future__ import annotations

import asyncio
import csv
import io
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar
from urllib.parse import urlencode

import msgspec
from fastapi import APIRouter, FastAPI, Header, Query, Request
from fastapi.responses import PlainTextResponse, Response

from fluxcap.bridge.http.serving import before_shutdown
from fluxcap.bridge.web import udf
from fluxcap.bridge.web.event_writer import CANDLE_FIELDS, candle_rows, stream_name
from fluxcap.bridge.web.feed import TooManyListeners
from fluxcap.bridge.web.reader import CandleSlice
from fluxcap.bridge.web.readers import MAX_SNAPSHOT, Readers, parse_feed, parse_stream
from fluxcap.bridge.web.sse import EventStream
from fluxcap.schemas.candles import price_decimals, price_text
from fluxcap.schemas.errors import ConfigError, FluxcapError, NotAnswering, WireError
from fluxcap.schemas.types import FeedState, StreamKey, StreamStatus

MOST_CANDLES = 10_000
END_MS = 4_102_444_800_000
"""The year 2100, UTC epoch milliseconds: no time that is asked for is later."""
DECIMALS_OF = 200
"""The newest candles by which the digits of a price are told."""
TimeMs = Annotated[int, Query(ge=0, le=END_MS)]
TimeS = Annotated[int, Query(ge=0, le=END_MS // 1_000)]
_Result = TypeVar("_Result")


def add_readers(app: FastAPI, readers: Readers) -> None:
    """Serve readers, and end their feeds before the server waits for what is under way."""
    app.include_router(readers_router(readers))
    before_shutdown(app, readers.close)


def readers_router(readers: Readers) -> APIRouter:
    """The routes over one server."""
    router = APIRouter()

    @router.get("/api/streams")
    async def get_streams() -> Response:
        """All streams: watermark, feed state, store."""
        return await _answer(lambda: {"streams": [_stream_row(status) for status in readers.reader.streams()]})

    @router.get("/api/candles")
    async def get_candles(
        request: Request,
        stream: Annotated[str, Query(max_length=300)],
        from_ms: TimeMs = 0,
        to_ms: TimeMs = END_MS,
        limit: Annotated[int, Query(ge=1, le=MOST_CANDLES)] = 1_000,
        newest: bool = False,
        format: Annotated[str, Query(pattern="^(json|csv)$")] = "json",
    ) -> Response:
        """Candles that begin in ``[from_ms, to_ms)``, ascending, ``limit`` at most; of these the oldest or ``newest``.

        Where there are more, ``next`` (and a ``Link`` header) is the address of those that follow, or precede.
        """

        def ask() -> Response:
            key = parse_stream(stream)
            reader = readers.reader
            found = reader.newest(key, to_ms, limit, from_ms) if newest else reader.oldest(key, from_ms, to_ms, limit)
            further = None
            if found.next_ms is not None:
                bound = {"to_ms": found.next_ms} if newest else {"from_ms": found.next_ms}
                further = f"{request.url.path}?{urlencode(dict(request.query_params) | bound)}"
            headers = {"Cache-Control": "no-store"} | ({"Link": f'<{further}>; rel="next"'} if further else {})
            if format == "csv":
                return PlainTextResponse(_csv(found), media_type="text/csv; charset=utf-8", headers=headers)
            return _json(_candles_json(key, found, further), headers=headers)

        return await _answer(ask)

    @router.get("/api/stream")
    async def get_stream(
        stream: Annotated[list[str], Query(max_length=1_000)] = [],  # noqa: B006
        watch: Annotated[list[str], Query(max_length=1_000)] = [],  # noqa: B006
        last: Annotated[int, Query(ge=0, le=MAX_SNAPSHOT)] = 0,
        last_event_id: Annotated[str, Header(max_length=60_000)] = "",
        after: Annotated[str, Query(max_length=60_000)] = "",
    ) -> Response:
        """The live feed by server-sent events: ``stream`` with candles, ``watch`` for last price and state.

        ``help(fluxcap.bridge.web.readers)`` lists the events. ``last``: begin each stream with so many candles.
        ``after``: as ``Last-Event-ID``, for who cannot set that.
        """
        try:
            wanted = parse_feed(stream, watch, last, last_event_id or after)
            return EventStream(await readers.join(wanted))
        except FluxcapError as error:
            return _error(error)

    @router.get("/udf/config")
    async def udf_config() -> Response:
        return await _answer(lambda: udf.config(readers.reader.streams()))

    @router.get("/udf/time")
    async def udf_time() -> Response:
        return PlainTextResponse(str(int(time.time())))

    @router.get("/udf/symbols")
    async def udf_symbols(symbol: Annotated[str, Query(max_length=300)]) -> Response:
        def ask() -> Any:
            keys = _keys_of(readers, symbol)
            newest = readers.reader.newest(keys[0], None, DECIMALS_OF).candles
            return udf.symbol_info(keys, price_decimals(newest["close"].tolist()))

        return await _answer(ask)

    @router.get("/udf/search")
    async def udf_search(
        query: Annotated[str, Query(max_length=100)] = "",
        exchange: Annotated[str, Query(max_length=100)] = "",
        limit: Annotated[int, Query(ge=0, le=1_000)] = 30,
    ) -> Response:
        return await _answer(lambda: udf.search(readers.reader.streams(), query, exchange, limit))

    @router.get("/udf/history")
    async def udf_history(
        symbol: Annotated[str, Query(max_length=300)],
        resolution: Annotated[str, Query(max_length=20)],
        to: TimeS,
        from_: Annotated[int, Query(alias="from", ge=0, le=END_MS // 1_000)] = 0,
        countback: Annotated[int | None, Query(ge=0, le=1_000_000)] = None,
    ) -> Response:
        """An error is said in the answer, as the protocol has it."""

        def ask() -> Any:
            key = udf.stream_of(_keys_of(readers, symbol), resolution)
            return udf.history(readers.reader, key, from_, to, countback)

        try:
            return _json(await asyncio.to_thread(ask))
        except FluxcapError as error:
            return _json({"s": "error", "errmsg": str(error)})

    @router.get("/udf/marks")
    async def udf_marks(
        symbol: Annotated[str, Query(max_length=300)],
        resolution: Annotated[str, Query(max_length=20)],
        to: TimeS,
        from_: Annotated[int, Query(alias="from", ge=0, le=END_MS // 1_000)] = 0,
    ) -> Response:
        """Flagged candles, and blind times."""

        def ask() -> Any:
            key = udf.stream_of(_keys_of(readers, symbol), resolution)
            found = readers.reader.newest(key, to * 1_000 + 1, MOST_CANDLES, from_ * 1_000)
            return udf.marks(found.candles, readers.gaps(key, from_ * 1_000, to * 1_000))

        return await _answer(ask)

    return router


async def _answer(ask: Callable[[], Any]) -> Response:
    """Answer with what the server says, as JSON or as the answer that it is."""
    try:
        found = await asyncio.to_thread(ask)
    except FluxcapError as error:
        return _error(error)
    return found if isinstance(found, Response) else _json(found)


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers, "application/json")


def _error(error: FluxcapError) -> Response:
    status = 400 if isinstance(error, ConfigError) else 502
    if isinstance(error, NotAnswering | TooManyListeners):
        status = 503
    elif isinstance(error, WireError) and error.code == 404:
        status = 404
    return _json({"s": "error", "error": str(error), "errmsg": str(error)}, status)


def _keys_of(readers: Readers, symbol: str) -> list[StreamKey]:
    keys = udf.symbol_streams(readers.reader.streams(), symbol)
    if not keys:
        raise ConfigError(f"There is no symbol {symbol[:80]}.")
    return keys


def _stream_row(status: StreamStatus) -> dict[str, Any]:
    return {
        "stream": stream_name(status.key),
        "source": status.key.source_id,
        "symbol": status.key.symbol,
        "interval": status.key.interval,
        "first_sequence": status.first_sequence,
        "latest_sequence": status.latest_sequence,
        "latest_ts_ms": status.latest_ts_ms,
        "latest_revision": status.latest_revision,
        "store_id": status.store_id,
        "feed_state": FeedState(status.feed_state).name.lower(),
        "last_tick_ts_ms": status.last_tick_ts_ms,
        "server_time_ms": status.server_time_ms,
    }


def _candles_json(key: StreamKey, found: CandleSlice, further: str | None) -> dict[str, Any]:
    return {
        "stream": stream_name(key),
        "store_id": found.status.store_id,
        "fields": CANDLE_FIELDS,
        "candles": candle_rows(found.candles),
        "sequences": found.sequences.tolist(),
        "next": further,
    }


def _csv(found: CandleSlice) -> str:
    """Columns as ``fluxcap export candles`` has them, with the sequence first."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(("sequence", "timestamp", *CANDLE_FIELDS[1:]))
    for sequence, (ts_ms, *values) in zip(found.sequences.tolist(), found.candles.tolist(), strict=True):
        prices = [price_text(value) if isinstance(value, float) else value for value in values]
        rows.writerow((sequence, _iso(ts_ms), *prices))
    return out.getvalue()


def _iso(ts_ms: int) -> str:
    when = datetime.fromtimestamp(ts_ms / 1_000, UTC)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{ts_ms % 1_000:03d}Z"
