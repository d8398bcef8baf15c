"""Finds and talks to a running daemon over its control endpoint: what ``status``, ``focus`` and others stand on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import msgspec

from capture.daemon_files import RUN_FILE, RunFile
from capture.settings import DEFAULT_WEB_PORT, load_settings
from schemas.errors import FluxcapError, UnknownAsset

TIMEOUT_S = 10.0


class NotRunning(FluxcapError):
    """No daemon answers."""


def control_address(data_dir: Path | None, control: str | None) -> str:
    """Where the daemon's control endpoint is: as given, as its data folder says, or the default port."""
    if control:
        return control if "://" in control else f"http://{control}"
    folder = data_dir or load_settings().data_dir
    try:
        return msgspec.json.decode((folder / RUN_FILE).read_bytes(), type=RunFile).control
    except (OSError, msgspec.DecodeError):
        return f"http://127.0.0.1:{DEFAULT_WEB_PORT}"


class RunningDaemon:
    """A running daemon. Every call raises NotRunning when it does not answer, and its own errors as they came."""

    def __init__(self, data_dir: Path | None = None, control: str | None = None) -> None:
        self.address = control_address(data_dir, control)

    def get(self, path: str, **params: Any) -> Any:
        return self._call("GET", path, params=params)

    def put(self, path: str, body: Any) -> Any:
        return self._call("PUT", path, json=body)

    def _call(self, method: str, path: str, **how: Any) -> Any:
        try:
            with httpx.Client(base_url=self.address, timeout=TIMEOUT_S, trust_env=False) as client:
                answer = client.request(method, path, **how)
        except httpx.HTTPError:
            raise NotRunning(f"No fluxcap answers at {self.address}; start one with `fluxcap run`.") from None
        return _result(answer, self.address)


def _result(answer: httpx.Response, address: str) -> Any:
    try:
        body = answer.json()
    except ValueError:
        raise NotRunning(f"What answers at {address} is not fluxcap.") from None
    if answer.is_success:
        return body
    message = body.get("error") or body.get("detail") or f"HTTP {answer.status_code}"
    if "nearest" in body:
        error = UnknownAsset("", tuple(body["nearest"]))
        error.args = (message,)
        raise error
    raise FluxcapError(str(message))
