"""Which targets are attached, when, and how each way of losing one is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fluxcap.capture.chrome.events import (
    CommandRecovered,
    CommandRefused,
    CommandTimedOut,
    EndReason,
    LookalikeSeen,
    Malformed,
    SocketClosed,
    SocketId,
    TabAttached,
    TabChanged,
    TabGone,
)
from fluxcap.capture.chrome.targets import MAX_RETRIES, MAX_TARGETS
from tests.support.browser.cdp import (
    PAGE_URL,
    Dialogue,
    attached,
    changed,
    created,
    destroyed,
    detached,
    event,
    frame,
    kinds,
    navigated,
)

FOREIGN_URL = "https://bank.test/account"


@pytest.fixture
def chrome() -> Dialogue:
    return Dialogue()


def states(chrome: Dialogue) -> dict[str, str]:
    return {tab.target_id: tab.state for tab in chrome.session.snapshot().tabs}


def test_discovery_asks_for_pages_frames_and_shared_workers_only(chrome: Dialogue) -> None:
    [discover] = chrome.sent("Target.setDiscoverTargets")

    assert discover["params"]["discover"] is True
    assert [entry["type"] for entry in discover["params"]["filter"]] == [
        "page",
        "iframe",
        "shared_worker",
        "service_worker",
    ]


@pytest.mark.parametrize("kind", ["page", "iframe", "shared_worker", "service_worker"])
def test_target_of_the_platform_is_attached_and_its_network_enabled(chrome: Dialogue, kind: str) -> None:
    events = chrome.say(created("T", PAGE_URL, kind))

    assert events == [TabAttached("T", PAGE_URL, "t", kind)]
    assert chrome.sent("Target.attachToTarget")[0]["params"] == {"targetId": "T", "flatten": True}
    assert chrome.sent("Network.enable")[0]["sessionId"] == "S-T"


def test_capture_keeps_no_response_bodies_in_the_browser(chrome: Dialogue) -> None:
    chrome.open_tab()

    params = chrome.sent("Network.enable")[0]["params"]

    assert params == {"maxTotalBufferSize": 0, "maxResourceBufferSize": 0, "maxPostDataSize": 0}


@pytest.mark.parametrize(
    "url", [FOREIGN_URL, "", "about:blank", "chrome://settings/", "blob:https://bank.test/1", "data:x"]
)
def test_target_of_another_site_is_never_attached_nor_kept(chrome: Dialogue, url: str) -> None:
    events = chrome.say(created("X", url), changed("X", url), destroyed("X"))

    assert events == []
    assert [c["method"] for c in chrome.commands] == ["Target.setDiscoverTargets"]
    assert states(chrome) == {}


@pytest.mark.parametrize("kind", ["browser_ui", "tab", "browser", "other", "webview", "background_page"])
def test_targets_that_are_no_pages_are_skipped_whatever_their_url(chrome: Dialogue, kind: str) -> None:
    assert chrome.say(created("X", PAGE_URL, kind)) == []
    assert chrome.sent("Target.attachToTarget") == []


def test_target_is_attached_once_however_often_it_is_reported(chrome: Dialogue) -> None:
    chrome.say(created("T"), created("T"), changed("T"), changed("T"))

    assert len(chrome.sent("Target.attachToTarget")) == 1


def test_second_session_of_the_same_target_is_let_go(chrome: Dialogue) -> None:
    # A service worker attaches several times.
    chrome.open_tab("W", kind="service_worker")

    chrome.say(attached("S-second", "W", kind="service_worker"))

    assert [c["params"]["sessionId"] for c in chrome.sent("Target.detachFromTarget")] == ["S-second"]
    assert len(chrome.sent("Network.enable")) == 1


def test_session_that_nobody_asked_for_is_let_go_before_it_says_anything(chrome: Dialogue) -> None:
    chrome.say(attached("S-X", "X", FOREIGN_URL))

    assert [c["method"] for c in chrome.commands] == ["Target.setDiscoverTargets", "Target.detachFromTarget"]


def test_tab_that_comes_to_the_platform_is_attached(chrome: Dialogue) -> None:
    chrome.say(created("T", FOREIGN_URL))

    assert chrome.say(changed("T", PAGE_URL)) == [TabAttached("T", PAGE_URL, "t", "page")]


def test_tab_that_leaves_the_platform_is_detached_at_once(chrome: Dialogue) -> None:
    session = chrome.open_tab("T")
    chrome.say(frame(session, "1.1"))

    events = chrome.say(changed("T", FOREIGN_URL), frame(session, "1.2", "foreign"))

    assert events == [SocketClosed(SocketId(session, "1.1"), EndReason.NAVIGATED), TabGone("T", EndReason.NAVIGATED)]
    assert chrome.sent("Target.detachFromTarget")[0]["params"] == {"sessionId": session}


def test_navigation_to_another_site_detaches_even_before_discovery_says_so(chrome: Dialogue) -> None:
    session = chrome.open_tab("T")

    events = chrome.say(navigated(session, "T", FOREIGN_URL), changed("T", FOREIGN_URL))

    assert events == [TabGone("T", EndReason.NAVIGATED)]
    assert len(chrome.sent("Target.detachFromTarget")) == 1


def test_tab_that_leaves_while_it_is_being_attached_is_let_go(chrome: Dialogue) -> None:
    chrome.mute = lambda command: command["method"] == "Target.attachToTarget"
    chrome.say(created("T"))

    events = chrome.say(attached("S-T", "T", FOREIGN_URL))

    assert events == []
    assert chrome.sent("Network.enable") == []
    assert len(chrome.sent("Target.detachFromTarget")) == 1
    assert states(chrome) == {}


def test_tab_comes_back_to_the_platform_in_a_new_session(chrome: Dialogue) -> None:
    chrome.open_tab("T")
    chrome.say(changed("T", FOREIGN_URL))

    assert kinds(chrome.say(changed("T", PAGE_URL), frame("S-T-2"))) == ["TabAttached", "SocketOpened", "FrameReceived"]


def test_new_title_or_address_is_told(chrome: Dialogue) -> None:
    chrome.open_tab("T")

    events = chrome.say(
        changed("T", PAGE_URL + "/x?sid=1#y", title="EUR/USD"), changed("T", PAGE_URL + "/x?sid=1#y", title="EUR/USD")
    )

    assert events == [TabChanged("T", PAGE_URL + "/x", "EUR/USD")]


def test_empty_address_between_two_documents_changes_nothing(chrome: Dialogue) -> None:
    chrome.open_tab("F", kind="iframe")

    assert chrome.say(changed("F", "", "iframe")) == []
    assert states(chrome) == {"F": "listening"}


# --- workers and frames inside a page --------------------------------------------------------------------------------


def test_workers_of_a_page_are_attached_with_it_and_only_workers(chrome: Dialogue) -> None:
    session = chrome.open_tab("T")

    [auto_attach] = chrome.sent("Target.setAutoAttach")

    assert auto_attach["sessionId"] == session
    assert auto_attach["params"]["filter"] == [{"type": "worker"}]
    assert auto_attach["params"]["waitForDebuggerOnStart"] is False


@pytest.mark.parametrize(
    "url", ["", "https://platform.test/w.js", "blob:https://platform.test/1", "data:text/javascript,1"]
)
def test_dedicated_worker_belongs_to_its_page(chrome: Dialogue, url: str) -> None:
    session = chrome.open_tab("T")

    events = chrome.say(attached("S-W", "W", url, "worker", parent=session), frame("S-W", text="tick"))

    assert kinds(events) == ["TabAttached", "SocketOpened", "FrameReceived"]
    assert chrome.sent("Network.enable")[-1]["sessionId"] == "S-W"


def test_worker_inside_a_worker_is_attached_too(chrome: Dialogue) -> None:
    session = chrome.open_tab("T")

    events = chrome.say(
        attached("S-W", "W", "", "worker", parent=session),
        attached("S-V", "V", "", "worker", parent="S-W"),
        frame("S-V"),
    )

    assert kinds(events) == ["TabAttached", "TabAttached", "SocketOpened", "FrameReceived"]


@pytest.mark.parametrize(
    ("url", "kind"), [(FOREIGN_URL, "iframe"), (FOREIGN_URL, "worker"), (PAGE_URL, "iframe"), ("", "other")]
)
def test_any_other_child_is_let_go_through_its_parent(chrome: Dialogue, url: str, kind: str) -> None:
    session = chrome.open_tab("T")

    chrome.say(attached("S-X", "X", url, kind, parent=session))

    [detach] = chrome.sent("Target.detachFromTarget")
    assert (detach["sessionId"], detach["params"]) == (session, {"sessionId": "S-X"})
    assert len(chrome.sent("Network.enable")) == 1


def test_end_of_a_worker_ends_its_sockets(chrome: Dialogue) -> None:
    session = chrome.open_tab("T")
    chrome.say(attached("S-W", "W", "", "worker", parent=session), frame("S-W", "1.1"))

    events = chrome.say(detached("S-W", "W", parent=session))

    assert events == [SocketClosed(SocketId("S-W", "1.1"), EndReason.DETACHED), TabGone("W", EndReason.DETACHED)]
    assert states(chrome) == {"T": "listening"}


def test_navigation_expires_the_sockets_of_frames_and_workers_inside(chrome: Dialogue) -> None:
    # They park with the page in the back/forward cache: attached, silent and never reported closed.
    session = chrome.open_tab("T")
    inner = chrome.open_tab("F", "https://mirror.test/chat", "iframe", parentId="T")
    chrome.say(attached("S-W", "W", "", "worker", parent=inner), frame("S-W", "1.1"), frame(inner, "2.2"))

    events = chrome.say(navigated(session, "T", PAGE_URL + "/other"))

    assert {(e.socket.session_id, e.reason) for e in events if isinstance(e, SocketClosed)} == {
        ("S-W", EndReason.NAVIGATED),
        (inner, EndReason.NAVIGATED),
    }


def test_page_that_leaves_expires_the_sockets_of_the_frames_it_parks(chrome: Dialogue) -> None:
    chrome.open_tab("T")
    inner = chrome.open_tab("F", "https://mirror.test/chat", "iframe", parentId="T")
    chrome.say(frame(inner, "2.2"))

    events = chrome.say(changed("T", FOREIGN_URL))

    assert SocketClosed(SocketId(inner, "2.2"), EndReason.NAVIGATED) in events
    assert states(chrome) == {"F": "listening"}


def test_navigation_of_one_tab_leaves_the_sockets_of_another(chrome: Dialogue) -> None:
    one, two = chrome.open_tab("A"), chrome.open_tab("B")
    chrome.say(frame(one, "1.1"), frame(two, "1.1"))

    events = chrome.say(navigated(one, "A"))

    assert events == [SocketClosed(SocketId(one, "1.1"), EndReason.RELOADED)]


def test_frames_that_claim_to_hold_each_other_do_no_harm(chrome: Dialogue) -> None:
    chrome.open_tab("A", parentId="B", kind="iframe")
    session = chrome.open_tab("B", parentId="A", kind="iframe")
    chrome.say(frame(session))

    assert kinds(chrome.say(navigated(session, "B"))) == ["SocketClosed"]


# --- ends ------------------------------------------------------------------------------------------------------------


def test_closed_tab_ends_its_sockets_and_is_forgotten(chrome: Dialogue) -> None:
    session = chrome.open_tab("T")
    chrome.say(frame(session, "1.1"))

    events = chrome.say(
        event("Inspector.detached", {"reason": "Render process gone."}, session), detached(session, "T"), destroyed("T")
    )

    assert events == [SocketClosed(SocketId(session, "1.1"), EndReason.TAB_CLOSED), TabGone("T", EndReason.TAB_CLOSED)]
    assert states(chrome) == {}
    assert chrome.wait(60) == []


def test_destroyed_tab_without_a_word_of_detaching_ends_the_same_way(chrome: Dialogue) -> None:
    session = chrome.open_tab("T")
    chrome.say(frame(session, "1.1"))

    assert chrome.say(destroyed("T")) == [
        SocketClosed(SocketId(session, "1.1"), EndReason.TAB_CLOSED),
        TabGone("T", EndReason.TAB_CLOSED),
    ]


def test_crash_ends_the_sockets_once_though_it_is_told_twice(chrome: Dialogue) -> None:
    session = chrome.open_tab("T")
    chrome.say(frame(session, "1.1"))

    events = chrome.say(
        event("Inspector.targetCrashed", {}, session),
        event("Target.targetCrashed", {"targetId": "T", "status": "crashed", "errorCode": 5}),
    )

    assert events == [SocketClosed(SocketId(session, "1.1"), EndReason.CRASHED), TabGone("T", EndReason.CRASHED)]
    assert states(chrome) == {"T": "crashed"}


def test_crash_of_a_page_ends_its_workers(chrome: Dialogue) -> None:
    session = chrome.open_tab("T")
    chrome.say(attached("S-W", "W", "", "worker", parent=session), frame("S-W", "1.1"))

    events = chrome.say(event("Inspector.targetCrashed", {}, session))

    assert SocketClosed(SocketId("S-W", "1.1"), EndReason.CRASHED) in events
    assert TabGone("W", EndReason.CRASHED) in events


def test_reload_after_a_crash_revives_the_same_session(chrome: Dialogue) -> None:
    session = chrome.open_tab("T")
    chrome.say(event("Inspector.targetCrashed", {}, session))

    events = chrome.say(event("Inspector.targetReloadedAfterCrash", {}, session), frame(session))

    assert kinds(events) == ["TabAttached", "SocketOpened", "FrameReceived"]
    assert len(chrome.sent("Network.enable")) == 2


def test_questions_to_a_crashed_tab_are_forgotten(chrome: Dialogue) -> None:
    chrome.mute = lambda command: command["method"] == "Runtime.getIsolateId"
    session = chrome.open_tab("T")
    chrome.probe()
    chrome.say(event("Inspector.targetCrashed", {}, session))

    assert not [e for e in chrome.wait(60) if getattr(e, "target_id", "") == "T"]


def test_discarded_tab_accepts_the_attach_and_answers_nothing(chrome: Dialogue) -> None:
    chrome.mute = lambda command: command.get("sessionId") == "S-T"
    chrome.say(created("T"))

    events = chrome.wait(5)

    assert CommandTimedOut("Network.enable", "T") in events
    assert not [e for e in events if isinstance(e, TabAttached)]
    assert states(chrome) == {"T": "silent"}


def test_discarded_tab_is_asked_again_when_it_changes(chrome: Dialogue) -> None:
    chrome.mute = lambda command: command.get("sessionId") == "S-T"
    chrome.say(created("T"))
    chrome.wait(5)
    chrome.mute = lambda command: False

    events = chrome.say(changed("T", title="awake"))

    assert events == [TabAttached("T", PAGE_URL, "awake", "page")]


def test_discarded_tab_that_answers_late_is_back(chrome: Dialogue) -> None:
    chrome.mute = lambda command: command.get("sessionId") == "S-T"
    chrome.say(created("T"))
    chrome.wait(5)
    [enable] = [c for c in chrome.unanswered if c["method"] == "Network.enable"]

    events = chrome.answer(enable)

    assert events == [CommandRecovered("Network.enable", "T"), TabAttached("T", PAGE_URL, "t", "page")]


def test_attach_that_times_out_is_tried_again(chrome: Dialogue) -> None:
    chrome.mute = lambda command: command["method"] == "Target.attachToTarget"
    chrome.say(created("T"))
    chrome.wait(5)
    chrome.mute = lambda command: False

    assert chrome.wait(1) == [TabAttached("T", PAGE_URL, "t", "page")]


def test_refused_attach_is_told_and_tried_a_few_times(chrome: Dialogue) -> None:
    chrome.mute = lambda command: command["method"] == "Target.attachToTarget"
    chrome.say(created("T"))
    refused = []

    for _ in range(20):
        if chrome.unanswered:
            refused += chrome.answer(chrome.unanswered.pop(), error={"code": -32000, "message": "Not allowed"})
        chrome.wait(1)

    assert set(refused) == {CommandRefused("Target.attachToTarget", "T", "Not allowed")}
    assert len(refused) == 1 + MAX_RETRIES


CRASHED = {"code": -32000, "message": "Target crashed"}


def crashed_tab(chrome: Dialogue) -> dict[str, Any]:
    """Attach to a tab whose renderer is gone; returns the command that it does not answer until it is reloaded."""
    chrome.mute = lambda command: command["method"] in ("Network.enable", "Page.enable")
    chrome.say(created("T"))
    [enable] = [c for c in chrome.unanswered if c["method"] == "Network.enable"]
    chrome.mute = lambda command: False
    return enable


def test_tab_that_had_crashed_before_the_attach_is_listened_to_once_it_is_reloaded(chrome: Dialogue) -> None:
    enable = crashed_tab(chrome)

    assert chrome.answer(enable, error=CRASHED) == [CommandRefused("Network.enable", "T", "Target crashed")]
    assert states(chrome) == {"T": "refused"}
    assert chrome.wait(0.9) == []
    assert chrome.wait(0.1) == [TabAttached("T", PAGE_URL, "t", "page")]


def test_tab_that_had_crashed_is_asked_at_once_when_it_changes(chrome: Dialogue) -> None:
    chrome.answer(crashed_tab(chrome), error=CRASHED)

    assert kinds(chrome.say(changed("T", title="reloaded"))) == ["TabAttached"]


def test_tab_that_refuses_only_after_the_time_for_it_is_asked_again(chrome: Dialogue) -> None:
    enable = crashed_tab(chrome)
    chrome.wait(5)

    chrome.answer(enable, error=CRASHED)

    assert kinds(chrome.wait(1)) == ["TabAttached"]


def test_tab_that_goes_on_refusing_is_asked_a_few_times(chrome: Dialogue) -> None:
    chrome.answer(crashed_tab(chrome), error=CRASHED)
    chrome.mute = lambda command: command["method"] == "Network.enable"
    chrome.unanswered.clear()

    for _ in range(20):
        chrome.wait(1)
        for command in [c for c in chrome.unanswered if c["method"] == "Network.enable"]:
            chrome.unanswered.remove(command)
            chrome.answer(command, error=CRASHED)

    assert len(chrome.sent("Network.enable")) == 1 + MAX_RETRIES


def test_a_tab_that_is_listened_to_stays_so_whatever_it_refuses(chrome: Dialogue) -> None:
    enable = crashed_tab(chrome)
    chrome.say(frame("S-T"))

    chrome.answer(enable, error=CRASHED)

    assert states(chrome) == {"T": "listening"}


def test_session_that_the_browser_ends_by_itself_is_made_anew(chrome: Dialogue) -> None:
    session = chrome.open_tab("T")
    assert chrome.say(detached(session, "T")) == [TabGone("T", EndReason.TAB_CLOSED)]

    assert kinds(chrome.wait(1)) == ["TabAttached"]


def test_answer_without_the_attached_event_is_enough(chrome: Dialogue) -> None:
    chrome.mute = lambda command: command["method"] == "Target.attachToTarget"
    chrome.say(created("T"))

    events = chrome.answer(chrome.unanswered[0], result={"sessionId": "S-T"})

    assert events == [TabAttached("T", PAGE_URL, "t", "page")]


def test_refused_command_is_told_but_not_that_a_session_has_gone(chrome: Dialogue) -> None:
    chrome.mute = lambda command: command["method"] in ("Page.enable", "Target.setAutoAttach")
    chrome.open_tab("T")
    page, auto = chrome.unanswered

    assert chrome.answer(page, error={"code": -32001, "message": "Session with given id not found."}) == []
    assert chrome.answer(auto, error={"code": -32601, "message": "no"}) == [
        CommandRefused("Target.setAutoAttach", "T", "no")
    ]


def test_broken_answer_is_counted(chrome: Dialogue) -> None:
    chrome.mute = lambda command: command["method"] == "Target.attachToTarget"
    chrome.say(created("T"))

    assert chrome.answer(chrome.unanswered[0], result={"sessionId": 5}) == [Malformed("answer")]


def test_number_of_targets_is_bounded_and_said(chrome: Dialogue) -> None:
    events = chrome.say(*(created(f"T{n}") for n in range(MAX_TARGETS + 1)))

    assert events[-1] == Malformed("targets")
    assert len(chrome.session.snapshot().tabs) == MAX_TARGETS


def test_outgoing_commands_of_a_whole_day_never_name_a_foreign_target(chrome: Dialogue) -> None:
    chrome.say(
        created("X", FOREIGN_URL), created("T"), created("Y", "https://mail.test/"), changed("X", FOREIGN_URL + "/2")
    )
    chrome.say(changed("T", FOREIGN_URL), changed("T", PAGE_URL), destroyed("X"))
    chrome.probe()
    chrome.wait(10)

    said = json.dumps(chrome.commands)

    assert '"X"' not in said
    assert '"Y"' not in said
    assert "S-X" not in said


def test_a_page_that_looks_like_the_platforms_is_told_by_its_host_and_not_attached() -> None:
    chrome = Dialogue(resembles=lambda url: "alike" in url)

    told = chrome.say(created("T", "https://user@alike.test:8080/trade?token=SECRET"))

    assert told == [LookalikeSeen("alike.test:8080")]
    assert chrome.session.snapshot().lookalikes == ("alike.test:8080",)
    assert chrome.session.snapshot().tabs == ()
    assert chrome.sent("Target.attachToTarget") == []


def test_it_is_told_once_an_address_and_forgotten_when_it_has_gone() -> None:
    chrome = Dialogue(resembles=lambda url: "alike" in url)
    chrome.say(created("T", "https://alike.test/"))
    chrome.say(created("U", "https://alike.test/"))

    assert chrome.say(changed("T", "https://alike.test/other")) == []
    assert chrome.session.snapshot().lookalikes == ("alike.test",)

    chrome.say(destroyed("U"))
    chrome.say(changed("T", FOREIGN_URL))
    assert chrome.session.snapshot().lookalikes == ()


def test_a_frame_that_looks_alike_is_none_of_our_business() -> None:
    chrome = Dialogue(resembles=lambda url: "alike" in url)

    assert chrome.say(created("T", "https://alike.test/", "iframe")) == []
