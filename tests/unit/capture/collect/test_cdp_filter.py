"""What a driver behind the gate may see and do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fluxcap.capture.collect.cdp_filter import PlatformFilter, SingleTabFilter
from tests.support.browser.cdp import PAGE_URL, is_platform_url

BANK_URL = "https://bank.test/"


@pytest.fixture
def rules() -> SingleTabFilter:
    return SingleTabFilter(is_platform_url)


def info(target_id: str, url: str, kind: str = "tab", *, active: bool = False) -> dict[str, Any]:
    return {"targetId": target_id, "type": kind, "url": url, "embedderData": {"tabActive": active}}


def ask(rules: SingleTabFilter, method: str, session_id: str = "", number: int = 1, **params: Any) -> tuple[Any, Any]:
    """``(what reaches the browser, what is answered at once)``, None where nothing is."""
    command: dict[str, Any] = {"id": number, "method": method, "params": params}
    if session_id:
        command["sessionId"] = session_id
    onward, answer = rules.to_browser(json.dumps(command))
    return json.loads(onward) if onward else None, json.loads(answer) if answer else None


def shown(rules: SingleTabFilter, *infos: dict[str, Any]) -> list[str]:
    ask(rules, "Target.getTargets")
    answer = json.loads(rules.to_driver(json.dumps({"id": 1, "result": {"targetInfos": infos}}, separators=(",", ":"))))
    return [one["targetId"] for one in answer["result"]["targetInfos"]]


def attach(rules: SingleTabFilter) -> None:
    """The driver attaches to the tab T in session S."""
    shown(rules, info("T", PAGE_URL))
    ask(rules, "Target.attachToTarget", targetId="T")
    rules.to_driver('{"id":1,"result":{"sessionId":"S"}}')


def test_only_a_tab_of_the_platform_is_shown(rules: SingleTabFilter) -> None:
    assert shown(rules, info("B", BANK_URL, active=True), info("U", PAGE_URL, "browser_ui"), info("T", PAGE_URL)) == [
        "T"
    ]


def test_of_several_the_active_one_is_shown(rules: SingleTabFilter) -> None:
    assert shown(rules, info("T", PAGE_URL), info("A", PAGE_URL, active=True)) == ["A"]


def test_the_tab_shown_stays_the_same_wherever_it_goes(rules: SingleTabFilter) -> None:
    shown(rules, info("T", PAGE_URL))

    assert shown(rules, info("A", PAGE_URL, active=True), info("T", BANK_URL)) == ["T"]


def test_nothing_is_shown_when_nothing_may_be(rules: SingleTabFilter) -> None:
    assert shown(rules, info("B", BANK_URL)) == []


def test_the_tab_shown_can_be_attached(rules: SingleTabFilter) -> None:
    shown(rules, info("T", PAGE_URL))

    onward, answer = ask(rules, "Target.attachToTarget", targetId="T", flatten=True)

    assert onward["params"] == {"targetId": "T", "flatten": True}
    assert answer is None


def test_no_other_tab_can_be_attached_though_its_id_be_guessed(rules: SingleTabFilter) -> None:
    shown(rules, info("T", PAGE_URL), info("B", BANK_URL))

    onward, answer = ask(rules, "Target.attachToTarget", number=9, targetId="B", flatten=True)

    assert onward is None
    assert (answer["id"], answer["error"]["message"]) == (9, "No target with given id found")


def test_nothing_can_be_attached_before_a_tab_was_shown(rules: SingleTabFilter) -> None:
    assert ask(rules, "Target.attachToTarget", targetId="T")[0] is None


@pytest.mark.parametrize(
    "method", ["Target.closeTarget", "Page.close", "Browser.close", "Browser.crash", "Target.createTarget"]
)
@pytest.mark.parametrize("session_id", ["", "S"])
def test_nothing_can_be_closed_or_opened(rules: SingleTabFilter, method: str, session_id: str) -> None:
    attach(rules)

    onward, answer = ask(rules, method, session_id, targetId="T")

    assert onward is None
    assert "not allowed" in answer["error"]["message"]
    assert answer.get("sessionId", "") == session_id


@pytest.mark.parametrize("method", ["Target.activateTarget", "Page.bringToFront", "Target.setDiscoverTargets"])
def test_what_would_disturb_is_said_to_be_done_and_is_not(rules: SingleTabFilter, method: str) -> None:
    attach(rules)

    assert ask(rules, method, "S", 3) == (None, {"id": 3, "result": {}, "sessionId": "S"})


def test_the_tab_brings_along_its_page_only(rules: SingleTabFilter) -> None:
    attach(rules)

    onward, _ = ask(rules, "Target.setAutoAttach", "S", autoAttach=True, flatten=True)

    assert onward["params"] == {"autoAttach": True, "flatten": True, "filter": [{"type": "page"}]}


@pytest.mark.parametrize("session_id", ["", "PAGE"])
def test_the_page_brings_along_no_frames_of_other_sites(rules: SingleTabFilter, session_id: str) -> None:
    attach(rules)

    onward, answer = ask(rules, "Target.setAutoAttach", session_id, autoAttach=True)

    assert onward is None
    assert answer["result"] == {}


def test_everything_else_passes_unchanged(rules: SingleTabFilter) -> None:
    attach(rules)
    command = {"id": 5, "method": "Runtime.evaluate", "params": {"expression": "1"}, "sessionId": "PAGE"}
    event = '{"method":"Runtime.executionContextCreated","params":{}}'

    assert json.loads(rules.to_browser(json.dumps(command))[0]) == command
    assert rules.to_driver(event) == event
    assert rules.to_driver('{"id":5,"result":{},"sessionId":"PAGE"}') == '{"id":5,"result":{},"sessionId":"PAGE"}'


@pytest.mark.parametrize("message", ["", "{", "[]", "{}", '{"id":"x","method":"A.b"}', '{"id":1}'])
def test_what_is_no_command_goes_nowhere(rules: SingleTabFilter, message: str) -> None:
    assert rules.to_browser(message) == ("", "")


# --- a reader of frames ----------------------------------------------------------------------------------------------


@pytest.fixture
def reader() -> PlatformFilter:
    return PlatformFilter(is_platform_url)


def told(reader: PlatformFilter, method: str, target_id: str, url: str) -> bool:
    event = {"method": method, "params": {"targetInfo": {"targetId": target_id, "type": "page", "url": url}}}
    return bool(reader.to_driver(json.dumps(event, separators=(",", ":"))))


def may(reader: PlatformFilter, method: str, session_id: str = "", **params: Any) -> bool:
    command = {"id": 1, "method": method, "params": params, **({"sessionId": session_id} if session_id else {})}
    onward, answer = reader.to_browser(json.dumps(command))
    assert bool(onward) is not bool(answer)
    return bool(onward)


@pytest.mark.parametrize("method", ["Target.targetCreated", "Target.targetInfoChanged"])
def test_a_reader_hears_of_the_platforms_tabs_alone(reader: PlatformFilter, method: str):
    assert told(reader, method, "OURS", PAGE_URL)
    assert not told(reader, method, "BANK", BANK_URL)


def test_a_reader_attaches_to_the_platforms_tabs_alone(reader: PlatformFilter):
    told(reader, "Target.targetCreated", "OURS", PAGE_URL)
    told(reader, "Target.targetCreated", "BANK", BANK_URL)

    assert may(reader, "Target.attachToTarget", targetId="OURS")
    assert not may(reader, "Target.attachToTarget", targetId="BANK")
    assert not may(reader, "Target.attachToTarget", "S", targetId="BANK")


def test_a_tab_that_leaves_the_platform_is_told_once_and_closed_to_a_reader(reader: PlatformFilter):
    told(reader, "Target.targetCreated", "OURS", PAGE_URL)

    assert told(reader, "Target.targetInfoChanged", "OURS", BANK_URL)
    assert not told(reader, "Target.targetInfoChanged", "OURS", BANK_URL)
    assert not may(reader, "Target.attachToTarget", targetId="OURS")


@pytest.mark.parametrize(
    ("method", "session_id"),
    [
        ("Target.getTargets", ""),
        ("Storage.getCookies", ""),
        ("Browser.close", ""),
        ("Target.createTarget", ""),
        ("Target.setAutoAttach", ""),
        ("Page.close", "S"),
        ("Target.closeTarget", "S"),
    ],
)
def test_a_reader_has_no_other_commands(reader: PlatformFilter, method: str, session_id: str):
    assert not may(reader, method, session_id)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"method":"x"}'])
def test_what_is_no_command_of_a_reader_goes_nowhere(reader: PlatformFilter, text: str):
    assert reader.to_browser(text) == ("", "")


def test_frames_pass_to_a_reader_as_they_came(reader: PlatformFilter):
    frame = '{"method":"Network.webSocketFrameReceived","params":{},"sessionId":"S"}'

    assert reader.to_driver(frame) == frame
