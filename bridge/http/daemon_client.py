"""The REST API of a daemon, as its clients see it: by URL, with errors in plain words. Blocking."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

from fluxcap.schemas.errors import FluxcapError, NotAnswering, UnknownAsset


class DaemonClient:
    """One daemon, by its address (``http://127.0.0.1:3001``). A context manager; may be used from several threads.

    Every call raises NotAnswering when nobody answers, or its own error as it came: UnknownAsset, NotAnswering (it is
    stopping, or too busy), FluxcapError.
    """

    def __init__(self, url: str, timeout_s: float = 5.0) -> None:
        self.url = (url if "://" in url else f"http://{url}").rstrip("/")
        # Loading the certificates takes longer than asking, and only https has a use for them.
        verify = self.url.startswith("https:")
        self._http = httpx.Client(base_url=self.url, timeout=timeout_s, trust_env=False, verify=verify)

    def status(self) -> dict[str, Any]:
        return dict(self._json("GET", "/api/status"))

    def assets(self) -> list[dict[str, Any]]:
        """The platform's assets; empty until it has sent them."""
        return list(self._json("GET", "/api/assets"))

    def gaps(self, source: str | None = None, symbol: str | None = None, from_ms: int = 0) -> list[dict[str, Any]]:
        """The blind times since a time, of a source, of a symbol, or (None) of all."""
        asked = {"source": source, "symbol": symbol, "from_ms": from_ms}
        params = {name: value for name, value in asked.items() if value is not None}
        return list(self._json("GET", "/api/gaps", params=params))

    def acquire_lease(self, holder: str, asset: str, seconds: float) -> str:
        """Have an asset in focus for so long; returns its symbol."""
        body = {"asset": asset, "seconds": seconds}
        return str(self._json("PUT", f"/api/focus/leases/{quote(holder, safe='')}", json=body)["asset"])

    def release_lease(self, holder: str) -> None:
        self._json("DELETE", f"/api/focus/leases/{quote(holder, safe='')}")

    def focus(self) -> dict[str, Any]:
        return dict(self._json("GET", "/api/focus"))

    def set_focus(self, mode: str, symbols: Sequence[str] = ()) -> dict[str, Any]:
        return dict(self._json("PUT", "/api/focus", json={"mode": mode, "symbols": list(symbols)}))

    def trust_clock(self, word: str) -> dict[str, Any]:
        """Have the daemon trust the ``wall`` clock or the ``earlier`` offset; returns what its clock says then."""
        return dict(self._json("PUT", "/api/clock", json={"trust": word}))

    def reload(self) -> int:
        """Have the trading page reloaded; returns how many pages were."""
        return int(self._json("POST", "/api/reload")["pages"])

    def ask_for_consent(self) -> dict[str, Any]:
        """Have the browser's user asked for consent once more; returns ``chrome`` and ``chrome_reason``."""
        return dict(self._json("POST", "/api/chrome/ask"))

    def share_browser(self) -> Path:
        """Have a way onto the daemon's browser connection opened; returns the file that tells it, on its machine."""
        return Path(self._json("POST", "/api/chrome/share")["file"])

    def collect_mode(self) -> dict[str, Any]:
        return dict(self._json("GET", "/api/collect-mode"))

    def set_collect_mode(self, mode: str | None = None, **chunk_sizes: int) -> dict[str, Any]:
        """Change what is written to CSV files. ``chunk_sizes``: ``tick_chunk_size``, ``candle_chunk_size``."""
        body = {**({} if mode is None else {"mode": mode}), **chunk_sizes}
        return dict(self._json("PUT", "/api/collect-mode", json=body))

    def import_candles(self, symbol: str, interval: str, rows: Sequence[tuple[float, ...]]) -> dict[str, Any]:
        """Have collected candles taken in: rows ``(ts_ms, open, high, low, close, volume)``, at most 10,000."""
        body = {"symbol": symbol, "interval": interval, "candles": rows}
        return dict(self._json("PUT", "/api/history", json=body))

    def csv_files(self) -> list[dict[str, Any]]:
        return list(self._json("GET", "/api/available-csv-files")["files"])

    def csv_text(self, path: str) -> str:
        """One CSV file by its listed path."""
        return self._request("GET", f"/api/csv-data/{quote(path)}").text

    def forward(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Ask as it stands, query and body too; return status and answer, errors of the daemon included."""
        headers = {"Content-Type": "application/json"} if body else {}
        try:
            answer = self._http.request(method, path, content=body, headers=headers)
        except (httpx.HTTPError, RuntimeError):
            raise NotAnswering(f"No fluxcap answers at {self.url}; start one with `fluxcap run`.") from None
        return answer.status_code, answer.content

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> DaemonClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _json(self, method: str, path: str, **how: Any) -> Any:
        answer = self._request(method, path, **how)
        try:
            return answer.json()
        except ValueError:
            raise NotAnswering(f"What answers at {self.url} is not fluxcap.") from None

    def _request(self, method: str, path: str, **how: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **how)
        except (httpx.HTTPError, RuntimeError):  # RuntimeError: closed meanwhile
            raise NotAnswering(f"No fluxcap answers at {self.url}; start one with `fluxcap run`.") from None
        if answer.is_success:
            return answer
        raise _error(answer, self.url)


def _error(answer: httpx.Response, url: str) -> FluxcapError:
    try:
        body = answer.json()
        message = str(body.get("error") or body.get("detail") or f"HTTP {answer.status_code}")
    except (ValueError, AttributeError):
        return NotAnswering(f"What answers at {url} is not fluxcap.")
    if "nearest" in body:
        error = UnknownAsset("", tuple(body["nearest"]))
        error.args = (message,)
        return error
    return NotAnswering(message) if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else FluxcapError(message)
