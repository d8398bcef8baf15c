"""The dev server as a process: engine and control API together, until it is stopped."""

from __future__ import annotations

import contextlib
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from fluxcap.bridge.devserver.engine import DevEngine
from fluxcap.bridge.devserver.settings import DevSettings
from fluxcap.bridge.system.ports import listening_socket
from fluxcap.bridge.system.terminal import use_utf8
from fluxcap.bridge.transport.curve import server_keys, with_own_client
from fluxcap.schemas.errors import AlreadyRunning

READY_PREFIX = "fluxcap devserver ready"
"""Begins the line on standard output that says, as JSON, where everything is."""


class Addresses(msgspec.Struct, frozen=True):
    """Addresses of a dev server."""

    pub: str
    rep: str
    api: str


def run_devserver(settings: DevSettings, on_ready: Callable[[Addresses], None] | None = None) -> None:
    """Serve until SIGINT or SIGTERM.

    on_ready: called once everything answers; by default the addresses are printed as one line.
    Raises ConfigError, AlreadyRunning, StoreError.
    """
    from fluxcap.bridge.devserver.api import make_api
    from fluxcap.bridge.http.serving import BoundedServer, server_config
    from fluxcap.bridge.web.reader import ReaderTarget
    from fluxcap.bridge.web.readers import Readers
    from fluxcap.bridge.web.routes import add_readers

    listener = _listen(settings.api_port)
    try:
        curve, own = with_own_client(server_keys(Path(settings.curve)) if settings.curve else None)
        engine = DevEngine(settings, curve).start()
        try:
            api = make_api(engine)
            add_readers(api, Readers(lambda: ReaderTarget(*engine.endpoints, own)))
            config = server_config(api, lifespan="off")
            addresses = Addresses(*engine.endpoints, f"http://127.0.0.1:{listener.getsockname()[1]}")
            (on_ready or _print_addresses)(addresses)
            # uvicorn hands SIGINT on once it has closed; for us that is a good end.
            with contextlib.suppress(KeyboardInterrupt):
                BoundedServer(api, config).run([listener])
        finally:
            engine.close()
    finally:
        listener.close()


def run_panel(settings: DevSettings, on_ready: Callable[[Addresses], None] | None = None) -> None:
    """As ``run_devserver``, with the panel at ``/`` of the control port and the control API below ``/api``."""
    from fastapi import FastAPI

    from fluxcap.bridge.devserver.api import make_api
    from fluxcap.bridge.devserver.panel import PanelSession, mount_panel
    from fluxcap.bridge.http.origin import LOCAL_NAMES, OriginGuard
    from fluxcap.bridge.http.serving import BoundedServer, server_config
    from fluxcap.bridge.web.reader import ReaderTarget
    from fluxcap.bridge.web.readers import Readers
    from fluxcap.bridge.web.routes import add_readers

    listener = _listen(settings.api_port)
    try:
        session = PanelSession(settings)
        try:
            app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
            app.add_middleware(OriginGuard, names=LOCAL_NAMES)
            add_readers(app, Readers(lambda: ReaderTarget(*session.engine.endpoints, session.own_curve)))
            mount_panel(app, session)
            app.mount("/api", make_api(session.current))
            config = server_config(app)
            (on_ready or _print_addresses)(
                Addresses(*session.engine.endpoints, f"http://127.0.0.1:{listener.getsockname()[1]}")
            )
            with contextlib.suppress(KeyboardInterrupt):
                BoundedServer(app, config).run([listener])
        finally:
            session.close()
    finally:
        listener.close()


def _listen(port: int) -> socket.socket:
    try:
        return listening_socket("127.0.0.1", port)
    except OSError as error:
        raise AlreadyRunning(f"Port {port} for the control API is in use; choose another one ({error}).") from error


def _print_addresses(addresses: Addresses) -> None:
    print(READY_PREFIX, msgspec.json.encode(addresses).decode(), flush=True)


def main(arguments: list[str]) -> int:
    """Run a dev server with settings as JSON, or with the defaults; return the exit code.

    ``python -m fluxcap.bridge.devserver '{"symbols": ["A"], "pub": "tcp://127.0.0.1:0"}'``
    """
    use_utf8()
    try:
        settings = msgspec.json.decode(arguments[0], type=DevSettings) if arguments else None
    except msgspec.MsgspecError as error:
        print(f"The settings are not understood: {error}.", file=sys.stderr)
        return 2
    if settings is not None:
        run_devserver(settings)
        return 0
    with tempfile.TemporaryDirectory(prefix="fluxcap-devserver-") as folder:
        run_devserver(DevSettings(data_dir=folder))
    return 0
