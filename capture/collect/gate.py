"""Opens the gate for a collection: on a browser connection of its own, or on the one that the daemon holds.

With the browser of every day there is one connection, the daemon's, and another would open another dialog. So the
daemon opens the gate there, when ``fluxcap collect`` asks for it, and writes the way through it to a file that only its
user may read: others who can ask at the control port, such as another user's program, learn nothing by it. The gate
closes with the collection, by whatever it ends, or if nobody comes.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from fluxcap.bridge.http.run_file import read_run_file
from fluxcap.bridge.system.files import remove_file
from fluxcap.capture.chrome.connection import Connection
from fluxcap.capture.chrome.endpoint import BrowserInfo, ConsentBrowser
from fluxcap.capture.chrome.events import ArrivalTime
from fluxcap.capture.chrome.share import SharedBrowser
from fluxcap.capture.collect.cdp_proxy import GateAddress, SingleTabProxy
from fluxcap.capture.pipeline.consent import ConsentFile, ask_and_connect
from fluxcap.capture.pipeline.pipeline import Pipeline
from fluxcap.capture.pipeline.reconnect import browser_locator
from fluxcap.capture.runtime.settings import Settings
from fluxcap.schemas.errors import AlreadyRunning, ChromeUnavailable, ConfigError, FluxcapError

GATE_FILE = "gate.json"
NOBODY_COMES_S = 30.0
SHARE_TIMEOUT_S = 10.0


class GateKeeper:
    """Opens one gate at a time on the daemon's connection, and closes it when its user has gone."""

    def __init__(
        self,
        pipeline: Pipeline,
        is_shown: Callable[[str], bool],
        settings: Settings,
        nobody_comes_s: float = NOBODY_COMES_S,
    ) -> None:
        self._pipeline = pipeline
        self._is_shown = is_shown
        self._consent = settings.consent
        self._file = settings.data_dir / GATE_FILE
        self._nobody_comes_s = nobody_comes_s
        self._lock = threading.Lock()
        self._proxy: SingleTabProxy | None = None
        self._timer: threading.Timer | None = None

    def open(self) -> Path:
        """Open the gate; returns the file that tells the way.

        Raises ConfigError where none is needed, ChromeUnavailable without a connection, AlreadyRunning while one is
        open.
        """
        if not self._consent:
            raise ConfigError("This fluxcap does not read a browser by consent; connect to the browser itself.")
        with self._lock:
            if self._proxy is not None:
                raise AlreadyRunning("Another `fluxcap collect` is using the browser; try again when it has ended.")
            if not self._pipeline.attached:
                raise ChromeUnavailable(self._pipeline.view().chrome_reason)
            self._proxy = SingleTabProxy(self._pipeline.shared_browser, self._is_shown, self._on_feed)
            try:
                _write_secret(self._file, msgspec.json.encode(self._proxy.address))
            except OSError as error:
                self._proxy.close()
                self._proxy = None
                raise ConfigError(f"{self._file} cannot be written: {error.strerror}.") from None
            self._timer = threading.Timer(self._nobody_comes_s, self.close)
            self._timer.daemon = True
            self._timer.start()
        return self._file

    def close(self) -> None:
        """Close the gate, if it is open. Not to be called by one who uses it."""
        with self._lock:
            proxy, self._proxy = self._proxy, None
            if self._timer is not None:
                self._timer.cancel()
        if proxy is not None:
            with contextlib.suppress(OSError):
                remove_file(self._file)
            proxy.close()

    def _on_feed(self, is_open: bool) -> None:
        """The collection's reader came, or it went: with it the gate closes."""
        if self._timer is not None:
            self._timer.cancel()
        if not is_open:
            threading.Thread(target=self.close, name="fluxcap-gate-close", daemon=True).start()


@contextmanager
def open_gate(
    settings: Settings, is_shown: Callable[[str], bool], tell: Callable[[str], None]
) -> Iterator[GateAddress]:
    """Open a gate to the platform's tab for as long as it is used. ``tell``: says what to click.

    Raises ChromeUnavailable, ConsentRefused among them, and BrowserGone.
    """
    run = read_run_file(settings.data_dir)
    control = run.control if run is not None and not run.is_stale() else ""
    if settings.consent and control:
        yield _of_daemon(control)
        return
    try:
        found = browser_locator(settings)()
    except ChromeUnavailable as error:
        if not control:
            raise
        try:  # the daemon may have been told of consent by its command line alone
            address = _of_daemon(control)
        except FluxcapError:
            raise error from None
        yield address
        return
    shared = SharedBrowser()
    with ExitStack() as closing:
        feed_url = _connect(found, settings, shared, tell, closing)
        proxy = SingleTabProxy(shared, is_shown)
        closing.callback(proxy.close)
        yield GateAddress(proxy.endpoint, feed_url or proxy.feed_url)


def _of_daemon(control: str) -> GateAddress:
    """Have the daemon open its gate. Raises FluxcapError where it reads no browser by consent, or has none."""
    # Not above: the daemon is the one that answers, and an HTTP client costs its start a tenth of a second.
    from fluxcap.bridge.http.daemon_client import DaemonClient

    with DaemonClient(control, SHARE_TIMEOUT_S) as daemon:
        return _read_address(daemon.share_browser())


def _connect(
    found: BrowserInfo | ConsentBrowser,
    settings: Settings,
    shared: SharedBrowser,
    tell: Callable[[str], None],
    closing: ExitStack,
) -> str:
    """Connect to the browser; returns where its frames can be read beside it, "" where only this connection may."""

    def on_message(data: bytes, _stamp: ArrivalTime) -> None:
        shared.take(data)

    def on_end(_reason: str) -> None:
        shared.ended()

    if isinstance(found, ConsentBrowser):
        connection = ask_and_connect(found, ConsentFile(settings.data_dir), tell, on_message, on_end)
    else:
        connection = Connection(found.websocket_url, on_message, on_end)
    closing.callback(connection.close)
    shared.opened(connection.send)
    return "" if isinstance(found, ConsentBrowser) else found.websocket_url


def _read_address(file: Path) -> GateAddress:
    try:
        return msgspec.json.decode(file.read_bytes(), type=GateAddress)
    except (OSError, msgspec.DecodeError):
        raise ChromeUnavailable(f"The way to Chrome cannot be read from {file}; is it your own fluxcap?") from None


def _write_secret(file: Path, content: bytes) -> None:
    """Write a file that only its user may read, from its first byte on."""
    with contextlib.suppress(FileNotFoundError):
        file.unlink()
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
