"""A page that streams trades as exchanges do: JSON in text frames, prices as strings, stamped in UTC milliseconds.

``trades`` is the truth: all that was sent.
"""

from __future__ import annotations

import json
import random
import threading
import time
from types import TracebackType
from typing import Self

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

PAGE = """<!doctype html><title>trades</title><script>
  const socket = new WebSocket(`ws://${location.host}/stream`);
  socket.onopen = () => socket.send('{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1,"token":"SECRET"}');
  self.last = null;
  socket.onmessage = (message) => { self.last = message.data; };
</script>"""
PERIOD_S = 0.04


class TradeSite:
    """Serves from construction until ``close``. Every socket gets the same trades of two symbols."""

    def __init__(self) -> None:
        self._server: Server = serve(self._talk, "127.0.0.1", 0, process_request=self._page, compression=None)
        self.port: int = self._server.socket.getsockname()[1]
        self.trades: list[tuple[str, int, float]] = []
        """Symbol, UTC milliseconds, price."""
        self._random = random.Random(7)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def close(self) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._thread.join()

    def _talk(self, connection: ServerConnection) -> None:
        prices = {"BTCUSDT": 27_000.0, "ETHUSDT": 1_600.0}
        try:
            connection.recv()
            connection.send('{"result":null,"id":1}')
            while not self._stopping.wait(PERIOD_S):
                for symbol in prices:
                    prices[symbol] = round(prices[symbol] + self._random.uniform(-5, 5), 2)
                    self._send(connection, symbol, prices[symbol])
                connection.send('{"stream":"btcusdt@kline_1m","data":{"e":"kline","s":"BTCUSDT","p":"1","T":1}}')
        except ConnectionClosed:
            pass

    def _send(self, connection: ServerConnection, symbol: str, price: float) -> None:
        ts_ms = time.time_ns() // 1_000_000
        told = {
            "e": "trade",
            "E": ts_ms + 1,
            "s": symbol,
            "t": 5,
            "p": f"{price:.8f}",
            "q": "0.1",
            "T": ts_ms,
            "m": True,
        }
        self.trades.append((symbol, ts_ms, price))
        connection.send(json.dumps({"stream": f"{symbol.lower()}@trade", "data": told}))

    def _page(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path == "/stream":
            return None
        response = connection.respond(200, PAGE)
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = "text/html"
        return response

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
