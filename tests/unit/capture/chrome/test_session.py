"""The CDP state machine against messages as Chromium writes them."""

from __future__ import annotations

import json
from functools import partial

import msgspec
import pytest

from fluxcap.capture.chrome.events import (
    ArrivalTime,
    CommandRecovered,
    CommandRefused,
    CommandTimedOut,
    EndReason,
    FrameReceived,
    FrameSent,
    Malformed,
    PlatformDate,
    SocketClosed,
    SocketId,
    SocketOpened,
    TabAttached,
    TabGone,
)
from fluxcap.capture.chrome.session import CdpSession
from fluxcap.capture.chrome.target import MAX_SOCKETS, SocketSnapshot
from tests.support.browser.cdp import (
    PAGE_URL,
    Dialogue,
    created,
    event,
    frame,
    is_platform_url,
    kinds,
    navigated,
    socket_closed,
    socket_created,
    socket_error,
    texts,
)


@pytest.fixture
def chrome() -> Dialogue:
    return Dialogue()


def test_frame_of_an_announced_socket_carries_socket_target_payload_and_stamp(chrome: Dialogue) -> None:
    session = chrome.open_tab("T")
    chrome.say(socket_created(session, "7.1"))

    events = chrome.say(frame(session, "7.1", '42["updateStream",1]'))

    assert events == [FrameReceived(SocketId(session, "7.1"), "T", 1, '42["updateStream",1]', chrome.stamp())]


def test_unsent_says_whether_there_are_commands_to_send() -> None:
    session = CdpSession(is_platform_url)
    before = len(session.unsent)

    session.start(0)

    assert before == 0
    assert list(session.unsent) == session.outgoing()
    assert len(session.unsent) == 0


def test_binary_frame_stays_base64(chrome: Dialogue) -> None:
    session = chrome.open_tab()

    events = chrome.say(frame(session, text="W1sxXV0=", opcode=2))

    assert [(e.opcode, e.payload) for e in events if isinstance(e, FrameReceived)] == [(2, "W1sxXV0=")]


def test_frame_the_page_sent_is_told_apart(chrome: Dialogue) -> None:
    session = chrome.open_tab()

    events = chrome.say(frame(session, text='42["changeSymbol",{}]', sent=True))

    assert kinds(events) == ["SocketOpened", "FrameSent"]
    assert isinstance(events[1], FrameSent)


def test_socket_opened_before_the_attach_is_announced_without_url_before_its_first_frame(chrome: Dialogue) -> None:
    session = chrome.open_tab("T")

    events = chrome.say(frame(session, "3.9"), frame(session, "3.9"))

    assert kinds(events) == ["SocketOpened", "FrameReceived", "FrameReceived"]
    assert events[0] == SocketOpened(SocketId(session, "3.9"), "T", "")


def test_same_request_id_in_two_sessions_is_two_sockets(chrome: Dialogue) -> None:
    one, two = chrome.open_tab("A"), chrome.open_tab("B")

    events = chrome.say(frame(one, "1.1", "a"), frame(two, "1.1", "b"))

    assert {e.socket for e in events if isinstance(e, FrameReceived)} == {SocketId(one, "1.1"), SocketId(two, "1.1")}


def test_url_of_a_socket_is_kept_without_its_query(chrome: Dialogue) -> None:
    session = chrome.open_tab()

    events = chrome.say(socket_created(session, "1.1", "wss://user:pw@api.test/socket.io/?token=secret#x"))

    assert [e.url for e in events if isinstance(e, SocketOpened)] == ["wss://api.test/socket.io/"]


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (socket_closed, EndReason.CLOSED),
        (socket_error, EndReason.FROZEN),
        (partial(socket_error, message="Could not decode a text frame as UTF-8."), EndReason.FRAME_ERROR),
        (partial(socket_error, message=""), EndReason.FRAME_ERROR),
    ],
)
def test_socket_ends_with_its_reason(chrome: Dialogue, end, reason: EndReason) -> None:
    session = chrome.open_tab()
    chrome.say(frame(session, "1.1"))

    events = chrome.say(end(session, "1.1"))

    assert events == [SocketClosed(SocketId(session, "1.1"), reason)]
    assert chrome.session.snapshot().sockets == ()


def test_end_of_a_socket_that_is_over_says_nothing(chrome: Dialogue) -> None:
    # A frozen page: the frame error first, webSocketClosed when it thaws.
    session = chrome.open_tab()
    chrome.say(frame(session, "1.1"), socket_error(session, "1.1"))

    assert chrome.say(socket_closed(session, "1.1"), socket_error(session, "1.1")) == []


