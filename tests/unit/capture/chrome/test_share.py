"""Guests on one connection: each hears its own, the owner hears nothing of them, and nobody speaks for another."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fluxcap.capture.chrome.share import FIRST_NUMBER, Guest, SharedBrowser
from fluxcap.schemas.errors import BrowserGone, CommandFailed

TARGET = {"targetId": "T", "type": "page", "url": "https://pocketoption.com/"}


def message(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


class Browser:
    """Answers at once; ``owned`` is what the owner of the connection was left with."""

    def __init__(self) -> None:
        self.shared = SharedBrowser()
        self.commands: list[dict[str, Any]] = []
        self.owned: list[bytes] = []
        self.errors: dict[str, str] = {}
        self.said_last: list[dict[str, Any]] = []
        """What sessions still say before they are ended."""
        self.shared.opened(self.send)

    def send(self, text: str) -> None:
        command = json.loads(text)
        self.commands.append(command)
        session = {"sessionId": command["sessionId"]} if "sessionId" in command else {}
        method, result = command["method"], {}
        if method == "Target.attachToBrowserTarget":
            result = {"sessionId": f"G{sum(one['method'] == method for one in self.commands)}"}
            info = {"targetId": "B", "type": "browser", "url": ""}
            self.say(method="Target.attachedToTarget", params={**result, "targetInfo": info})
        elif method == "Target.attachToTarget":
            result = {"sessionId": f"{command['sessionId']}-T"}
            self.say(method="Target.attachedToTarget", params={**result, "targetInfo": TARGET}, **session)
        elif method == "Target.detachFromTarget":
            for said in self.said_last:
                self.say(**said)
            self.say(method="Target.detachedFromTarget", params=command["params"])
        if method in self.errors:
            self.say(id=command["id"], error={"code": 1, "message": self.errors[method]}, **session)
        else:
            self.say(id=command["id"], result=result, **session)

    def say(self, **fields: Any) -> None:
        data = message(**fields)
        if not self.shared.take(data):
            self.owned.append(data)

    def guest(self) -> tuple[Guest, list[dict[str, Any]]]:
        heard: list[dict[str, Any]] = []
        guest = self.shared.join(lambda text: heard.append(json.loads(text)), lambda: heard.append({"end": True}))
        return guest, heard


@pytest.fixture
def browser() -> Browser:
    return Browser()


def attached(guest: Guest) -> None:
    guest.send(json.dumps({"id": 1, "method": "Target.attachToTarget", "params": {"targetId": "T", "flatten": True}}))


def test_a_guest_speaks_as_over_a_connection_of_its_own(browser: Browser) -> None:
    guest, heard = browser.guest()

    guest.send(json.dumps({"id": 7, "method": "Target.setDiscoverTargets", "params": {"discover": True}}))

    assert browser.commands[-1]["sessionId"] == guest.session_id
    assert heard == [{"id": 7, "result": {}}]


def test_what_a_guest_attached_is_told_to_it_alone(browser: Browser) -> None:
    one, heard_by_one = browser.guest()
    _other, heard_by_other = browser.guest()
    attached(one)

    browser.say(method="Network.webSocketFrameReceived", params={"requestId": "1"}, sessionId="G1-T")

    assert [told.get("method", told.get("id")) for told in heard_by_one] == [
        "Target.attachedToTarget",
        1,
        "Network.webSocketFrameReceived",
    ]
    assert heard_by_one[-1]["sessionId"] == "G1-T"
    assert heard_by_other == []


def test_the_owner_hears_its_own_and_nothing_of_guests(browser: Browser) -> None:
    guest, heard = browser.guest()
    attached(guest)
    own = {"id": 1, "result": {"sessionId": "S"}}, {"method": "Page.frameNavigated", "params": {}, "sessionId": "S"}

    for told in own:
        browser.say(**told)
    guest.leave()

    assert [json.loads(data) for data in browser.owned] == list(own)
    assert [told for told in heard if told.get("sessionId") == "S"] == []


def test_what_the_sessions_of_a_guest_say_while_it_leaves_is_nobodys(browser: Browser) -> None:
    guest, heard = browser.guest()
    attached(guest)
    before = len(heard)
    browser.said_last = [
        {"method": "Network.webSocketFrameReceived", "params": {"requestId": "1"}, "sessionId": "G1-T"},
        {"method": "Target.detachedFromTarget", "params": {"sessionId": "G1-T"}, "sessionId": "G1"},
    ]

    guest.leave()

    assert browser.owned == []
    assert len(heard) == before


def test_a_guest_cannot_speak_into_the_session_of_another(browser: Browser) -> None:
    one, _ = browser.guest()
    other, heard = browser.guest()
    attached(one)
    before = len(browser.commands)

    for session in ("G1-T", "G1", "S"):
        other.send(json.dumps({"id": 5, "method": "Page.reload", "sessionId": session}))

    assert len(browser.commands) == before
    assert [told["error"]["message"] for told in heard] == ["Session with given id not found."] * 3


def test_who_has_left_is_told_nothing_more(browser: Browser) -> None:
    guest, heard = browser.guest()
    attached(guest)
    guest.leave()
    heard.clear()

    browser.say(method="Network.webSocketFrameReceived", params={}, sessionId="G1-T")

    assert heard == []
    assert browser.commands[-1]["params"] == {"sessionId": "G1"}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"id":"x"}', "[" * 100_000])
def test_what_is_no_command_is_passed_over(browser: Browser, text: str) -> None:
    guest, heard = browser.guest()
    before = len(browser.commands)

    guest.send(text)

    assert (len(browser.commands), heard) == (before, [])


def test_the_end_of_the_connection_is_told_to_each_guest_once(browser: Browser) -> None:
    guest, heard = browser.guest()
    attached(guest)
    heard.clear()

    browser.shared.ended()

    assert heard == [{"end": True}]
    with pytest.raises(BrowserGone):
        guest.send('{"id":1,"method":"Browser.getVersion"}')
    with pytest.raises(BrowserGone):
        browser.guest()


def test_a_call_that_fails_says_why(browser: Browser) -> None:
    browser.errors = {"Browser.getVersion": "not now"}

    with pytest.raises(CommandFailed, match=r"refused Browser\.getVersion: not now"):
        browser.shared.call("Browser.getVersion")


def test_a_call_that_is_not_answered_is_given_up() -> None:
    shared = SharedBrowser()
    shared.opened(lambda text: None)

    with pytest.raises(CommandFailed, match="did not answer"):
        shared.call("Browser.getVersion", timeout_s=0.01)


def test_while_nobody_is_a_guest_nothing_is_looked_at() -> None:
    assert not SharedBrowser().take(message(id=FIRST_NUMBER, result={}))
    assert not SharedBrowser().take(b"no JSON")
