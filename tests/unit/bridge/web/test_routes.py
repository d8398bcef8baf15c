"""The routes for readers: GET alone, bounded, guarded, with errors in a sentence."""

from __future__ import annotations

import asyncio
import csv
import io
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from fluxcap.bridge.http.origin import LOCAL_NAMES, OriginGuard
from fluxcap.bridge.web.feed import TooManyListeners
from fluxcap.bridge.web.reader import CandleReader, ReaderTarget
from fluxcap.bridge.web.readers import FeedRequest
from fluxcap.bridge.web.routes import readers_router
from fluxcap.schemas.errors import NotAnswering
from fluxcap.schemas.types import Candle, Gap, StreamKey
from tests.support.wire.memory_server import MemoryConnection, MemoryServer
from tests.support.wire.samples import candle

KEY = StreamKey("DESK", "EURUSD_otc", "1m")
STREAM = "DESK/EURUSD_otc/1m"


class StubReaders:
    """Candles of minutes 1 to 9, and a passed-over minute that a revision brought."""

    def __init__(self) -> None:
        server = MemoryServer()
        server.publish(KEY, [candle(minute, 1.5) for minute in (*range(1, 5), *range(6, 10))])
        server.revise(KEY, [(0, Candle(300_000, 9e-6, 1.0, 1e-7, 0.5, 2.0, 0, 4))])
        self.reader = CandleReader(ReaderTarget("", ""), lambda: MemoryConnection(server))  # type: ignore[arg-type, return-value]
        self.gaps = lambda key, from_ms, to_ms: [Gap("DESK", "EURUSD_otc", 300_000, 360_000, "chrome gone")]
        self.failure: Exception | None = None

    async def join(self, wanted: FeedRequest) -> Any:
        if self.failure is not None:
            raise self.failure

        async def events() -> Any:
            yield repr(wanted.event_id).encode()

        return events()


def ask(path: str, method: str = "GET", readers: Any = None, **headers: str) -> httpx.Response:
    app = FastAPI()
    app.include_router(readers_router(readers or StubReaders()))
    app.add_middleware(OriginGuard, names=LOCAL_NAMES)

    async def asking() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:3001") as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(asking())


def test_streams_are_listed_with_what_is_known_of_them() -> None:
    (row,) = ask("/api/streams").json()["streams"]

    assert row["stream"] == STREAM
    assert (row["latest_sequence"], row["latest_revision"], row["feed_state"]) == (8, 1, "live")


