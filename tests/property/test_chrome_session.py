"""Whatever the browser says, the CDP state machine neither raises nor grows without bound nor attaches to others."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fluxcap.capture.chrome.commands import MAX_LATE
from fluxcap.capture.chrome.events import (
    ArrivalTime,
    ChromeEvent,
    FrameReceived,
    FrameSent,
    SocketClosed,
    SocketId,
    SocketOpened,
)
from fluxcap.capture.chrome.messages import EVENTS
from fluxcap.capture.chrome.session import CdpSession
from fluxcap.capture.chrome.target import MAX_SOCKETS
from fluxcap.capture.chrome.targets import MAX_TARGETS
from tests.support.browser.cdp import PAGE_URL, SECOND_NS, is_platform_url
from tests.support.examples import examples

IDS = st.sampled_from(["A", "B", "C", "S-A", "S-B", "S-C", ""])
URLS = st.sampled_from(
    [PAGE_URL, "https://platform.test/other", "https://bank.test/", "", "about:blank", "blob:https://platform.test/1"]
)
KINDS = st.sampled_from(["page", "iframe", "worker", "shared_worker", "service_worker", "browser_ui"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
INFOS = st.fixed_dictionaries({"targetId": IDS, "type": KINDS, "url": URLS, "title": st.just("t"), "parentId": IDS})
PARAMS = st.fixed_dictionaries(
    {
        "targetId": IDS,
        "sessionId": IDS,
        "requestId": st.sampled_from(["1", "2", "3"]),
        "url": URLS,
        "targetInfo": INFOS,
        "response": st.fixed_dictionaries({"opcode": st.sampled_from([1, 2]), "payloadData": st.text(max_size=5)}),
        "frame": st.fixed_dictionaries({"id": IDS, "url": URLS}, optional={"parentId": IDS}),
    }
)
SOUND = st.builds(
    lambda method, params, session: {"method": method, "params": params, "sessionId": session},
    st.sampled_from(sorted(EVENTS)),
    PARAMS,
    IDS,
)
ANSWERS = st.builds(
    lambda number, outcome: {"id": number, **outcome},
    st.integers(0, 40),
    st.sampled_from([{"result": {}}, {"result": {"sessionId": "S-A"}}, {"error": {"code": -32000, "message": "no"}}]),
)
BROKEN = st.builds(
    lambda method, params, more: {"method": method, "params": params, **more},
    st.sampled_from(sorted(EVENTS)) | st.text(max_size=8),
    JSON,
    st.dictionaries(st.sampled_from(["id", "sessionId", "error", "result"]), JSON, max_size=2),
)
MESSAGES = st.one_of(
    st.one_of(SOUND, SOUND, SOUND, ANSWERS, BROKEN).map(lambda value: json.dumps(value, separators=(",", ":"))),
    st.binary(max_size=30),
    st.text(max_size=30),
    JSON.map(json.dumps),
)
STEPS = st.lists(st.tuples(MESSAGES, st.integers(0, 6)), max_size=60)


class Watcher:
    """Holds every rule about the order of events against a stream of them."""

    def __init__(self) -> None:
        self.open: set[SocketId] = set()

    def see(self, events: list[ChromeEvent]) -> None:
        for event in events:
            if isinstance(event, SocketOpened):
                assert event.socket not in self.open
                self.open.add(event.socket)
            elif isinstance(event, FrameReceived | FrameSent):
                assert event.socket in self.open
            elif isinstance(event, SocketClosed):
                self.open.remove(event.socket)


def run(steps: list[tuple[str | bytes, int]]) -> tuple[CdpSession, Watcher, list[dict[str, Any]]]:
    session, watcher, commands = CdpSession(is_platform_url), Watcher(), []
    now_ns = 0
    session.start(now_ns)
    for message, seconds in steps:
        now_ns += seconds * SECOND_NS
        watcher.see(session.receive(message, ArrivalTime(now_ns, now_ns)))
        watcher.see(session.expire(now_ns))
        if seconds == 5:
            session.probe(now_ns)
        commands += map(json.loads, session.outgoing())
    return session, watcher, commands


@settings(max_examples=examples(300), deadline=None)
@given(STEPS)
def test_garbage_never_raises_and_sockets_open_before_they_speak_and_close_once(
    steps: list[tuple[str | bytes, int]],
) -> None:
    session, watcher, _ = run(steps)

    assert {socket.socket for socket in session.snapshot().sockets} == watcher.open
    watcher.see(session.browser_gone())
    assert watcher.open == set()


@settings(max_examples=examples(200), deadline=None)
@given(STEPS)
def test_network_is_enabled_only_in_sessions_of_the_platform(steps: list[tuple[str | bytes, int]]) -> None:
    ours = set()
    for message, _ in steps:
        try:
            value = json.loads(message)
            info = value["params"]["targetInfo"]
        except (ValueError, KeyError, TypeError):
            continue
        if isinstance(info, dict) and is_platform_url(str(info.get("url", "")).removeprefix("blob:")):
            ours.add(info.get("targetId"))

    _, _, commands = run(steps)

    assert {c["params"]["targetId"] for c in commands if c["method"] == "Target.attachToTarget"} <= ours


@settings(max_examples=examples(100), deadline=None)
@given(STEPS)
def test_state_stays_bounded(steps: list[tuple[str | bytes, int]]) -> None:
    session, _, _ = run(steps * 3)
    snapshot = session.snapshot()

    assert len(snapshot.tabs) <= MAX_TARGETS
    assert len(snapshot.sockets) <= MAX_SOCKETS * MAX_TARGETS
    assert len(session._commands._late) <= MAX_LATE
