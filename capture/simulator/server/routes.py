"""The site's HTTP routes: the page and its scripts, and the fault controls.

==========================  ================================================================
``GET /``                   the page (also under ``/en/…`` and ``/cabinet/…``)
``GET /frame``              the socket's own page, for ``?socket=frame``
``GET /market.js`` …        its scripts, style and workers
``GET /control/state``      sockets, faults in force, clock, counters, as JSON
``POST /control/faults``    begin a fault: ``{"fault": "silence", "seconds": 5}``; answers when it is in force
``DELETE /control/faults``  end them all, or with ``?fault=NAME`` one
==========================  ================================================================
"""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import Any
from urllib.parse import SplitResult, parse_qs

import msgspec

from fluxcap.capture.simulator.assets import load_assets, payout_percent
from fluxcap.capture.simulator.server.connection import HttpResponse
from fluxcap.capture.simulator.server.faults import Fault, FaultController, parse_order
from fluxcap.capture.simulator.server.sessions import SessionRegistry
from fluxcap.schemas.errors import ConfigError

_HTML = "text/html; charset=utf-8"
_TYPES = {".html": _HTML, ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
_FILES = {"page.js", "chart.js", "market.js", "worker.js", "sharedworker.js", "serviceworker.js", "style.css"}


class SiteRoutes:
    """Answers HTTP requests of one site. Lives on the site's loop."""

    def __init__(self, hub: SessionRegistry, faults: FaultController) -> None:
        self._hub = hub
        self._faults = faults

    def answer(self, method: str, url: SplitResult, body: bytes) -> HttpResponse:
        """One request; never raises."""
        path = url.path
        if path.startswith("/control/"):
            return self._control(method, url, body)
        if method not in ("GET", "HEAD"):
            return _error(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET.")
        if path == "/" or path.startswith(("/en", "/cabinet")):
            return HttpResponse(self._page("index.html"), _HTML)
        if path == "/frame":
            return HttpResponse(self._page("frame.html"), _HTML)
        if path.removeprefix("/") in _FILES:
            return HttpResponse(_file(path.removeprefix("/")), _TYPES[path[path.rindex(".") :]])
        if path == "/favicon.ico":
            return HttpResponse(b"", "image/x-icon")
        return _error(HTTPStatus.NOT_FOUND, "Not found.")

    def state(self) -> dict[str, Any]:
        """Return the site's state, for tests and people."""
        hub, now_ms = self._hub, self._hub.clock_ms()
        return {
            "now_ms": now_ms,
            "offset_s": hub.exchange.offset_ms(now_ms) // 1000,
            "ticks_out": hub.ticks_out,
            "released_ms": hub.exchange.released_ms,
            "sockets": [{"socket": number, "kind": session.kind} for number, session in hub.sessions.items()],
            "market_sockets": [
                {"socket": session.number, "symbol": session.symbol, "subscribed": session.subscribed}
                for session in hub.market_sessions.values()
            ],
            "account": {"symbol": hub.account.symbol, "period_s": hub.account.period_s},
            "faults": [msgspec.to_builtins(order) for order in self._faults.active.values()],
        }

    def _control(self, method: str, url: SplitResult, body: bytes) -> HttpResponse:
        if url.path == "/control/state" and method == "GET":
            return HttpResponse(msgspec.json.encode(self.state()))
        if url.path != "/control/faults" or method not in ("POST", "DELETE"):
            return _error(HTTPStatus.NOT_FOUND, "POST or DELETE /control/faults, GET /control/state.")
        try:
            if method == "POST":
                self._faults.begin(parse_order(body))
            else:
                self._end(parse_qs(url.query).get("fault"))
        except ConfigError as error:
            return _error(HTTPStatus.BAD_REQUEST, str(error))
        return HttpResponse(msgspec.json.encode(self.state()))

    def _end(self, names: list[str] | None) -> None:
        if names is None:
            self._faults.end_all()
            return
        for name in names:
            if name not in set(Fault):
                raise ConfigError(f"There is no fault {name!r}; there is {', '.join(Fault)}.")
            self._faults.end(Fault(name))

    def _page(self, name: str) -> bytes:
        config = self._hub.config
        assets = [
            {
                "symbol": asset.symbol,
                "name": asset.name,
                "payout": payout_percent(asset),
                "decimals": self._hub.exchange.markets[asset.symbol].asset.decimals,
            }
            for asset in (load_assets()[symbol] for symbol in config.assets)
        ]
        secrets = config.secrets
        site = {
            "assets": assets,
            "auth": {"session": secrets.session, "isDemo": 1, "uid": secrets.uid, "platform": 2},
        }
        # "</" would end the script element early.
        settings = msgspec.json.encode(site).replace(b"</", b"<\\/")
        return _file(name).replace(b"/*SITE*/", settings)


def _error(status: HTTPStatus, message: str) -> HttpResponse:
    return HttpResponse(msgspec.json.encode({"error": message}), status=status)


@cache
def _file(name: str) -> bytes:
    return (files("fluxcap.capture.simulator") / "page" / name).read_bytes()
