"""Fuzzing of the browser's messages: ``python tests/fuzz/fuzz_cdp.py --count 1000000 [--seed N] [--processes N]``.

Messages of the DevTools protocol are damaged and taken in by the way they go in the daemon, from the browser's side to
the market, beside a tab that tells the truth. Nothing raises (the connection stays in use), sockets open before they
speak, only the platform's targets are attached, state stays bounded, what is published was told by some input, and the
truth stays whole.
"""

from __future__ import annotations

import base64
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from fluxcap.capture.chrome.commands import MAX_LATE
from fluxcap.capture.chrome.events import ArrivalTime
from fluxcap.capture.chrome.target import MAX_SOCKETS
from fluxcap.capture.chrome.targets import MAX_TARGETS
from fluxcap.capture.pipeline.browser import BrowserFeed
from fluxcap.capture.pipeline.listeners import ListenerGroup
from fluxcap.capture.platforms.base import PlatformHints
from fluxcap.capture.platforms.pocketoption import PocketOption
from fluxcap.capture.simulator.server.framing import number
from tests.fuzz.damage import damaged
from tests.fuzz.driver import Chapter, main
from tests.fuzz.fuzz_ticks import announcement
from tests.fuzz.market_chapter import MONO_ZERO_MS, OFFSET_MS, START_MS, TRUE, MarketChapter
from tests.fuzz.market_seeds import Seeds
from tests.support.browser import cdp

TRUE_TAB = "TRUE-TAB"
TABS = ("A", "B")
URLS = (cdp.PAGE_URL, cdp.PAGE_URL + "/x?token=1", "https://bank.test/", "blob:https://platform.test/1", "about:blank")
KINDS = ("page", "iframe", "worker", "shared_worker", "service_worker")
ANSWERS: tuple[Callable[[str], dict[str, Any]], ...] = (
    lambda session: {"result": {"sessionId": session}},
    lambda session: {"error": {"code": -32000, "message": f"no {session}"}},
)


class _Loud:
    """In place of the rate limit of the log: a fault that the daemon would survive is a failure here."""

    def failure(self, message: str, error: Exception) -> None:
        raise error

    def warn(self, message: str, **fields: Any) -> None:
        pass


