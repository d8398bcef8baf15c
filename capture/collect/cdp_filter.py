"""Filters what a WebDriver sees and does in the trader's browser: one tab, which it cannot close or move. Pure.

A chromedriver attaches to every tab it can find, starts domains in it and injects scripts. The gate stands between it
and Chrome: other tabs are cut out of every answer, and commands that would reach them, close a tab or bring one to the
front never arrive. See ``cdp_proxy.py`` for the sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

_NEVER = frozenset(
    (
        "Browser.close",
        "Browser.crash",
        "Page.close",
        "Target.closeTarget",
        "Target.createTarget",
        "Target.createBrowserContext",
        "Target.disposeBrowserContext",
        "Target.exposeDevToolsProtocol",
    )
)
_FAKED = frozenset(("Target.activateTarget", "Page.bringToFront", "Target.setDiscoverTargets"))
"""Answered as done, and not done: they would disturb the trader or tell of other tabs."""
_PAGES_ONLY = [{"type": "page"}]
_REFUSED = -32000


class SingleTabFilter:
    """The rules of one DevTools connection. ``is_shown(url)``: whether a tab of this address may be seen."""

    def __init__(self, is_shown: Callable[[str], bool]) -> None:
        self._is_shown = is_shown
        self._tab_id = ""
        self._tab_session = ""
        self._asked: dict[int, str] = {}

    def to_browser(self, message: str) -> tuple[str, str]:
        """A command of the driver's: ``(what goes on to the browser, what is answered at once)``, either may be ""."""
        try:
            command = msgspec.json.decode(message, type=dict[str, Any])
            number, method = int(command["id"]), str(command["method"])
        except (msgspec.DecodeError, KeyError, TypeError, ValueError):
            return "", ""
        params, session_id = command.get("params") or {}, str(command.get("sessionId", ""))
        if method in _NEVER:
            return "", _answer(number, session_id, error=f"{method} is not allowed here")
        if method == "Target.setAutoAttach":
            if session_id != self._tab_session or not session_id:
                return "", _answer(number, session_id)  # else frames of other sites would be attached
            command["params"] = {**params, "filter": _PAGES_ONLY}
        elif method in _FAKED:
            return "", _answer(number, session_id)
        elif method in ("Target.attachToTarget", "Target.getTargetInfo"):
            if params.get("targetId", self._tab_id) != self._tab_id:
                return "", _answer(number, session_id, error="No target with given id found")
            command["params"] = {**params, "targetId": self._tab_id}
        if not session_id:
            self._asked[number] = method
        return msgspec.json.encode(command).decode(), ""

    def to_driver(self, message: str) -> str:
        """An answer or event of the browser's, with the other tabs cut out."""
        if self._asked and message.startswith('{"id":'):
            answer = msgspec.json.decode(message, type=dict[str, Any])
            method = self._asked.pop(answer["id"], "") if not answer.get("sessionId") else ""
            if method == "Target.getTargets" and "result" in answer:
                answer["result"]["targetInfos"] = self._shown(answer["result"]["targetInfos"])
                return msgspec.json.encode(answer).decode()
            if method == "Target.attachToTarget" and "result" in answer:
                self._tab_session = answer["result"]["sessionId"]
        return message

    def _shown(self, infos: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The one tab. The first choice, of the active one if it may be shown, is for good, wherever it navigates."""
        if not self._tab_id:
            tabs = [info for info in infos if info["type"] in ("tab", "page") and self._is_shown(info["url"])]
            active = [tab for tab in tabs if tab.get("embedderData", {}).get("tabActive")]
            self._tab_id = next((str(tab["targetId"]) for tab in active + tabs), "")
        return [info for info in infos if info["targetId"] == self._tab_id]


_ROOT = frozenset(
    ("Browser.getVersion", "Target.setDiscoverTargets", "Target.attachToTarget", "Target.detachFromTarget")
)
_INFO_EVENTS = ("Target.targetCreated", "Target.targetInfoChanged", "Target.attachedToTarget")


class PlatformFilter:
    """The rules of a reader of frames: it hears of the platform's tabs alone, and attaches to no other.

    ``is_shown(url)``: whether a tab of this address is the platform's.
    """

    def __init__(self, is_shown: Callable[[str], bool]) -> None:
        self._is_shown = is_shown
        self._shown: set[str] = set()

    def to_browser(self, message: str) -> tuple[str, str]:
        """A command: ``(what goes on to the browser, what is answered at once)``, either may be ""."""
        try:
            command = msgspec.json.decode(message, type=dict[str, Any])
            number, method = int(command["id"]), str(command["method"])
        except (msgspec.DecodeError, KeyError, TypeError, ValueError):
            return "", ""
        session_id = str(command.get("sessionId", ""))
        params = command.get("params") or {}
        foreign = method == "Target.attachToTarget" and params.get("targetId") not in self._shown
        if method in _NEVER or foreign or (not session_id and method not in _ROOT):
            return "", _answer(number, session_id, error=f"{method} is not allowed here")
        return message, ""

    def to_driver(self, message: str) -> str:
        """An answer or event of the browser's; "" for one of other tabs."""
        if not message.startswith('{"method":"Target.'):
            return message
        event = msgspec.json.decode(message, type=dict[str, Any])
        info = event["params"].get("targetInfo")
        if event["method"] not in _INFO_EVENTS or event.get("sessionId") or info is None:
            return message
        was_shown = info["targetId"] in self._shown
        if self._is_shown(info["url"]):
            self._shown.add(info["targetId"])
            return message
        self._shown.discard(info["targetId"])
        return message if was_shown else ""  # that it has left the platform is told


def _answer(number: int, session_id: str, error: str = "") -> str:
    answer: dict[str, Any] = {"id": number}
    if error:
        answer["error"] = {"code": _REFUSED, "message": error}
    else:
        answer["result"] = {}
    if session_id:
        answer["sessionId"] = session_id
    return msgspec.json.encode(answer).decode()
