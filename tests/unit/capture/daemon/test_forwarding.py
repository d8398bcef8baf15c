"""The forwarder's words in the daemon: every notice is an event, and status says how it goes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fluxcap.bridge.jetstream.forward.status import ForwardEvent, ForwardState, ForwardStatus
from fluxcap.capture.cli import control as status
from fluxcap.capture.daemon.forwarding import log_forward_event
from fluxcap.capture.runtime.log_events import EVENTS

FIELDS = {"reason": "why", "stream": "DESK.EURUSD.1m", "store": "s", "candles": 3, "log": "nats://a:1"}


@pytest.mark.parametrize("notice", ForwardEvent)
def test_every_notice_is_an_event_that_is_listed(notice: ForwardEvent, logged: list[str]):
    log_forward_event(notice, FIELDS)

    assert len(logged) == 1
    assert logged[0] in EVENTS


def line(**changes: Any) -> str:
    view = msgspec.structs.replace(ForwardStatus(server="nats://a:1"), **changes)
    return status._forwarding(msgspec.to_builtins(view))


def test_status_says_how_forwarding_goes():
    assert line(state=ForwardState.UP_TO_DATE) == "nats://a:1 [green]up to date[/]"
    away = line(state=ForwardState.UNAVAILABLE, reason="No NATS server answers.", behind=1_234)
    assert "[yellow]NATS unavailable[/]" in away
    assert "No NATS server answers." in away
    assert "waiting in the store: 1,234" in away
    assert "another store" in line(blocked_streams={"DESK.EURUSD.1m": "another store publishes under this name"})


def test_the_states_that_hold_a_connection_are_two():
    assert [state for state in ForwardState if state.is_connected] == [
        ForwardState.CATCHING_UP,
        ForwardState.UP_TO_DATE,
    ]