class Messages(MarketChapter):
    """A browser with one tab that is sound and others that are not."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng, PocketOption())
        self._seeds = Seeds(START_MS, OFFSET_MS)
        self._last_id = 0
        self._attached: set[str] = set()
        self._ours: set[str] = set()
        self._waiting: list[dict[str, Any]] = []
        self._browser = BrowserFeed(
            self.market, cdp.is_platform_url, ListenerGroup(), None, lambda: self._stamp, hints=PlatformHints()
        )
        self._browser._limit = _Loud()  # type: ignore[assignment]
        self._browser.attach(self, 1, "a browser")
        self._say(cdp.created(TRUE_TAB))
        for tab in TABS:
            self._say(cdp.created(tab))
        self._others = [self._story().encode() for _ in range(20)]
        self.open()

    # --- the browser, as the connection shows it ---

    def send(self, text: str) -> None:
        self._waiting.append(json.loads(text))

    def close(self, timeout_s: float = 0) -> None:
        raise AssertionError("the connection was given up")

    @property
    def _stamp(self) -> ArrivalTime:
        return ArrivalTime(self.now_ms * 1_000_000, (self.now_ms - MONO_ZERO_MS) * 1_000_000, True)

    def _say(self, message: str | bytes) -> None:
        data = message.encode() if isinstance(message, str) else message
        value = self.witness.message(data)
        self._ours |= _platform_targets(value)
        self._browser.receive(1, data, self._stamp)
        assert self._browser.attached
        while self._waiting:
            self._answer(self._waiting.pop(0))

    def _answer(self, command: dict[str, Any]) -> None:
        """Every command is answered, but for some of the damaged tabs'."""
        self._last_id = command["id"]
        target_id = command["params"].get("targetId", "")
        if command["method"] == "Target.attachToTarget":
            self._attached.add(target_id)
        true = target_id == TRUE_TAB or command.get("sessionId") == f"S-{TRUE_TAB}"
        if not true and self.rng.random() < 0.1:
            return
        result = {"sessionId": f"S-{target_id}"} if command["method"] == "Target.attachToTarget" else {}
        answer = json.dumps({"id": command["id"], "result": result}).encode()
        self._browser.receive(1, answer, self._stamp)

    # --- what it says ---

    def tell_truth(self, ts_ms: int, price: float) -> None:
        payload = f'[["{TRUE}",{number((ts_ms + self.offset_ms) / 1_000)},{number(price)}]]'
        for message in _frames(f"S-{TRUE_TAB}", "1.1", "updateStream", payload):
            self._say(message)

    def invent(self) -> bytes:
        self.pass_ms(self.rng.choice((1, 10, 40)))
        if self.rng.random() < 0.05:  # the others come back, or nothing could be taken of them for long
            tab = self.rng.choice(TABS)
            self._say(cdp.destroyed(tab))
            self._say(cdp.created(tab))
        return damaged(self._sound().encode(), self.rng, self._others)

    def _sound(self) -> str:
        rng = self.rng
        if rng.random() < 0.3:
            return self._story()
        name, payload = self._seeds.event(self.now_ms, rng)
        first, second = _frames(f"S-{rng.choice(TABS)}", rng.choice(("7.1", "7.2")), name, payload)
        if rng.random() < 0.5:
            self._say(first)
            return second
        return first

    def _story(self) -> str:
        """One of all messages, of tabs that come, change and go."""
        rng, tab = self.rng, self.rng.choice(TABS)
        session, request, url = f"S-{tab}", rng.choice(("7.1", "7.2")), rng.choice(URLS)
        change = '42["changeSymbol",{"asset":"EURUSD_otc","period":60}]'
        makers: tuple[Callable[[], str], ...] = (
            lambda: cdp.created(tab, url, rng.choice(KINDS)),
            lambda: cdp.changed(tab, url),
            lambda: cdp.destroyed(tab),
            lambda: cdp.attached(session, tab, url),
            lambda: cdp.attached(f"S-{tab}-w", f"{tab}-w", url, "worker", session),
            lambda: cdp.detached(session, tab),
            lambda: cdp.frame(session, request, "2"),
            lambda: cdp.frame(session, request, change, sent=True),
            lambda: cdp.socket_created(session, request),
            lambda: cdp.socket_closed(session, request),
            lambda: cdp.socket_error(session, request),
            lambda: cdp.navigated(session, tab, url),
            lambda: cdp.event("Target.targetCrashed", {"targetId": tab, "status": "crashed", "errorCode": 1}),
            lambda: cdp.event("Inspector.targetCrashed", {}, session),
            lambda: cdp.event("Inspector.targetReloadedAfterCrash", {}, session),
            lambda: cdp.event("Network.dataReceived", {"requestId": request, "dataLength": 5}, session),
            lambda: json.dumps({"id": self._last_id + rng.randrange(-3, 3), **rng.choice(ANSWERS)(session)}),
        )
        return rng.choice(makers)()

    def take(self, data: bytes) -> str:
        self.check()
        self._say(data)
        return "taken" if self.check() else "without a tick"

    def end(self) -> None:
        super().end()
        seen = self._browser.snapshot()
        assert seen is not None
        assert self._attached <= self._ours, f"attached to {self._attached - self._ours}"
        assert len(seen.tabs) <= MAX_TARGETS
        assert len(seen.sockets) <= MAX_SOCKETS * (1 + len(seen.tabs))
        assert seen.pending_commands <= 4 * MAX_TARGETS + MAX_LATE


def _platform_targets(message: Any) -> set[str]:
    """The id of the target that a message tells of, if its address is the platform's."""
    params = message.get("params") if isinstance(message, dict) else None
    info = params.get("targetInfo") if isinstance(params, dict) else None
    if not isinstance(info, dict) or not isinstance(info.get("url"), str) or not isinstance(info.get("targetId"), str):
        return set()
    return {info["targetId"]} if cdp.is_platform_url(info["url"].removeprefix("blob:")) else set()


def _frames(session: str, request: str, name: str, payload: str) -> tuple[str, str]:
    binary = base64.b64encode(payload.encode()).decode()
    return cdp.frame(session, request, announcement(name)), cdp.frame(session, request, binary, opcode=2)


def begin(rng: random.Random) -> Chapter:
    """A chapter."""
    return Messages(rng)


if __name__ == "__main__":
    sys.exit(main(begin, __doc__))