def test_reload_expires_the_old_sockets_before_the_new_one_opens(chrome: Dialogue) -> None:
    # No close comes for the old socket.
    session = chrome.open_tab("T")
    chrome.say(socket_created(session, "1.1"), frame(session, "1.1"))

    events = chrome.say(navigated(session, "T"), socket_created(session, "1.5"), frame(session, "1.5", "new"))

    assert events[0] == SocketClosed(SocketId(session, "1.1"), EndReason.RELOADED)
    assert kinds(events[1:]) == ["SocketOpened", "FrameReceived"]


def test_navigation_within_the_platform_expires_the_sockets(chrome: Dialogue) -> None:
    session = chrome.open_tab("T")
    chrome.say(frame(session, "1.1"))

    events = chrome.say(navigated(session, "T", PAGE_URL + "/other"))

    assert events == [SocketClosed(SocketId(session, "1.1"), EndReason.NAVIGATED)]


def test_return_from_the_back_forward_cache_is_no_reload(chrome: Dialogue) -> None:
    session = chrome.open_tab("T")
    chrome.say(frame(session, "1.1"))

    events = chrome.say(navigated(session, "T", PAGE_URL, "BackForwardCacheRestore"))

    assert events == [SocketClosed(SocketId(session, "1.1"), EndReason.NAVIGATED)]


def test_frame_of_an_expired_socket_reopens_it_rather_than_being_lost(chrome: Dialogue) -> None:
    session = chrome.open_tab("T")
    chrome.say(frame(session, "1.1"), navigated(session, "T"))

    assert kinds(chrome.say(frame(session, "1.1", "still here"))) == ["SocketOpened", "FrameReceived"]


def test_navigation_of_a_frame_inside_the_page_leaves_its_sockets(chrome: Dialogue) -> None:
    # The browser closes the sockets of such a frame itself.
    session = chrome.open_tab("T")
    chrome.say(frame(session, "1.1"))

    assert chrome.say(navigated(session, "F", "https://platform.test/chat", parentId="T")) == []


def test_frames_of_unknown_sessions_are_dropped(chrome: Dialogue) -> None:
    assert chrome.say(frame("S-unknown"), socket_created("S-unknown", "1"), socket_closed("S-unknown", "1")) == []


def test_message_in_another_key_order_means_the_same(chrome: Dialogue) -> None:
    session = chrome.open_tab()
    message = json.loads(frame(session, text="x"))

    events = chrome.say(json.dumps({key: message[key] for key in ("sessionId", "params", "method")}))

    assert texts(events) == ["x"]


def test_bytes_and_text_mean_the_same(chrome: Dialogue) -> None:
    session = chrome.open_tab()

    events = chrome.say(frame(session, text="ü"), frame(session, text="ü").encode())

    assert texts(events) == ["ü", "ü"]


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("", "json"),
        ("{", "json"),
        ("[]", "json"),
        (b"\xff\xfe", "json"),
        ('{"id":"one"}', "json"),
        ("[" * 100_000, "json"),
        ("{}", "message"),
        ('{"method":"Network.webSocketFrameReceived","params":{}}', "frame"),
        ('{"method":"Network.webSocketFrameSent","params":{"requestId":1}}', "frame"),
        ('{"params":{},"method":"Network.webSocketFrameReceived"}', "params"),
        ('{"method":"Target.targetCreated","params":{"targetInfo":[]}}', "params"),
        ('{"method":"Target.targetDestroyed"}', "params"),
    ],
)
def test_garbage_is_counted_by_kind_and_never_raises(chrome: Dialogue, message: str | bytes, kind: str) -> None:
    assert chrome.say(message) == [Malformed(kind)]


def test_unknown_events_and_unasked_answers_are_ignored(chrome: Dialogue) -> None:
    session = chrome.open_tab()

    assert (
        chrome.say(event("Future.event", {"x": 1}, session), '{"id":4711,"result":{}}', '{"params":{},"method":"N.x"}')
        == []
    )


DATE = "Mon, 30 Nov 2026 00:46:56 GMT"
DATE_MS = 1_795_999_616_000


