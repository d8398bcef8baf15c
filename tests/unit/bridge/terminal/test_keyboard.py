"""Single keys, from a pseudo-terminal."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import sys
import termios
from collections.abc import Iterator

import pytest

from fluxcap.bridge.terminal.keyboard import keys
from fluxcap.bridge.terminal.watch import END_KEYS
from tests.support.patience import PATIENCE_S


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """The outer end, into which one types, and the inner one, which is stdin."""
    outer, inner = pty.openpty()
    with open(inner, closefd=False) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield outer, inner
    os.close(outer)
    os.close(inner)


@pytest.mark.parametrize("key", ["q", "Q", "\x1b"])
def test_a_key_that_ends_comes_at_once_and_alone(ends: tuple[int, int], key: str) -> None:
    with keys() as read:
        os.write(ends[0], key.encode())

        assert read(PATIENCE_S) == key
        assert key in END_KEYS


@pytest.mark.parametrize("sequence", ["\x1b[A", "\x1bOP", "\x1b[15~"])
def test_an_arrow_or_function_key_is_one_key_and_not_escape(ends: tuple[int, int], sequence: str) -> None:
    with keys() as read:
        os.write(ends[0], sequence.encode())

        assert read(PATIENCE_S) == sequence
        assert sequence not in END_KEYS


def test_without_a_key_nothing_comes(ends: tuple[int, int]) -> None:
    with keys() as read:
        assert read(0.01) == ""


def test_the_terminal_is_as_before_even_after_an_error(ends: tuple[int, int]) -> None:
    before = termios.tcgetattr(ends[1])

    with contextlib.suppress(ZeroDivisionError), keys():
        during = termios.tcgetattr(ends[1])
        raise ZeroDivisionError

    assert during != before
    assert termios.tcgetattr(ends[1]) == before


def test_where_there_is_no_terminal_there_are_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("q"))

    with keys() as read:
        assert read(0.01) == ""
