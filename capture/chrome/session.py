"""The CDP state machine over one browser connection: messages in, events and commands out. Pure.

The caller feeds every message to ``receive``, lets time pass through ``expire``, and after each call sends what
``outgoing`` returns. One session lives as long as one connection; a new connection gets a new session::

    session = CdpSession(platform.is_platform_url)
    session.start(mono_ns)
    for message, stamp in connection:
        events = session.receive(message, stamp)
        for command in session.outgoing():
            connection.send(command)

Nothing raises, whatever the browser says: what is no CDP becomes ``Malformed``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from fluxcap.capture.chrome.commands import DEFAULT_TIMEOUT_NS, CommandTracker
from fluxcap.capture.chrome.events import (
    ActiveAssetLabel,
    ArrivalTime,
    ChromeEvent,
    CommandRecovered,
    CommandTimedOut,
    EndReason,
    FrameReceived,
    FrameSent,
    Malformed,
    PlatformDate,
    SocketClosed,
    SocketId,
    SocketOpened,
)
from fluxcap.capture.chrome.messages import (
    EVENTS,
    FRAME_RECEIVED,
    FRAME_SENT,
    NOT_CDP,
    FrameParams,
    Head,
    decode_attach_result,
    decode_date_headers,
    decode_error,
    decode_frame,
    decode_head,
    decode_version,
    is_unread_event,
)
from fluxcap.capture.chrome.page_query import ActiveAssetQuery
from fluxcap.capture.chrome.target import (
    Attachment,
    OpenSocket,
    SocketSnapshot,
    TabSnapshot,
    TargetState,
    origin,
)
from fluxcap.capture.chrome.targets import Targets

PARKED = "Back-Forward Cache"
"""In the error of a socket whose page was frozen or parked (Chromium 156: "Page entered Back-Forward Cache.")."""
_MADE_TYPES = frozenset({"Document", "XHR", "Fetch"})
"""Kinds of responses that servers make when asked; scripts and pictures lie in caches that need not say so."""


class SessionSnapshot(msgspec.Struct, frozen=True):
    """The state of the session, for ``status``."""

    tabs: tuple[TabSnapshot, ...]
    sockets: tuple[SocketSnapshot, ...]
    pending_commands: int
    lookalikes: tuple[str, ...] = ()
    """Hosts of pages that look like the platform's and are not attached."""