def handshake(session: str, request_id: str = "7.1", **headers: str) -> str:
    response = {"status": 101, "headers": headers, "requestHeaders": {"Cookie": "ssid=SECRET"}}
    params = {"requestId": request_id, "timestamp": 926.5, "response": response}
    return event("Network.webSocketHandshakeResponseReceived", params, session)


def response(session: str, url: str = PAGE_URL, kind: str = "Document", headers: object = None, **more: object) -> str:
    told = {"Date": DATE} if headers is None else headers
    body = {"url": url, "status": 200, "headers": told, **more}
    return event("Network.responseReceived", {"requestId": "9", "type": kind, "response": body}, session)


@pytest.mark.parametrize("name", ["Date", "date"])
def test_the_date_of_a_handshake_is_read_to_the_second(chrome: Dialogue, name: str) -> None:
    session = chrome.open_tab("T")
    chrome.say(socket_created(session, "7.1"))

    (told,) = chrome.say(handshake(session, **{name: DATE, "Set-Cookie": "ssid=SECRET"}))

    assert told == PlatformDate(DATE_MS, SocketId(session, "7.1"), chrome.stamp())


def test_the_date_of_a_mirrors_response_is_not_read_since_its_name_may_have_changed_hands() -> None:
    chrome = Dialogue(is_mirror=lambda url: "mirror" in url)
    session = chrome.open_tab("T", "https://mirror.test/trade")

    assert chrome.say(response(session, "https://mirror.test/trade")) == []
    assert chrome.say(response(session)) == [PlatformDate(DATE_MS, None, chrome.stamp())]


def test_the_date_of_a_response_of_the_platforms_is_read(chrome: Dialogue) -> None:
    session = chrome.open_tab("T")

    (told,) = chrome.say(response(session))

    assert told == PlatformDate(DATE_MS, None, chrome.stamp())


@pytest.mark.parametrize("kind", ["XHR", "Fetch"])
def test_so_is_that_of_what_a_page_asks_for(chrome: Dialogue, kind: str) -> None:
    assert len(chrome.say(response(chrome.open_tab("T"), kind=kind))) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Date": DATE, "Age": "0"},
        {"date": DATE, "age": "3600"},
        {"Date": DATE, "X-Cache": "HIT from edge"},
        {"Date": DATE, "cf-cache-status": "HIT"},
        {"Date": DATE, "CF-Cache-Status": "REVALIDATED"},
        {"Date": "yesterday"},
        {"Date": "Mon, 99 Nov 2026 00:46:56 GMT"},
        {"Date": "Mon, 30 Nov 9999 00:46:56 GMT"},
        {"Date": 17},
        {},
        "no headers",
    ],
)
def test_what_a_cache_gave_or_what_is_no_date_is_left_out(chrome: Dialogue, headers: object) -> None:
    assert chrome.say(response(chrome.open_tab("T"), headers=headers)) == []


@pytest.mark.parametrize("source", ["fromDiskCache", "fromServiceWorker", "fromPrefetchCache"])
def test_what_the_browser_had_is_left_out(chrome: Dialogue, source: str) -> None:
    assert chrome.say(response(chrome.open_tab("T"), **{source: True})) == []


def test_scripts_and_pictures_are_left_out_since_caches_need_not_say_that_they_gave_them(chrome: Dialogue) -> None:
    assert chrome.say(response(chrome.open_tab("T"), kind="Script")) == []


def test_responses_of_other_hosts_are_left_out(chrome: Dialogue) -> None:
    assert chrome.say(response(chrome.open_tab("T"), "https://cdn.example/x", kind="XHR")) == []


def test_the_handshake_of_a_socket_that_nobody_announced_is_left_out(chrome: Dialogue) -> None:
    assert chrome.say(handshake(chrome.open_tab("T"), "99.9", Date=DATE)) == []


def test_pages_are_reloaded_at_the_users_word_and_nothing_else_is(chrome: Dialogue) -> None:
    session = chrome.open_tab("T")

    assert chrome.session.reload_pages(chrome.now_ns) == 1
    (command,) = [json.loads(text) for text in chrome.session.outgoing()]
    assert (command["method"], command["sessionId"]) == ("Page.reload", session)


