"""Finds and talks to a running daemon over its control endpoint: what ``status``, ``focus`` and others stand on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import httpx

from fluxcap.bridge.transport.addresses import DEFAULT_PUB, DEFAULT_REP
from fluxcap.capture.runtime.run_file import read_run_file
from fluxcap.capture.runtime.settings import DEFAULT_WEB_PORT, load_settings
from fluxcap.schemas.errors import FluxcapError, NotAnswering, UnknownAsset

TIMEOUT_S = 10.0


def control_address(data_dir: Path | None, control: str | None) -> str:
    """Where the daemon's control endpoint is: as given, as its data folder says, or the default port.

    Raises NotAnswering when the data folder's last daemon is gone without a word.
    """
    if control:
        return control if "://" in control else f"http://{control}"
    folder = data_dir or load_settings().data_dir
    run = read_run_file(folder)
    if run is None:
        return f"http://127.0.0.1:{DEFAULT_WEB_PORT}"
    if run.is_stale():
        raise NotAnswering(
            f"No fluxcap runs on {folder}: process {run.pid} ended without leave; start one with `fluxcap run`."
        )
    return run.control


class RunningDaemon:
    """A running daemon. Every call raises NotAnswering when it does not answer, and its own errors as they came."""

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
            raise NotAnswering(f"No fluxcap answers at {self.address}; start one with `fluxcap run`.") from None
        return _result(answer, self.address)


def _result(answer: httpx.Response, address: str) -> Any:
    try:
        body = answer.json()
    except ValueError:
        raise NotAnswering(f"What answers at {address} is not fluxcap.") from None
    if answer.is_success:
        return body
    message = body.get("error") or body.get("detail") or f"HTTP {answer.status_code}"
    if "nearest" in body:
        error = UnknownAsset("", tuple(body["nearest"]))
        error.args = (message,)
        raise error
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        raise NotAnswering(str(message))
    raise FluxcapError(str(message))


class Endpoints(NamedTuple):
    """Where a daemon can be reached: wire and REST."""

    pub: str
    rep: str
    control: str


def daemon_endpoints(
    host: str | None,
    data_dir: Path | None = None,
    control: str | None = None,
    pub: str | None = None,
    rep: str | None = None,
) -> Endpoints:
    """A daemon's addresses: as given, else of ``host`` at the default ports, else as the data folder here says.

    Raises NotAnswering as ``control_address``.
    """
    if host:
        name = f"[{host}]" if ":" in host and not host.startswith("[") else host
        known = Endpoints(f"tcp://{name}:5556", f"tcp://{name}:5557", f"http://{name}:{DEFAULT_WEB_PORT}")
    else:
        run = read_run_file(data_dir or load_settings().data_dir)
        address = control_address(data_dir, control)
        known = Endpoints(run.pub if run else DEFAULT_PUB, run.rep if run else DEFAULT_REP, address)
    chosen = known.control if not control else control if "://" in control else f"http://{control}"
    return Endpoints(pub or known.pub, rep or known.rep, chosen)
