"""The platform's pages, frames and workers, with the stage of attaching to each. Pure.

Only targets whose address is the platform's are ever attached: pages, frames of other processes, shared and service
workers one by one from what discovery reports, dedicated workers with the page or frame that owns them. Of any other
target nothing is kept, not even its address, but for the host of a page that looks like the platform's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fluxcap.capture.chrome.commands import Command, CommandTracker
from fluxcap.capture.chrome.events import (
    ChromeEvent,
    CommandRefused,
    EndReason,
    LookalikeSeen,
    Malformed,
    SocketClosed,
    TabAttached,
    TabChanged,
    TabGone,
)
from fluxcap.capture.chrome.messages import AttachedParams, ErrorBody, NavigatedParams, TargetInfo
from fluxcap.capture.chrome.target import Attachment, Target, TargetState, origin, without_query

DISCOVERED = ("page", "iframe", "shared_worker", "service_worker")
"""Target types that discovery reports and that are attached by their own address."""
MAX_TARGETS = 512
MAX_DEPTH = 16
"""Of frames and workers inside each other."""
MAX_RETRIES = 5
RETRY_NS = 1_000_000_000

_SESSION_GONE = -32001
_NETWORK_ENABLE = {"maxTotalBufferSize": 0, "maxResourceBufferSize": 0, "maxPostDataSize": 0}
"""The browser need not keep a single response body for us: capture must cost the page no memory."""
_AUTO_ATTACH_WORKERS = {
    "autoAttach": True,
    "waitForDebuggerOnStart": False,
    "flatten": True,
    "filter": [{"type": "worker"}],
}


class Targets:
    """The platform's targets and their sessions. Methods append what happened to ``out``."""

    def __init__(
        self,
        is_platform_url: Callable[[str], bool],
        commands: CommandTracker,
        resembles: Callable[[str], bool] = lambda url: False,
    ) -> None:
        self._is_platform_url = is_platform_url
        self._resembles = resembles
        self._commands = commands
        self._targets: dict[str, Target] = {}
        self.sessions: dict[str, Attachment] = {}
        self.lookalikes: dict[str, str] = {}
        """Pages that are not the platform's but look like it, by target: their hosts. They are not attached."""

    def __iter__(self) -> Iterator[Target]:
        return iter(self._targets.values())

    # --- discovery ----------------------------------------------------------------------------------------------

    def discover(self, mono_ns: int) -> None:
        """Ask the browser to report targets from now on, the present ones first."""
        params = {"discover": True, "filter": [{"type": kind} for kind in DISCOVERED]}
        self._commands.send("Target.setDiscoverTargets", params, mono_ns)

    def on_target_info(self, info: TargetInfo, mono_ns: int, out: list[ChromeEvent]) -> None:
        """A target was created or has changed: attach, detach, or note its new address."""
        target = self._targets.get(info.target_id)
        if info.type == "page":
            self._note_lookalike(info, out)
        if target is None:
            if info.type in DISCOVERED and self._is_ours(info.url):
                self._add(info, mono_ns, out)
        elif not info.url:
            return  # between two documents: what follows says more
        elif info.type != "worker" and not self._is_ours(info.url):
            self._forget(target, mono_ns, out)
        else:
            self._rename(target, info, out)
            if target.state is TargetState.LOST:
                self._attach(target, mono_ns)
            elif target.state in (TargetState.SILENT, TargetState.REFUSED):
                self._enable(target, mono_ns)

    def _note_lookalike(self, info: TargetInfo, out: list[ChromeEvent]) -> None:
        if not self._resembles(info.url):
            self.lookalikes.pop(info.target_id, None)
            return
        host = origin(info.url).partition("://")[2]
        if self.lookalikes.get(info.target_id) != host and len(self.lookalikes) < MAX_TARGETS:
            self.lookalikes[info.target_id] = host
            out.append(LookalikeSeen(host))

    def destroyed(self, target_id: str, out: list[ChromeEvent]) -> None:
        self.lookalikes.pop(target_id, None)
        target = self._targets.pop(target_id, None)
        if target is not None and target.session is not None:
            self._drop(target.session, _end_of(target), out)

    def _add(self, info: TargetInfo, mono_ns: int, out: list[ChromeEvent]) -> None:
        if len(self._targets) >= MAX_TARGETS:
            out.append(Malformed("targets"))
            return
        target = self._targets[info.target_id] = Target(info)
        self._attach(target, mono_ns)

    def _is_ours(self, url: str) -> bool:
        return self._is_platform_url(url.removeprefix("blob:"))

    def _rename(self, target: Target, info: TargetInfo, out: list[ChromeEvent]) -> None:
        changed = (info.url, info.title) != (target.info.url, target.info.title)
        target.info = info
        if changed and target.state is TargetState.LISTENING:
            out.append(TabChanged(target.id, without_query(info.url), info.title))

    # --- attaching ----------------------------------------------------------------------------------------------

    def attached(self, parent_id: str, params: AttachedParams, mono_ns: int, out: list[ChromeEvent]) -> None:
        """The browser has attached a session: keep it if it is one we want, else let it go before it says anything.

        ``parent_id``: the session that brought it along, ``""`` for what was asked for.
        """
        if params.session_id in self.sessions:
            return
        target = self._target_for_session(parent_id, params.target_info)
        if target is None:
            self._detach(params.session_id, parent_id, mono_ns)
            return
        self._rename(target, params.target_info, out)
        self._adopt(target, params.session_id, self.sessions.get(parent_id), mono_ns)

    def _target_for_session(self, parent_id: str, info: TargetInfo) -> Target | None:
        """The target that awaits this session. None: a second session of one, or it has left the platform since."""
        target = self._targets.get(info.target_id)
        parent = self.sessions.get(parent_id)
        if target is None and parent is not None and self._is_own_worker(parent, info):
            target = self._targets[info.target_id] = Target(info)
        if target is None or target.session is not None:
            return None
        if target.info.type != "worker" and not self._is_ours(info.url):
            del self._targets[target.id]
            return None
        return target

    def _is_own_worker(self, parent: Attachment, info: TargetInfo) -> bool:
        """A dedicated worker belongs to the frame that made it: same origin, or a blob or data of its own."""
        if info.type != "worker" or len(self._targets) >= MAX_TARGETS:
            return False
        foreign = info.url.startswith(("http:", "https:")) and origin(info.url) != origin(parent.target.info.url)
        return not foreign or self._is_ours(info.url)

    def _attach(self, target: Target, mono_ns: int) -> None:
        target.set_state(TargetState.ATTACHING)
        params = {"targetId": target.id, "flatten": True}
        self._commands.send("Target.attachToTarget", params, mono_ns, target_id=target.id)

    def _adopt(self, target: Target, session_id: str, parent: Attachment | None, mono_ns: int) -> None:
        target.session = self.sessions[session_id] = Attachment(session_id, target, parent)
        self._enable(target, mono_ns)

    def _enable(self, target: Target, mono_ns: int) -> None:
        if target.session is None:
            return
        target.set_state(TargetState.ENABLING)
        kind, session_id = target.info.type, target.session.id
        send = self._commands.send
        send("Network.enable", _NETWORK_ENABLE, mono_ns, target_id=target.id, session_id=session_id)
        if kind in ("page", "iframe"):
            send("Page.enable", {}, mono_ns, target_id=target.id, session_id=session_id)
        if kind != "service_worker":
            send("Target.setAutoAttach", _AUTO_ATTACH_WORKERS, mono_ns, target_id=target.id, session_id=session_id)

    def on_listening(self, target: Target, out: list[ChromeEvent]) -> None:
        """The target has answered or spoken: its frames arrive."""
        if target.session is not None and target.state is not TargetState.LISTENING:
            target.set_state(TargetState.LISTENING)
            target.retries = 0
            out.append(TabAttached(target.id, without_query(target.info.url), target.info.title, target.info.type))

    # --- answers ------------------------------------------------------------------------------------------------

    def answered(
        self, command: Command, error: ErrorBody | None, session_id: str, mono_ns: int, out: list[ChromeEvent]
    ) -> None:
        """An answer arrived. ``session_id``: what attachToTarget gave, else ``""``."""
        target = self._targets.get(command.target_id)
        if error is not None and error.code != _SESSION_GONE and (target is not None or not command.target_id):
            out.append(CommandRefused(command.method, command.target_id, error.message))
        if target is None:
            return
        if command.method == "Target.attachToTarget":
            if target.state is not TargetState.ATTACHING:
                return
            if error is not None:
                self._mark_lost(target, mono_ns)
            elif target.session is None and session_id and session_id not in self.sessions:
                self._adopt(target, session_id, None, mono_ns)
        elif command.method == "Network.enable":
            if error is None:
                self.on_listening(target, out)
            elif target.state in (TargetState.ENABLING, TargetState.SILENT):
                target.set_state(TargetState.REFUSED)
                target.lost_ns = mono_ns

    def timed_out(self, command: Command, mono_ns: int) -> None:
        target = self._targets.get(command.target_id)
        if target is None:
            return
        if command.method == "Target.attachToTarget" and target.state is TargetState.ATTACHING:
            self._mark_lost(target, mono_ns)
        elif command.method == "Network.enable" and target.state is TargetState.ENABLING:
            target.set_state(TargetState.SILENT)

    def retry(self, mono_ns: int) -> None:
        """Try again what was lost or refused a second ago, a few times; after that only when the target changes."""
        for target in self._targets.values():
            failed = target.state in (TargetState.LOST, TargetState.REFUSED)
            if failed and mono_ns - target.lost_ns >= RETRY_NS and target.retries < MAX_RETRIES:
                target.retries += 1
                if target.state is TargetState.LOST:
                    self._attach(target, mono_ns)
                else:
                    self._enable(target, mono_ns)

    # --- ends ---------------------------------------------------------------------------------------------------

    def detached(self, session_id: str, mono_ns: int, out: list[ChromeEvent]) -> None:
        """The browser detached from a session by itself: tab closed, worker ended, frame replaced."""
        attachment = self.sessions.get(session_id)
        if attachment is None:
            return
        target = attachment.target
        self._drop(attachment, _end_of(target), out)
        if target.info.type == "worker":
            self._targets.pop(target.id, None)
        else:
            self._mark_lost(target, mono_ns)

    def crashed(self, target_id: str, out: list[ChromeEvent]) -> None:
        """The renderer is gone; the session stays and a reload revives it."""
        target = self._targets.get(target_id)
        if target is None or target.session is None or target.state is TargetState.CRASHED:
            return
        was_listening = target.state is TargetState.LISTENING
        target.set_state(TargetState.CRASHED)
        self._commands.forget_session(target.session.id)
        self._drop_children(target.session, EndReason.CRASHED, out)
        _close_sockets(target.session, EndReason.CRASHED, out)
        if was_listening:
            out.append(TabGone(target.id, EndReason.CRASHED))

    def on_reloaded(self, attachment: Attachment, mono_ns: int) -> None:
        """The crashed tab was reloaded."""
        if attachment.target.state in (TargetState.CRASHED, TargetState.SILENT, TargetState.REFUSED):
            self._enable(attachment.target, mono_ns)

    def navigated(self, attachment: Attachment, params: NavigatedParams, mono_ns: int, out: list[ChromeEvent]) -> None:
        """A new document: the sockets of the old one are over, whether or not anybody says so."""
        target, frame = attachment.target, params.frame
        if frame.id != target.id and (frame.parent_id or target.info.type != "page"):
            return
        if not self._is_ours(frame.url):
            self._forget(target, mono_ns, out)
            return
        same = params.type == "Navigation" and frame.url == target.info.url.partition("#")[0]
        reason = EndReason.RELOADED if same else EndReason.NAVIGATED
        _close_sockets(attachment, reason, out)
        self._close_inner_sockets(target, reason, out)

    def close_all(self, out: list[ChromeEvent]) -> None:
        """The connection to the browser ended."""
        for attachment in list(self.sessions.values()):
            self._drop(attachment, EndReason.BROWSER_GONE, out)
        self._targets.clear()

    def _forget(self, target: Target, mono_ns: int, out: list[ChromeEvent]) -> None:
        """It has left the platform: detach now and forget it."""
        self._close_inner_sockets(target, EndReason.NAVIGATED, out)
        del self._targets[target.id]
        if target.session is not None:
            self._detach(target.session.id, "", mono_ns)
            self._drop(target.session, EndReason.NAVIGATED, out)

    def _close_inner_sockets(self, outer: Target, reason: EndReason, out: list[ChromeEvent]) -> None:
        """Sockets of the frames and workers inside a document that has gone.

        They park with it in the back/forward cache: still attached, silent, and never reported closed.
        """
        for target in self._targets.values():
            if target.session is not None and self._is_inside(target, outer):
                _close_sockets(target.session, reason, out)

    def _is_inside(self, target: Target, outer: Target) -> bool:
        inner: Target | None = target
        for _ in range(MAX_DEPTH):
            inner = self._targets.get(inner.outer_id) if inner is not None else None
            if inner is outer:
                return True
        return False

    def _detach(self, session_id: str, parent_id: str, mono_ns: int) -> None:
        self._commands.send("Target.detachFromTarget", {"sessionId": session_id}, mono_ns, session_id=parent_id)

    def _mark_lost(self, target: Target, mono_ns: int) -> None:
        target.set_state(TargetState.LOST)
        target.lost_ns = mono_ns

    def _drop(self, attachment: Attachment, reason: EndReason, out: list[ChromeEvent]) -> None:
        """Forget a session and those it brought along, and say what ended with it."""
        if self.sessions.pop(attachment.id, None) is None:
            return
        self._commands.forget_session(attachment.id)
        self._drop_children(attachment, reason, out)
        _close_sockets(attachment, reason, out)
        target = attachment.target
        target.session = None
        if target.state is TargetState.LISTENING:
            out.append(TabGone(target.id, reason))
        target.set_state(TargetState.LOST)

    def _drop_children(self, attachment: Attachment, reason: EndReason, out: list[ChromeEvent]) -> None:
        for child in [c for c in self.sessions.values() if c.parent is attachment]:
            self._drop(child, reason, out)
            self._targets.pop(child.target.id, None)


def _close_sockets(attachment: Attachment, reason: EndReason, out: list[ChromeEvent]) -> None:
    out.extend(SocketClosed(socket, reason) for socket in attachment.sockets.end_all())


def _end_of(target: Target) -> EndReason:
    return EndReason.TAB_CLOSED if target.info.type == "page" else EndReason.DETACHED