def test_headers_and_cookies_never_reach_an_event(chrome: Dialogue) -> None:
    session = chrome.open_tab("T")
    headers = {"headers": {"Cookie": "ssid=SECRET", "Authorization": "SECRET"}}
    said = [
        event("Network.webSocketWillSendHandshakeRequest", {"requestId": "1.1", "request": headers}, session),
        event("Network.webSocketHandshakeResponseReceived", {"requestId": "1.1", "response": headers}, session),
        event("Network.requestWillBeSentExtraInfo", {"requestId": "1.1", **headers}, session),
        event("Network.responseReceived", {"requestId": "1.1", "response": headers}, session),
        socket_created(session, "1.1", "wss://api.test/?ssid=SECRET"),
        created("X", PAGE_URL + "?ssid=SECRET"),
    ]

    events = chrome.say(*said)

    assert kinds(events) == ["SocketOpened", "TabAttached"]
    assert b"SECRET" not in msgspec.json.encode([msgspec.to_builtins(e) for e in events])
    assert b"SECRET" not in msgspec.json.encode(msgspec.to_builtins(chrome.session.snapshot()))


def test_frozen_browser_is_noticed_by_the_probe_and_its_return_too(chrome: Dialogue) -> None:
    chrome.mute = lambda command: command["method"] == "Browser.getVersion"
    chrome.probe()

    assert chrome.wait(4.9) == []
    assert chrome.wait(0.2) == [CommandTimedOut("Browser.getVersion", "")]
    assert chrome.answer(chrome.unanswered[0]) == [CommandRecovered("Browser.getVersion", "")]


def test_probe_in_time_says_nothing(chrome: Dialogue) -> None:
    chrome.open_tab()
    chrome.probe()

    assert chrome.wait(60) == []
    assert len(chrome.sent("Browser.getVersion")) == 1


def test_at_most_one_probe_is_open_to_a_browser_and_a_tab(chrome: Dialogue) -> None:
    chrome.open_tab()
    chrome.mute = lambda command: command["method"] in ("Browser.getVersion", "Runtime.getIsolateId")

    for _ in range(20):
        chrome.probe()
        chrome.wait(5)

    assert len(chrome.sent("Browser.getVersion")) == 1
    assert len(chrome.sent("Runtime.getIsolateId")) == 1


def test_busy_tab_is_noticed_by_the_probe_under_its_own_name(chrome: Dialogue) -> None:
    chrome.open_tab("T")
    chrome.mute = lambda command: command["method"] == "Runtime.getIsolateId"
    chrome.probe()

    assert chrome.wait(5) == [CommandTimedOut("Runtime.getIsolateId", "T")]
    assert chrome.answer(chrome.unanswered[0]) == [CommandRecovered("Runtime.getIsolateId", "T")]


def test_a_time_out_is_reported_once(chrome: Dialogue) -> None:
    chrome.mute = lambda command: command["method"] == "Browser.getVersion"
    chrome.probe()
    chrome.wait(5)

    assert chrome.wait(500) == []


def test_end_of_the_connection_ends_sockets_before_tabs(chrome: Dialogue) -> None:
    session = chrome.open_tab("T")
    chrome.say(frame(session, "1.1"))

    events = chrome.session.browser_gone()

    assert events == [
        SocketClosed(SocketId(session, "1.1"), EndReason.BROWSER_GONE),
        TabGone("T", EndReason.BROWSER_GONE),
    ]
    assert chrome.session.browser_gone() == []


def test_snapshot_counts_received_frames_and_remembers_the_last_one(chrome: Dialogue) -> None:
    session = chrome.open_tab("T")
    chrome.say(frame(session), frame(session, sent=True))
    chrome.now_ns += 5
    chrome.say(frame(session))

    snapshot = chrome.session.snapshot()

    assert [(s.frames, s.last_ns, s.target_id) for s in snapshot.sockets] == [(2, chrome.now_ns, "T")]
    assert [(t.target_id, t.kind, t.state) for t in snapshot.tabs] == [("T", "page", "listening")]
    assert snapshot.pending_commands == 0


def test_commands_are_handed_out_once() -> None:
    chrome = Dialogue()
    chrome.session.probe(0)

    assert len(chrome.session.outgoing()) == 1
    assert chrome.session.outgoing() == []


def test_frame_that_overtakes_the_answer_announces_the_tab_first(chrome: Dialogue) -> None:
    chrome.mute = lambda command: command["method"] == "Network.enable"
    session = chrome.open_tab("T")

    events = chrome.say(frame(session))

    assert kinds(events) == ["TabAttached", "SocketOpened", "FrameReceived"]
    assert chrome.answer(chrome.unanswered[0]) == []


