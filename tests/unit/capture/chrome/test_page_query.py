"""The one question put to a page: in a world of its own, without side effects, one at a time."""

from __future__ import annotations

import json

import pytest

from fluxcap.capture.chrome.events import ActiveAssetLabel
from tests.support.browser.cdp import Dialogue

LABEL = "document.title"


@pytest.fixture
def chrome() -> Dialogue:
    return Dialogue()


def asked(chrome: Dialogue) -> list[dict[str, object]]:
    chrome.session.query_active_asset(LABEL, 0)
    return [json.loads(line) for line in chrome.session.outgoing()]


def answer(command: dict[str, object], result: object) -> str:
    return json.dumps({"id": command["id"], "result": result, "sessionId": command["sessionId"]})


def evaluation(chrome: Dialogue) -> dict[str, object]:
    [world] = asked(chrome)
    chrome.session.receive(answer(world, {"executionContextId": 7}), chrome.stamp())
    [evaluate] = [json.loads(line) for line in chrome.session.outgoing()]
    return evaluate


def test_it_is_asked_in_a_world_of_its_own_and_may_change_nothing(chrome: Dialogue):
    session = chrome.open_tab()

    evaluate = evaluation(chrome)

    assert (evaluate["method"], evaluate["sessionId"]) == ("Runtime.evaluate", session)
    params = evaluate["params"]
    assert isinstance(params, dict)
    assert (params["contextId"], params["expression"], params["throwOnSideEffect"]) == (7, LABEL, True)


def test_the_answer_is_told_without_space_around_it(chrome: Dialogue):
    chrome.open_tab()
    evaluate = evaluation(chrome)

    events = chrome.session.receive(
        answer(evaluate, {"result": {"type": "string", "value": " EUR/USD "}}), chrome.stamp()
    )

    assert events == [ActiveAssetLabel("T", "EUR/USD")]


@pytest.mark.parametrize(
    "result",
    [
        {"result": {"type": "string", "value": ""}},
        {"result": {"type": "string", "value": "x" * 65}},
        {"result": {"type": "undefined"}},
        {"result": {"type": "number", "value": 5}},
        {"result": {"type": "object", "subtype": "error"}, "exceptionDetails": {"text": "Uncaught"}},
        {},
    ],
)
def test_what_is_no_label_tells_nothing(chrome: Dialogue, result: object):
    chrome.open_tab()
    evaluate = evaluation(chrome)

    assert chrome.session.receive(answer(evaluate, result), chrome.stamp()) == []


def test_a_page_that_has_not_answered_is_not_asked_again(chrome: Dialogue):
    chrome.open_tab()

    assert len(asked(chrome)) == 1
    assert asked(chrome) == []
