"""fluxcap.bridge.client.queues: who asks is answered, whenever it is."""

from __future__ import annotations

import threading

import pytest

from fluxcap.bridge.client.queues import Commands
from fluxcap.schemas.errors import ConfigError, StoreFull

woken = threading.Event()


def asked(commands: Commands, error: Exception | None = None) -> list[BaseException | str]:
    """What becomes of a command that raises ``error`` while another thread obeys."""
    answers: list[BaseException | str] = []

    def command() -> None:
        if error is not None:
            raise error

    def ask() -> None:
        try:
            commands.carry_out(command)
            answers.append("done")
        except Exception as raised:
            answers.append(raised)

    asking = threading.Thread(target=ask)
    woken.clear()
    asking.start()
    assert woken.wait(10)
    try:
        commands.obey()
    finally:
        asking.join(10)
    return answers


def test_a_command_is_carried_out_by_who_obeys() -> None:
    assert asked(Commands(woken.set)) == ["done"]


def test_an_error_of_ours_goes_to_who_asked_and_harms_nobody() -> None:
    commands, full = Commands(woken.set), StoreFull("no room")

    assert asked(commands, full) == [full]
    assert asked(commands) == ["done"]


def test_any_other_error_goes_to_who_asked_and_to_who_obeys() -> None:
    commands, fault = Commands(woken.set), RuntimeError("internal error")
    answers: list[object] = []

    def ask() -> None:
        with pytest.raises(RuntimeError, match="internal error"):
            commands.carry_out(raise_fault)
        answers.append("heard")

    def raise_fault() -> None:
        raise fault

    woken.clear()
    asking = threading.Thread(target=ask)
    asking.start()
    assert woken.wait(10)
    with pytest.raises(RuntimeError, match="internal error"):
        commands.obey()

    asking.join(10)
    assert answers == ["heard"]


def test_what_waits_at_the_end_is_refused() -> None:
    commands = Commands(lambda: commands.end())

    with pytest.raises(ConfigError, match="has stopped"):
        commands.carry_out(lambda: None)


def test_what_comes_after_the_end_is_refused() -> None:
    commands = Commands(lambda: None)
    commands.end()

    with pytest.raises(ConfigError, match="has stopped"):
        commands.carry_out(lambda: None)