@pytest.mark.costly
def test_candles_come_in_pages_that_lead_to_the_next() -> None:
    rows, path = [], f"/api/candles?stream={STREAM}&limit=4"
    while path:
        answer = ask(path)
        page = answer.json()
        rows += page["candles"]
        path = page["next"]
        assert ("next" in answer.links) == bool(path)

    assert [row[0] // 60_000 for row in rows] == list(range(1, 10))
    assert page["fields"] == ["ts_ms", "open", "high", "low", "close", "volume", "tick_count", "flags"]


def test_the_newest_come_with_the_way_to_those_before() -> None:
    page = ask(f"/api/candles?stream={STREAM}&limit=4&newest=true&to_ms=480000").json()

    before = ask(page["next"]).json()

    assert [row[0] // 60_000 for row in before["candles"] + page["candles"]] == list(range(1, 8))[-8:]
    assert page["sequences"] == [4, 0, 5, 6]


def test_csv_has_the_same_candles_and_no_exponent() -> None:
    rows = list(csv.reader(io.StringIO(ask(f"/api/candles?stream={STREAM}&format=csv").text)))

    told = ask(f"/api/candles?stream={STREAM}").json()
    assert rows[0] == ["sequence", "timestamp", "open", "high", "low", "close", "volume", "tick_count", "flags"]
    assert rows[5][:5] == ["0", "1970-01-01T00:05:00.000Z", "0.000009", "1.0", "0.0000001"]
    assert [[float(cell) for cell in row[2:]] for row in rows[1:]] == [row[1:] for row in told["candles"]]


OUT_OF_BOUNDS = ("limit=10001", "limit=0", "from_ms=-1", "to_ms=99999999999999", "format=xml")


@pytest.mark.parametrize("query", ["", "stream=" + "A" * 301, *(f"stream={STREAM}&{one}" for one in OUT_OF_BOUNDS)])
def test_what_is_out_of_bounds_is_refused(query: str) -> None:
    assert ask(f"/api/candles?{query}").status_code == 422


@pytest.mark.costly
def test_errors_are_a_sentence_with_the_status_of_their_kind() -> None:
    wrong = ask("/api/candles?stream=nonsense")
    nobodys = ask("/api/candles?stream=DESK/NOBODY/1m")
    closed = StubReaders()
    closed.reader.close()

    assert (wrong.status_code, nobodys.status_code) == (400, 404)
    assert "is no stream" in wrong.json()["error"]
    assert ask("/api/streams", readers=closed).status_code == 503


def test_a_feed_goes_on_from_the_header_or_from_the_query() -> None:
    assert ask(f"/api/stream?stream={STREAM}", **{"Last-Event-ID": "a.b"}).text == "'a.b'"
    assert ask(f"/api/stream?stream={STREAM}&after=c.d").text == "'c.d'"
    assert ask(f"/api/stream?stream={STREAM}&after=c.d", **{"Last-Event-ID": "a.b"}).text == "'a.b'"


@pytest.mark.parametrize(
    ("failure", "status"), [(TooManyListeners("64 readers listen already"), 503), (NotAnswering("stopping"), 503)]
)
def test_a_feed_that_cannot_be_had_is_said(failure: Exception, status: int) -> None:
    readers = StubReaders()
    readers.failure = failure

    answer = ask(f"/api/stream?stream={STREAM}", readers=readers)

    assert (answer.status_code, answer.json()["error"]) == (status, str(failure))


def test_a_feed_of_no_stream_is_refused() -> None:
    assert ask("/api/stream").status_code == 400
    assert ask(f"/api/stream?stream={STREAM}&last=5001").status_code == 422


PATHS = (
    *("/api/streams", f"/api/candles?stream={STREAM}", f"/api/stream?stream={STREAM}", "/udf/config", "/udf/time"),
    *("/udf/symbols?symbol=EURUSD_otc", "/udf/search?query=eur"),
    *(f"/udf/{name}?symbol=EURUSD_otc&resolution=1&from=0&to=600" for name in ("history", "marks")),
)


@pytest.mark.costly
@pytest.mark.parametrize("path", PATHS)
def test_every_route_answers_get_and_nothing_that_could_change_something(path: str) -> None:
    assert ask(path).status_code == 200
    assert {ask(path, method).status_code for method in ("POST", "PUT", "DELETE", "PATCH")} == {405}


@pytest.mark.parametrize("path", PATHS)
def test_foreign_pages_and_foreign_names_get_nothing(path: str) -> None:
    assert ask(path, Origin="http://evil.example").status_code == 403
    assert ask(path, Host="evil.example").status_code == 403


@pytest.mark.costly
def test_udf_is_served_as_the_library_asks_for_it() -> None:
    history = ask("/udf/history?symbol=DESK:EURUSD_otc&resolution=1&from=0&to=600&countback=3").json()
    unknown = ask("/udf/history?symbol=NOBODY&resolution=1&from=0&to=600").json()
    marks = ask("/udf/marks?symbol=EURUSD_otc&resolution=1&from=0&to=600").json()

    assert (history["s"], history["t"]) == ("ok", [420, 480, 540])
    assert unknown == {"s": "error", "errmsg": "There is no symbol NOBODY."}
    assert list(zip(marks["time"], marks["label"], strict=True)) == [(300, "F"), (300, "G")]
    assert ask("/udf/symbols?symbol=EURUSD_otc").json()["ticker"] == "DESK:EURUSD_otc"
    assert ask("/udf/symbols?symbol=NOBODY").json()["s"] == "error"
    assert ask("/udf/time").text.isdigit()
