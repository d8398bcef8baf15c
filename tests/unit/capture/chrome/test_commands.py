"""Numbers, time-outs and late answers of commands."""

from __future__ import annotations

import json

import pytest

from fluxcap.capture.chrome.commands import MAX_LATE, CommandTracker


@pytest.fixture
def ledger() -> CommandTracker:
    return CommandTracker(timeout_ns=10)


def test_commands_are_numbered_from_one_and_sent_in_order(ledger: CommandTracker) -> None:
    ledger.send("A.a", {"x": 1}, 0)
    ledger.send("B.b", {}, 0, target_id="T", session_id="S")

    assert [json.loads(line) for line in ledger.outgoing()] == [
        {"id": 1, "method": "A.a", "params": {"x": 1}},
        {"id": 2, "method": "B.b", "params": {}, "sessionId": "S"},
    ]


def test_answer_in_time_settles_the_command(ledger: CommandTracker) -> None:
    command = ledger.send("A.a", {}, 0)

    assert ledger.answered(command.id) == (command, False)
    assert ledger.expire(1_000) == []
    assert ledger.pending == 0


@pytest.mark.parametrize(("mono_ns", "expired"), [(9, 0), (10, 1), (11, 1)])
def test_command_expires_at_its_deadline(ledger: CommandTracker, mono_ns: int, expired: int) -> None:
    ledger.send("A.a", {}, 0)

    assert len(ledger.expire(mono_ns)) == expired


def test_late_answer_is_known_as_late_once(ledger: CommandTracker) -> None:
    command = ledger.send("A.a", {}, 0)
    ledger.expire(10)

    assert ledger.answered(command.id) == (command, True)
    assert ledger.answered(command.id)[0] is None


def test_answer_to_nothing_is_nobodys(ledger: CommandTracker) -> None:
    assert ledger.answered(4711)[0] is None


def test_commands_of_a_gone_session_are_forgotten(ledger: CommandTracker) -> None:
    gone = ledger.send("A.a", {}, 0, session_id="S")
    kept = ledger.send("A.a", {}, 0, session_id="R")
    ledger.forget_session("S")

    assert ledger.expire(10) == [kept]
    assert ledger.answered(gone.id)[0] is None


def test_late_commands_are_remembered_only_so_many(ledger: CommandTracker) -> None:
    first = ledger.send("A.a", {}, 0)
    last = [ledger.send("A.a", {}, 0) for _ in range(MAX_LATE)][-1]
    ledger.expire(10)

    assert ledger.answered(first.id)[0] is None
    assert ledger.answered(last.id)[0] == last


def test_command_is_awaited_until_it_is_answered_however_late(ledger: CommandTracker) -> None:
    command = ledger.send("A.a", {}, 0, session_id="S")
    assert ledger.is_pending("A.a", "S")
    assert not ledger.is_pending("A.a")

    ledger.expire(10)
    assert ledger.is_pending("A.a", "S")
    ledger.answered(command.id)
    assert not ledger.is_pending("A.a", "S")