def test_stamp_of_a_frame_is_the_callers(chrome: Dialogue) -> None:
    session = chrome.open_tab()
    stamp = ArrivalTime(1, 2, False)

    events = chrome.session.receive(frame(session), stamp)

    assert [e.stamp for e in events if isinstance(e, FrameReceived)] == [stamp]
    assert TabAttached not in map(type, events)


def test_a_crash_told_by_the_browser_itself_ends_the_tabs_sockets(chrome: Dialogue) -> None:
    session = chrome.open_tab("T")
    chrome.say(socket_created(session, "7.1"))

    events = chrome.say(event("Target.targetCrashed", {"targetId": "T", "status": "crashed", "errorCode": 11}))

    assert events == [SocketClosed(SocketId(session, "7.1"), EndReason.CRASHED), TabGone("T", EndReason.CRASHED)]


def test_text_with_half_a_character_is_read_as_far_as_it_can_be(chrome: Dialogue) -> None:
    assert chrome.say('{"method":"\ud800","params":{}}') == []
    assert chrome.say('{"method":1,"text":"\ud800"}') == [Malformed("json")]


def test_a_frame_the_page_sent_carries_the_stamp_of_its_message(chrome: Dialogue) -> None:
    session = chrome.open_tab("T")

    events = chrome.say(frame(session, "7.1", "hello", sent=True))

    assert events[-1] == FrameSent(SocketId(session, "7.1"), "T", 1, "hello", chrome.stamp())


@pytest.mark.parametrize(("sent", "kind"), [(False, FrameReceived), (True, FrameSent)])
def test_a_frame_whose_message_begins_otherwise_means_the_same(chrome: Dialogue, sent: bool, kind: type) -> None:
    session = chrome.open_tab("T")
    usual = json.loads(frame(session, "7.1", "hello", sent=sent))
    otherwise = json.dumps({"sessionId": usual["sessionId"], "params": usual["params"], "method": usual["method"]})

    events = chrome.say(otherwise)

    assert events[-1] == kind(SocketId(session, "7.1"), "T", 1, "hello", chrome.stamp())


def test_a_sign_of_life_is_asked_for_without_parameters(chrome: Dialogue) -> None:
    session = chrome.open_tab("T")

    chrome.probe()

    asked = [(c["method"], c["params"], c.get("sessionId")) for c in chrome.commands[-2:]]
    assert asked == [("Browser.getVersion", {}, None), ("Runtime.getIsolateId", {}, session)]


def test_the_snapshot_tells_the_open_sockets(chrome: Dialogue) -> None:
    session = chrome.open_tab("T")
    chrome.say(socket_created(session, "7.1", "wss://api.test/socket.io/?token=secret"))
    chrome.say(frame(session, "7.1"), frame(session, "7.1"))

    (socket,) = chrome.session.snapshot().sockets

    assert socket == SocketSnapshot(
        SocketId(session, "7.1"), "T", "wss://api.test/socket.io/", 2, chrome.stamp().mono_ns
    )


def test_an_answer_to_no_command_is_not_taken_for_one_to_the_first() -> None:
    session = CdpSession(is_platform_url)
    session.start(0)
    (first,) = map(json.loads, session.outgoing())
    refusal = {"error": {"code": -32000, "message": "no"}}

    assert first["id"] == 1
    assert session.receive(json.dumps({"id": 0, **refusal}), ArrivalTime(0, 0)) == []
    assert session.receive(json.dumps({"id": 1, **refusal}), ArrivalTime(0, 0)) == [
        CommandRefused("Target.setDiscoverTargets", "", "no")
    ]


def test_a_page_that_leaks_sockets_loses_track_of_its_oldest(chrome: Dialogue) -> None:
    session = chrome.open_tab("T")
    for number in range(MAX_SOCKETS):
        chrome.say(socket_created(session, f"7.{number}"))

    events = chrome.say(socket_created(session, "8.0"))

    assert events == [
        SocketClosed(SocketId(session, "7.0"), EndReason.DETACHED),
        SocketOpened(SocketId(session, "8.0"), "T", "wss://api.test/socket.io/"),
    ]


def test_the_browsers_name_is_known_once_it_has_answered_the_probe(chrome: Dialogue) -> None:
    chrome.mute = lambda command: command["method"] == "Browser.getVersion"
    chrome.probe()

    chrome.answer(chrome.unanswered[0], result={"product": "Chrome/156.0.8078.108", "jsVersion": "15"})

    assert chrome.session.product == "Chrome/156.0.8078.108"
