"""Finds the daemon that runs on a data folder, or on another machine: its REST API and its wire."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from fluxcap.bridge.http.daemon_client import DaemonClient
from fluxcap.bridge.http.run_file import read_run_file
from fluxcap.bridge.transport.addresses import DEFAULT_PUB, DEFAULT_REP, default_endpoints, parse_url, require_host
from fluxcap.capture.runtime.settings import DEFAULT_WEB_PORT, load_settings
from fluxcap.schemas.errors import NotAnswering

TIMEOUT_S = 10.0


def control_address(data_dir: Path | None, control: str | None) -> str:
    """Return the daemon's control address: as given, from its run file, or the default port.

    Raises ConfigError for an address at which nobody can be, NotAnswering when the data folder's last daemon is gone
    without a word.
    """
    if control:
        return parse_url(control, DEFAULT_WEB_PORT)
    folder = data_dir or load_settings().data_dir
    run = read_run_file(folder)
    if run is None:
        return f"http://127.0.0.1:{DEFAULT_WEB_PORT}"
    if run.is_stale():
        raise NotAnswering(
            f"No fluxcap is running on {folder}: process {run.pid} ended unexpectedly; start one with `fluxcap run`."
        )
    return run.control


def find_daemon(data_dir: Path | None = None, control: str | None = None) -> DaemonClient:
    """A client of the daemon at ``control_address``. Raises NotAnswering as that does."""
    return DaemonClient(control_address(data_dir, control), TIMEOUT_S)


class Endpoints(NamedTuple):
    """Addresses of a daemon: wire and REST."""

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

    ``host``: a name or an address, IPv6 bare or in brackets. Raises ConfigError, NotAnswering as ``control_address``.
    """
    if host is not None:
        name = require_host(host)
        known = Endpoints(*default_endpoints(name), f"http://{name}:{DEFAULT_WEB_PORT}")
    else:
        run = read_run_file(data_dir or load_settings().data_dir)
        address = control_address(data_dir, control)
        known = Endpoints(run.pub if run else DEFAULT_PUB, run.rep if run else DEFAULT_REP, address)
    chosen = parse_url(control, DEFAULT_WEB_PORT) if control else known.control
    return Endpoints(pub or known.pub, rep or known.rep, chosen)
