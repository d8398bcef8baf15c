"""A web server on a thread of its own, whose application is made there: nothing waits for it, nor for its imports.

Its port listens as soon as the server is made. Who connects before the application is there waits that long.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fluxcap.bridge.system.ports import is_in_use, listening_socket, process_on_port
from fluxcap.schemas.errors import AlreadyRunning, ConfigError

if TYPE_CHECKING:
    from fluxcap.bridge.http.serving import BoundedServer


class HttpServer:
    """Serves an ASGI application from a thread of its own. ``port`` 0 picks a free one.

    ``make_app`` is called in that thread. ``failure``: what it raised; then nothing is served, and
    whoever runs the server ends.
    """

    def __init__(self, make_app: Callable[[], Any], host: str, port: int) -> None:
        self._socket = _bind(host, port)
        self.host = host
        self.port: int = self._socket.getsockname()[1]
        self.failure: BaseException | None = None
        self._make_app = make_app
        self._is_to_end = threading.Event()
        self._server: BoundedServer | None = None
        self._thread = threading.Thread(target=self._run, name="fluxcap-web", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """End it; open connections get no more than a moment."""
        self._is_to_end.set()
        if self._server is not None:
            self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(timeout_s / 2)
            if self._server is not None:
                self._server.force_exit = True
            self._thread.join(timeout_s / 2)
        self._socket.close()

    def _run(self) -> None:
        from fluxcap.bridge.http.serving import BoundedServer, server_config

        try:
            # log_config None: its warnings go where ours go, as JSON when asked for.
            app = self._make_app()
            self._server = BoundedServer(app, server_config(app, log_config=None, lifespan="on"))
        except BaseException as error:
            self.failure = error
            raise  # the log has it as the crash of a thread
        if not self._is_to_end.is_set():
            self._server.run([self._socket])


def _holder(port: int) -> str:
    holder = process_on_port(port)
    return f" by {holder}" if holder else ""


def _bind(host: str, port: int) -> socket.socket:
    try:
        return listening_socket(host, port)
    except OSError as error:
        if not is_in_use(error, port):
            raise ConfigError(f"Port {port} on {host} cannot be used: {error.strerror}.") from None
        raise AlreadyRunning(
            f"Port {port} on {host} is taken{_holder(port)}; stop that program, or choose another with --web-port "
            "(--control-port while the web is off)."
        ) from None
