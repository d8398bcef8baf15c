"""Asks the user of a browser for consent: one dialog, the wait for its answer, and the small file that remembers it.

In: a browser that was found, and the user's word that it may be asked again. Out: a connection handed to the pipeline,
or the sentence that says what to click. The wait may last for days; it is a thread of its own and one open socket, and
nothing else is sent to the browser meanwhile.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from fluxcap.bridge.system.files import replace_file
from fluxcap.capture.chrome.connection import Connection
from fluxcap.capture.chrome.consent import Answer, ConsentRecord, asking_sentence
from fluxcap.capture.chrome.endpoint import ConsentBrowser
from fluxcap.capture.chrome.events import ArrivalTime
from fluxcap.schemas.errors import BrowserGone, ConsentRefused, FluxcapError

CONSENT_FILE = "consent.json"
CONNECT_TIMEOUT_S = 1.0
CLOSING_S = 1.0
"""A browser that is being closed dismisses its dialogs as if refused: a refusal counts only if it lives so long."""


class ConsentFile:
    """``consent.json`` in a data folder: when a browser was asked last, and the answer."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / CONSENT_FILE

    def read(self) -> ConsentRecord:
        """Return what it says; a record of nothing when it is absent or damaged."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=ConsentRecord)
        except (OSError, msgspec.DecodeError):
            return ConsentRecord()

    def write(self, record: ConsentRecord) -> None:
        """Replace it in one piece. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        whole = self._path.with_name(f"{CONSENT_FILE}.new")
        whole.write_bytes(msgspec.json.encode(record))
        replace_file(whole, self._path)


class Dialling(Protocol):
    """``Pipeline``, as far as it is needed."""

    def attach(self, websocket_url: str, browser: str, connect: Callable[..., Connection]) -> None: ...

    def on_waiting_for_consent(self, reason: str) -> None: ...

    def on_chrome_unavailable(self, reason: str) -> None: ...


class ConsentKeeper:
    """Asks when it may, and waits for the answer; at most one dialog at a time.

    Parameters
    ----------
    file
        Where the last dialog is remembered.
    now_ms
        The wall clock, UTC epoch milliseconds.
    """

    def __init__(self, file: ConsentFile, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._file = file
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._record = file.read()
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None
        self._stopped = False

    @property
    def asking(self) -> bool:
        """Return whether a dialog is open now."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    def want(self) -> None:
        """Let the next look ask, at the user's word."""
        with self._lock:
            if not self.asking:
                self._remember(self._record.wanting())

    def pursue(self, browser: ConsentBrowser, pipeline: Dialling) -> None:
        """Ask, if it may be asked now, and let the pipeline have the connection; returns at once.

        Raises BrowserGone when nobody listens there any more.
        """
        with self._lock:
            if self.asking or self._stopped:
                return
            if not self._record.may_ask(browser.start, self._now_ms()):
                pipeline.on_waiting_for_consent(self._record.why_not())
                return
            self._socket = open_socket(browser)
            self._remember(self._record.asking(browser.start, browser.label, self._now_ms()))
            pipeline.on_waiting_for_consent(asking_sentence(browser.label))
            self._thread = threading.Thread(
                target=self._await, args=(browser, pipeline, self._socket), name="fluxcap-consent", daemon=True
            )
            self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Stop waiting for an answer. The dialog stays open, since only its user can close it."""
        with self._lock:
            self._stopped = True
            thread, waiting = self._thread, self._socket
        if thread is not None and waiting is not None and thread.is_alive():
            hang_up(waiting)
            thread.join(timeout_s)

    def _await(self, browser: ConsentBrowser, pipeline: Dialling, waiting: socket.socket) -> None:
        connect = partial(Connection, open_socket=waiting)
        try:
            pipeline.attach(browser.websocket_url, browser.label, connect)
        except ConsentRefused:
            if self._lives_on(browser):
                self._answered(Answer.REFUSED)
                pipeline.on_waiting_for_consent(self._record.why_not())
            else:
                pipeline.on_chrome_unavailable(f"{browser.label} was closed.")
        except FluxcapError as error:
            pipeline.on_chrome_unavailable(str(error))
        else:
            self._answered(Answer.ALLOWED)
        finally:
            self._socket = None

    def _lives_on(self, browser: ConsentBrowser) -> bool:
        time.sleep(CLOSING_S)
        try:
            open_socket(browser).close()
        except BrowserGone:
            return False
        return True

    def _answered(self, answer: Answer) -> None:
        with self._lock:
            self._remember(self._record.answered(answer))

    def _remember(self, record: ConsentRecord) -> None:
        self._record = record
        with contextlib.suppress(OSError):  # a full disk: it holds for this run, and the next may ask once more
            self._file.write(record)


def ask_and_connect(
    browser: ConsentBrowser,
    file: ConsentFile,
    tell: Callable[[str], None],
    on_message: Callable[[bytes, ArrivalTime], None],
    on_end: Callable[[str], None],
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> Connection:
    """Ask by the same rules, for a command that ends; waits for the answer. ``tell``: says what to click.

    Raises ConsentRefused when the user says no or may not be asked now, BrowserGone when the browser ends.
    """
    record = file.read()
    if not record.may_ask(browser.start, now_ms()):
        raise ConsentRefused(record.why_not())
    waiting = open_socket(browser)
    record = record.asking(browser.start, browser.label, now_ms())
    with contextlib.suppress(OSError):
        file.write(record)
    tell(asking_sentence(browser.label))
    answer = Answer.NONE
    try:
        connection = Connection(browser.websocket_url, on_message, on_end, open_socket=waiting)
        answer = Answer.ALLOWED
    except ConsentRefused:
        answer = Answer.REFUSED
        raise ConsentRefused(record.answered(answer).why_not()) from None
    finally:
        with contextlib.suppress(OSError):
            file.write(record.answered(answer))
    return connection


def open_socket(browser: ConsentBrowser) -> socket.socket:
    """Connect to a browser without saying anything, which opens no dialog. Raises BrowserGone."""
    where = urlsplit(browser.websocket_url)
    try:
        made = socket.create_connection((str(where.hostname), int(where.port or 0)), CONNECT_TIMEOUT_S)
    except OSError as error:
        raise BrowserGone(f"{browser.label} does not answer any more: {error.strerror or error}.") from None
    made.settimeout(None)
    return made


def hang_up(waiting: socket.socket) -> None:
    """Wake whoever waits for an answer on a socket."""
    with contextlib.suppress(OSError):
        waiting.shutdown(socket.SHUT_RDWR)
