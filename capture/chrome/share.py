"""Lets guests use the one connection to a browser: each has a browser-level session of its own on it, and only that.

In Chrome every further connection may open a dialog, so there is one, held by its owner. A guest speaks as over a
connection of its own; it hears its own answers and events, and those of the targets that it has attached, and nothing
of the owner's or of another guest's. The owner hears nothing of guests.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import msgspec

from fluxcap.schemas.errors import BrowserGone, CommandFailed

CALL_TIMEOUT_S = 5.0
FIRST_NUMBER = 1_000_000_000
"""Numbers of commands from here on are this module's: an owner would have to send one a second for thirty years."""
_REFUSED = -32001


class _Head(msgspec.Struct, frozen=True, rename="camel"):
    id: int = 0
    method: str = ""
    session_id: str = ""
    params: msgspec.Raw = msgspec.Raw(b"{}")


class _TargetInfo(msgspec.Struct, frozen=True):
    type: str = ""


class _SessionParams(msgspec.Struct, frozen=True, rename="camel"):
    session_id: str = ""
    target_info: _TargetInfo = _TargetInfo()


_decode_head = msgspec.json.Decoder(_Head).decode
_decode_session = msgspec.json.Decoder(_SessionParams).decode


class SharedBrowser:
    """See the module. The owner reports ``opened`` and ``ended`` and offers every message to ``take`` first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._send: Callable[[str], None] | None = None
        self._numbers = itertools.count(FIRST_NUMBER)
        self._calls: dict[int, Future[dict[str, Any]]] = {}
        self._hosts: dict[str, Guest] = {}
        """The guest of each session that is not the owner's."""
        self._leaving: set[str] = set()
        """Sessions of guests that have left, until Chrome has ended them: what they still say is nobody's."""

    def opened(self, send: Callable[[str], None]) -> None:
        """There is a connection; ``send`` raises BrowserGone once it has ended."""
        self._send = send

    def ended(self) -> None:
        """The connection is over, and with it every guest's."""
        with self._lock:
            self._send = None
            calls, guests = list(self._calls.values()), set(self._hosts.values())
            self._calls.clear()
            self._hosts.clear()
        for call in calls:
            call.set_exception(BrowserGone("The connection to Chrome ended."))
        for guest in guests:
            guest.on_end()

    def take(self, data: bytes) -> bool:
        """Hand a message of the browser's to the guest it is for; False for one of the owner's."""
        if not (self._calls or self._hosts or self._leaving):
            return False
        try:
            head = _decode_head(data)
        except (msgspec.DecodeError, RecursionError):
            return False
        if head.session_id:
            guest = self._hosts.get(head.session_id)
            if guest is not None:
                self._note_sessions(guest, head)
                guest.deliver(data)
            return guest is not None or head.session_id in self._leaving
        call = self._calls.pop(head.id, None) if head.id else None
        if call is not None:
            call.set_result(msgspec.json.decode(data, type=dict[str, Any]))
            return True
        if head.method == "Target.attachedToTarget":
            return _session_of(head).target_info.type == "browser"
        return head.method == "Target.detachedFromTarget" and _session_of(head).session_id in self._leaving

    def call(self, method: str, params: dict[str, Any] | None = None, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        """Ask the browser itself; returns the result. Not to be called on the reader's thread.

        Raises BrowserGone without a connection, CommandFailed for an error or no answer in time.
        """
        number, answer = next(self._numbers), Future[dict[str, Any]]()
        with self._lock:
            send = self._send
            if send is None:
                raise BrowserGone("There is no connection to Chrome.")
            self._calls[number] = answer
        try:
            send(msgspec.json.encode({"id": number, "method": method, "params": params or {}}).decode())
            told = answer.result(timeout_s)
        except TimeoutError:
            raise CommandFailed(f"Chrome did not answer {method} within {timeout_s:g} s.") from None
        finally:
            self._calls.pop(number, None)
        if "error" in told:
            raise CommandFailed(f"Chrome refused {method}: {told['error'].get('message', '')}.")
        return told.get("result", {})

    def join(self, on_message: Callable[[str], None], on_end: Callable[[], None]) -> Guest:
        """Open a session of the browser for a guest.

        ``on_message`` and ``on_end`` are called on the reader's thread and must not wait. Raises as ``call``.
        """
        session_id = str(self.call("Target.attachToBrowserTarget")["sessionId"])
        guest = Guest(self, session_id, on_message, on_end)
        with self._lock:
            if self._send is None:
                raise BrowserGone("The connection to Chrome ended.")
            self._hosts[session_id] = guest
        return guest

    def leave(self, guest: Guest) -> None:
        """End a guest's session, and with it all that it had attached."""
        with self._lock:
            sessions = [one for one, host in self._hosts.items() if host is guest]
            self._leaving.update(sessions)
            for session_id in sessions:
                del self._hosts[session_id]
        with contextlib.suppress(BrowserGone, CommandFailed):
            self.call("Target.detachFromTarget", {"sessionId": guest.session_id})
        with self._lock:
            self._leaving.difference_update(sessions)

    def send(self, guest: Guest, text: str) -> str:
        """Send a guest's command; returns what is answered at once, "" for nothing. Raises BrowserGone."""
        send = self._send
        if send is None:
            raise BrowserGone("The connection to Chrome ended.")
        try:
            command = msgspec.json.decode(text, type=dict[str, Any])
            number = int(command["id"])
        except (msgspec.DecodeError, KeyError, TypeError, ValueError, RecursionError):
            return ""
        session_id = str(command.setdefault("sessionId", guest.session_id))
        if self._hosts.get(session_id) is not guest:
            error = {"code": _REFUSED, "message": "Session with given id not found."}
            return msgspec.json.encode({"id": number, "error": error, "sessionId": session_id}).decode()
        send(msgspec.json.encode(command).decode())
        return ""

    def _note_sessions(self, guest: Guest, head: _Head) -> None:
        """Keep account of the targets that a guest attaches, and those that come with them."""
        if head.method == "Target.attachedToTarget" and (session_id := _session_of(head).session_id):
            self._hosts[session_id] = guest
        elif head.method == "Target.detachedFromTarget":
            self._hosts.pop(_session_of(head).session_id, None)


class Guest:
    """One guest's way to the browser, from ``SharedBrowser.join`` until ``leave``."""

    def __init__(
        self, browser: SharedBrowser, session_id: str, on_message: Callable[[str], None], on_end: Callable[[], None]
    ) -> None:
        self._browser = browser
        self._on_message = on_message
        self.session_id = session_id
        self.on_end = on_end

    def send(self, text: str) -> None:
        """Send a command as over a connection of its own. Raises BrowserGone."""
        answer = self._browser.send(self, text)
        if answer:
            self._on_message(answer)

    def deliver(self, data: bytes) -> None:
        """Hand over what the browser says, as over a connection of the guest's own."""
        message = msgspec.json.decode(data, type=dict[str, Any])
        if message["sessionId"] == self.session_id:
            del message["sessionId"]
        self._on_message(msgspec.json.encode(message).decode())

    def leave(self) -> None:
        """End the session."""
        self._browser.leave(self)


def _session_of(head: _Head) -> _SessionParams:
    try:
        return _decode_session(head.params)
    except (msgspec.DecodeError, RecursionError):
        return _SessionParams()
