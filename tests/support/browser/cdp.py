"""Chrome's side of the DevTools protocol in a few lines: the messages as Chromium 156 writes them, and a browser that
answers every command at once. Held against the real browser by tests/integration/chrome/test_chrome_capture.py."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable
from typing import Any

from fluxcap.capture.chrome.events import ArrivalTime, ChromeEvent, FrameReceived
from fluxcap.capture.chrome.session import CdpSession

PAGE_URL = "https://platform.test/trade"
SECOND_NS = 1_000_000_000


def is_platform_url(url: str) -> bool:
    return url.startswith(("https://platform.test/", "https://mirror.test/"))


def event(method: str, params: dict[str, Any], session_id: str = "") -> str:
    message: dict[str, Any] = {"method": method, "params": params}
    if session_id:
        message["sessionId"] = session_id
    return json.dumps(message, separators=(",", ":"))


def target_info(
    target_id: str, url: str = PAGE_URL, kind: str = "page", title: str = "t", **more: Any
) -> dict[str, Any]:
    return {"targetId": target_id, "type": kind, "title": title, "url": url, "attached": False, **more}


def created(target_id: str, url: str = PAGE_URL, kind: str = "page", **more: Any) -> str:
    return event("Target.targetCreated", {"targetInfo": target_info(target_id, url, kind, **more)})


def changed(target_id: str, url: str = PAGE_URL, kind: str = "page", **more: Any) -> str:
    return event("Target.targetInfoChanged", {"targetInfo": target_info(target_id, url, kind, **more)})


def destroyed(target_id: str) -> str:
    return event("Target.targetDestroyed", {"targetId": target_id})


def attached(
    session_id: str, target_id: str, url: str = PAGE_URL, kind: str = "page", parent: str = "", **more: Any
) -> str:
    info = target_info(target_id, url, kind, **more)
    params = {"sessionId": session_id, "targetInfo": info, "waitingForDebugger": False}
    return event("Target.attachedToTarget", params, parent)


def detached(session_id: str, target_id: str, parent: str = "") -> str:
    return event("Target.detachedFromTarget", {"sessionId": session_id, "targetId": target_id}, parent)


def frame(session_id: str, request_id: str = "1.1", text: str = "hello", *, opcode: int = 1, sent: bool = False) -> str:
    method = "Network.webSocketFrameSent" if sent else "Network.webSocketFrameReceived"
    body = {"opcode": opcode, "mask": sent, "payloadData": text}
    return event(method, {"requestId": request_id, "timestamp": 926.589636, "response": body}, session_id)


def socket_created(session_id: str, request_id: str, url: str = "wss://api.test/socket.io/?EIO=4&token=secret") -> str:
    return event(
        "Network.webSocketCreated", {"requestId": request_id, "url": url, "initiator": {"type": "script"}}, session_id
    )


def handshake(session_id: str, request_id: str, date: str) -> str:
    """The platform's answer to a socket's handshake, with its ``Date``."""
    response = {"status": 101, "headers": {"Date": date}}
    return event(
        "Network.webSocketHandshakeResponseReceived", {"requestId": request_id, "response": response}, session_id
    )


def socket_closed(session_id: str, request_id: str) -> str:
    return event("Network.webSocketClosed", {"requestId": request_id, "timestamp": 929.075015}, session_id)


def socket_error(session_id: str, request_id: str, message: str = "Page entered Back-Forward Cache.") -> str:
    params = {"requestId": request_id, "timestamp": 1.5, "errorMessage": message}
    return event("Network.webSocketFrameError", params, session_id)


def navigated(session_id: str, frame_id: str, url: str = PAGE_URL, kind: str = "Navigation", **more: Any) -> str:
    return event(
        "Page.frameNavigated",
        {"frame": {"id": frame_id, "loaderId": "L", "url": url, **more}, "type": kind},
        session_id,
    )


class Dialogue:
    """A CdpSession and a browser that answers it. Session ids are ``S-`` and the target's id.

    ``mute(command)`` true: that command gets no answer (a discarded or busy tab).
    """

    def __init__(
        self,
        timeout_ns: int = 5 * SECOND_NS,
        resembles: Callable[[str], bool] = lambda _url: False,
        is_mirror: Callable[[str], bool] = lambda _url: False,
    ) -> None:
        self.session = CdpSession(is_platform_url, resembles=resembles, is_mirror=is_mirror, timeout_ns=timeout_ns)
        self.now_ns = 100 * SECOND_NS
        self.commands: list[dict[str, Any]] = []
        self.unanswered: list[dict[str, Any]] = []
        self.infos: dict[str, dict[str, Any]] = {}
        self.mute: Callable[[dict[str, Any]], bool] = lambda _command: False
        self._sessions = itertools.count(2)
        self._used: set[str] = set()
        self.session.start(self.now_ns)
        self._answer()

    def stamp(self) -> ArrivalTime:
        return ArrivalTime(self.now_ns + 1_700_000_000 * SECOND_NS, self.now_ns, True)

    def say(self, *messages: str | bytes) -> list[ChromeEvent]:
        """The browser says this; commands that follow are answered. Returns all events in order."""
        out: list[ChromeEvent] = []
        for message in messages:
            self._note(message)
            out += self.session.receive(message, self.stamp())
            out += self._answer()
        return out

    def probe(self) -> list[ChromeEvent]:
        """Ask for signs of life."""
        self.session.probe(self.now_ns)
        return self._answer()

    def wait(self, seconds: float) -> list[ChromeEvent]:
        """Time passes without a message."""
        self.now_ns += int(seconds * SECOND_NS)
        out = self.session.expire(self.now_ns)
        return out + self._answer()

    def answer(self, command: dict[str, Any], **outcome: Any) -> list[ChromeEvent]:
        """Answer one command: ``result=…`` or ``error=…``."""
        message = json.dumps({"id": command["id"], **(outcome or {"result": {}})})
        return self.session.receive(message, self.stamp()) + self._answer()

    def sent(self, method: str) -> list[dict[str, Any]]:
        """The commands of that method sent so far."""
        return [command for command in self.commands if command["method"] == method]

    def open_tab(self, target_id: str = "T", url: str = PAGE_URL, kind: str = "page", **more: Any) -> str:
        """A target appears and is attached; returns its session id."""
        self.say(created(target_id, url, kind, **more))
        return f"S-{target_id}"

    def _note(self, message: str | bytes) -> None:
        try:
            info = json.loads(message)["params"]["targetInfo"]
            self.infos[info["targetId"]] = info
        except (ValueError, KeyError, TypeError, RecursionError):
            pass

    def _answer(self) -> list[ChromeEvent]:
        out: list[ChromeEvent] = []
        while lines := self.session.outgoing():
            for command in map(json.loads, lines):
                self.commands.append(command)
                if self.mute(command):
                    self.unanswered.append(command)
                    continue
                for message in self._answers(command):
                    out += self.session.receive(message, self.stamp())
        return out

    def _answers(self, command: dict[str, Any]) -> Iterable[str]:
        result: dict[str, Any] = {}
        if command["method"] == "Target.attachToTarget":
            target_id = command["params"]["targetId"]
            session_id = f"S-{target_id}"
            if session_id in self._used:
                session_id += f"-{next(self._sessions)}"
            self._used.add(session_id)
            info = self.infos[target_id]
            yield event("Target.attachedToTarget", {"sessionId": session_id, "targetInfo": info})
            result = {"sessionId": session_id}
        yield json.dumps({"id": command["id"], "result": result})


def kinds(events: Iterable[ChromeEvent]) -> list[str]:
    """The names of the events, for reading a sequence at a glance."""
    return [type(one).__name__ for one in events]


def texts(events: Iterable[ChromeEvent]) -> list[str]:
    """The payloads of the frames received."""
    return [one.payload for one in events if isinstance(one, FrameReceived)]