class CdpSession:
    """The CDP session of one browser connection.

    ``is_platform_url(url)``: whether a page, frame or worker of this address is the platform's; anything else is never
    attached. ``resembles(url)``: whether a page that is not looks like it. ``is_mirror(url)``: whether a page is one of
    the platform's whose name may change hands: its responses do not tell the time. ``timeout_ns``: after which an
    unanswered command is reported.

    ``unsent``: whether there is anything for ``outgoing`` to hand out; looked at after every message. ``product``: the
    browser's name and version, once an answer to ``probe`` has told them.
    """

    def __init__(
        self,
        is_platform_url: Callable[[str], bool],
        *,
        resembles: Callable[[str], bool] = lambda url: False,
        is_mirror: Callable[[str], bool] = lambda url: False,
        timeout_ns: int = DEFAULT_TIMEOUT_NS,
    ) -> None:
        self._commands = CommandTracker(timeout_ns)
        self.unsent: Sequence[str] = self._commands.unsent
        self._is_platform_url = is_platform_url
        self._is_mirror = is_mirror
        self._targets = Targets(is_platform_url, self._commands, resembles)
        self._sessions = self._targets.sessions
        self._asset_query = ActiveAssetQuery(self._commands)
        self.product = ""
        self._root_handlers: dict[str, Callable[[Head, Any, int, list[ChromeEvent]], None]] = {
            "Target.targetCreated": self._on_target_info,
            "Target.targetInfoChanged": self._on_target_info,
            "Target.targetDestroyed": lambda _head, params, _now, out: self._targets.destroyed(params.target_id, out),
            "Target.targetCrashed": lambda _head, params, _now, out: self._targets.crashed(params.target_id, out),
            "Target.attachedToTarget": self._on_attached,
            "Target.detachedFromTarget": self._on_detached,
        }
        self._handlers: dict[str, Callable[[Attachment, Any, int, list[ChromeEvent]], None]] = {
            "Network.webSocketCreated": self._on_socket_created,
            "Network.webSocketClosed": self._on_socket_closed,
            "Network.webSocketFrameError": self._on_socket_error,
            "Page.frameNavigated": self._targets.navigated,
            "Inspector.targetCrashed": lambda session, _params, _now, out: self._targets.crashed(
                session.target.id, out
            ),
            "Inspector.targetReloadedAfterCrash": lambda session, _params, now, _out: self._targets.on_reloaded(
                session, now
            ),
        }

    # --- what the caller does -----------------------------------------------------------------------------------

    def start(self, mono_ns: int) -> None:
        """Queue the first command. ``mono_ns``: now, monotonic."""
        self._targets.discover(mono_ns)

    def receive(self, data: bytes | str, stamp: ArrivalTime) -> list[ChromeEvent]:
        """Take one message of the browser's; returns what it means, in order. Mostly nothing or one frame."""
        if isinstance(data, str):
            data = data.encode("utf-8", "surrogatepass")
        if data.startswith(FRAME_RECEIVED):  # nearly all messages: one decode, two look-ups
            try:
                message = decode_frame(data)
            except NOT_CDP:
                return [Malformed("frame")]
            session, params = self._sessions.get(message.session_id), message.params
            if session is None:
                return []
            socket, body = session.sockets.open.get(params.request_id), params.response
            if socket is None:
                return self._on_frame(session, params, stamp, FrameReceived)
            socket.frames += 1
            socket.last_ns = stamp.mono_ns
            return [FrameReceived(socket.id, session.target.id, body.opcode, body.payload_data, stamp)]
        if data.startswith(FRAME_SENT):
            return self._on_frame_sent(data, stamp)
        if is_unread_event(data):
            return []
        try:
            head = decode_head(data)
        except NOT_CDP:
            return [Malformed("json")]
        out: list[ChromeEvent] = []
        if head.id is not None:
            self._on_answer(head, stamp.mono_ns, out)
        elif head.method in EVENTS:
            self._on_event(head, stamp, out)
        elif not head.method:
            out.append(Malformed("message"))
        return out

    def outgoing(self) -> list[str]:
        """Commands to send now, in order; each is handed out once."""
        return self._commands.outgoing()

    def expire(self, mono_ns: int) -> list[ChromeEvent]:
        """Let time pass: report commands that timed out, attach again to what was lost.

        Call it on drained messages and when idle, so that answers waiting in a backlog are never called late.
        """
        out: list[ChromeEvent] = []
        for command in self._commands.expire(mono_ns):
            self._targets.timed_out(command, mono_ns)
            out.append(CommandTimedOut(command.method, command.target_id))
        self._targets.retry(mono_ns)
        return out

    def probe(self, mono_ns: int) -> None:
        """Ask browser and tabs for a sign of life; at most one question to each is open at a time.

        A frozen or busy one shows as CommandTimedOut, its return as Responded.
        """
        if not self._commands.is_pending("Browser.getVersion"):
            self._commands.send("Browser.getVersion", {}, mono_ns)
        for session in self._sessions.values():
            listening = session.target.state is TargetState.LISTENING
            if listening and not self._commands.is_pending("Runtime.getIsolateId", session.id):
                self._commands.send(
                    "Runtime.getIsolateId", {}, mono_ns, target_id=session.target.id, session_id=session.id
                )

    def query_active_asset(self, expression: str, mono_ns: int) -> None:
        """Ask the platform's pages for a label, by a JavaScript expression; answers come as ``ActiveAssetLabel``."""
        self._asset_query.send(self._sessions, expression, mono_ns)

    def reload_pages(self, mono_ns: int) -> int:
        """Have every page of the platform loaded again, as with F5; returns how many. At the user's word alone."""
        pages = [
            session
            for session in self._sessions.values()
            if session.target.info.type == "page" and session.target.state is TargetState.LISTENING
        ]
        for session in pages:
            self._commands.send("Page.reload", {}, mono_ns, target_id=session.target.id, session_id=session.id)
        return len(pages)

    def browser_gone(self) -> list[ChromeEvent]:
        """The connection ended: everything that was open is over. The session is of no more use."""
        out: list[ChromeEvent] = []
        self._targets.close_all(out)
        return out

    def snapshot(self) -> SessionSnapshot:
        """The tabs and open sockets of the platform as they are now."""
        tabs = tuple(target.snapshot() for target in self._targets)
        sockets = tuple(
            SocketSnapshot(s.id, session.target.id, s.url, s.frames, s.last_ns)
            for session in self._sessions.values()
            for s in session.sockets.open.values()
        )
        lookalikes = tuple(dict.fromkeys(self._targets.lookalikes.values()))
        return SessionSnapshot(tabs, sockets, self._commands.pending, lookalikes)

    # --- frames -------------------------------------------------------------------------------------------------

    def _on_frame_sent(self, data: bytes, stamp: ArrivalTime) -> list[ChromeEvent]:
        try:
            message = decode_frame(data)
        except NOT_CDP:
            return [Malformed("frame")]
        session = self._sessions.get(message.session_id)
        return [] if session is None else self._on_frame(session, message.params, stamp, FrameSent)

    def _on_frame(
        self, session: Attachment, params: FrameParams, stamp: ArrivalTime, kind: type[FrameReceived] | type[FrameSent]
    ) -> list[ChromeEvent]:
        out: list[ChromeEvent] = []
        socket = session.sockets.open.get(params.request_id)
        if socket is None:
            socket = self._open(session, params.request_id, "", out)
        if kind is FrameReceived:
            socket.frames += 1
            socket.last_ns = stamp.mono_ns
        body = params.response
        out.append(kind(socket.id, session.target.id, body.opcode, body.payload_data, stamp))
        return out

    # --- everything else ----------------------------------------------------------------------------------------

    def _on_answer(self, head: Head, mono_ns: int, out: list[ChromeEvent]) -> None:
        command, late = self._commands.answered(head.id or 0)
        if command is None:
            return
        if late:
            out.append(CommandRecovered(command.method, command.target_id))
        error, session_id = None, ""
        try:
            if bytes(head.error):
                error = decode_error(head.error)
            elif command.method == "Target.attachToTarget":
                session_id = decode_attach_result(head.result).session_id
            elif command.method == "Browser.getVersion" and not self.product:
                self.product = decode_version(head.result).product
        except NOT_CDP:
            out.append(Malformed("answer"))
        self._targets.answered(command, error, session_id, mono_ns, out)
        if error is None and (label := self._asset_query.answered(command, head, mono_ns)):
            out.append(ActiveAssetLabel(command.target_id, label))

    def _on_event(self, head: Head, stamp: ArrivalTime, out: list[ChromeEvent]) -> None:
        try:
            params = EVENTS[head.method].decode(head.params)
        except NOT_CDP:
            out.append(Malformed("params"))
            return
        root_handler = self._root_handlers.get(head.method)
        if root_handler is not None:
            root_handler(head, params, stamp.mono_ns, out)
            return
        session = self._sessions.get(head.session_id)
        if session is None:
            return
        handler = self._handlers.get(head.method)
        if handler is not None:
            handler(session, params, stamp.mono_ns, out)
        elif head.method == "Network.webSocketHandshakeResponseReceived":
            socket = session.sockets.open.get(params.request_id)
            if socket is not None:
                _add_date(params.response.headers, socket.id, stamp, out)
        elif head.method == "Network.responseReceived":
            self._on_response(session, params, stamp, out)
        else:
            kind = FrameReceived if head.method == "Network.webSocketFrameReceived" else FrameSent
            out.extend(self._on_frame(session, params, stamp, kind))

    def _on_target_info(self, _head: Head, params: Any, mono_ns: int, out: list[ChromeEvent]) -> None:
        self._targets.on_target_info(params.target_info, mono_ns, out)

    def _on_attached(self, head: Head, params: Any, mono_ns: int, out: list[ChromeEvent]) -> None:
        self._targets.attached(head.session_id, params, mono_ns, out)

    def _on_detached(self, _head: Head, params: Any, mono_ns: int, out: list[ChromeEvent]) -> None:
        self._targets.detached(params.session_id, mono_ns, out)

    def _on_socket_created(self, session: Attachment, params: Any, _now: int, out: list[ChromeEvent]) -> None:
        if params.request_id not in session.sockets.open:
            self._open(session, params.request_id, params.url, out)

    def _on_response(self, session: Attachment, params: Any, stamp: ArrivalTime, out: list[ChromeEvent]) -> None:
        response = params.response
        if response.is_cached or params.type not in _MADE_TYPES:
            return
        page = origin(session.target.info.url)
        if self._is_mirror(response.url):
            return  # its name may have changed hands
        if self._is_platform_url(response.url) or (page and origin(response.url) == page):
            _add_date(response.headers, None, stamp, out)

    def _on_socket_closed(self, session: Attachment, params: Any, _now: int, out: list[ChromeEvent]) -> None:
        _close(session, params.request_id, EndReason.CLOSED, out)

    def _on_socket_error(self, session: Attachment, params: Any, _now: int, out: list[ChromeEvent]) -> None:
        frozen = PARKED in params.error_message
        _close(session, params.request_id, EndReason.FROZEN if frozen else EndReason.FRAME_ERROR, out)

    def _open(self, session: Attachment, request_id: str, url: str, out: list[ChromeEvent]) -> OpenSocket:
        self._targets.on_listening(session.target, out)
        socket, evicted = session.sockets.add(request_id, url)
        out.extend(SocketClosed(old, EndReason.DETACHED) for old in evicted)
        out.append(SocketOpened(socket.id, session.target.id, socket.url))
        return socket


def _add_date(headers: msgspec.Raw, socket: SocketId | None, stamp: ArrivalTime, out: list[ChromeEvent]) -> None:
    """Read when a response was made. The answer to a handshake is made for it; any other may come from a cache."""
    try:
        told = decode_date_headers(headers)
    except NOT_CDP:
        return
    if (date_ms := told.date_ms) is not None and (socket is not None or not told.is_cached):
        out.append(PlatformDate(date_ms, socket, stamp))


def _close(session: Attachment, request_id: str, reason: EndReason, out: list[ChromeEvent]) -> None:
    socket = session.sockets.end(request_id)
    if socket is not None:
        out.append(SocketClosed(socket, reason))
