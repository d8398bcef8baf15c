"""Output that takes every character, and single keys: from a pseudo-terminal, and from a console of Windows."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from fluxcap.bridge.system.terminal import is_reader_gone, keys, use_utf8
from fluxcap.bridge.terminal.watch import END_KEYS
from tests.support.patience import PATIENCE_S


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """The outer end, into which one types, and the inner one, which is stdin."""
    pty = pytest.importorskip("pty", reason="Windows has no pseudo-terminals that Python knows")
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
    import termios

    before = termios.tcgetattr(ends[1])

    with contextlib.suppress(ZeroDivisionError), keys():
        during = termios.tcgetattr(ends[1])
        raise ZeroDivisionError

    assert during != before
    assert termios.tcgetattr(ends[1]) == before


@pytest.mark.parametrize("stdin", [io.StringIO("q"), None])
def test_where_there_is_no_terminal_there_are_no_keys(
    monkeypatch: pytest.MonkeyPatch, stdin: io.StringIO | None
) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)

    with keys() as read:
        assert read(0.01) == ""


class Console(io.StringIO):
    """Stands in for the input of a console of Windows."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """On Windows, whose ``msvcrt`` is a stand-in: what is typed into its console."""
    waiting: list[str] = []
    msvcrt = ModuleType("msvcrt")
    msvcrt.kbhit = lambda: bool(waiting)  # type: ignore[attr-defined]
    msvcrt.getwch = lambda: waiting.pop(0)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "msvcrt", msvcrt)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(sys, "stdin", Console())
    return waiting.extend


@pytest.mark.parametrize("key", ["q", "\x1b", "\xe0H", "\x00;"])
def test_a_console_of_windows_gives_one_key_at_a_time(typed: Callable[[str], None], key: str) -> None:
    """An arrow is two characters there."""
    with keys() as read:
        nothing = read(0.01)
        typed(key + "x")

        assert (nothing, read(PATIENCE_S), read(PATIENCE_S)) == ("", key, "x")


def output(encoding: str, *, is_terminal: bool = False) -> io.TextIOWrapper:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    stream.isatty = lambda: is_terminal  # type: ignore[method-assign]
    return stream


def written(stream: io.TextIOWrapper, text: str) -> bytes:
    stream.write(text)
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue()


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "ascii", "utf-8"])
def test_a_pipe_gets_utf8_whatever_the_code_page(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    monkeypatch.delenv("PYTHONIOENCODING", raising=False)
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, output(encoding))

    use_utf8()

    assert written(sys.stdout, "→ ● ✓ ü") == written(sys.stderr, "→ ● ✓ ü") == "→ ● ✓ ü".encode()  # type: ignore[arg-type]


def test_a_terminal_gets_what_it_has_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", output("cp1252", is_terminal=True))

    use_utf8()

    assert written(sys.stdout, "→ ü") == "? ü".encode("cp1252")  # type: ignore[arg-type]


def test_an_encoding_that_was_asked_for_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    monkeypatch.setattr(sys, "stdout", output("cp1252"))

    use_utf8()

    assert written(sys.stdout, "→ ü") == "? ü".encode("cp1252")  # type: ignore[arg-type]


@pytest.mark.parametrize("stream", [None, io.StringIO()])
def test_a_program_without_a_console_has_no_output_to_change(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO | None
) -> None:
    monkeypatch.setattr(sys, "stdout", stream)

    use_utf8()

    assert sys.stdout is stream


def test_a_reader_that_is_gone_is_told_on_windows_too(monkeypatch: pytest.MonkeyPatch) -> None:
    invalid = OSError(errno.EINVAL, "Invalid argument")
    monkeypatch.setattr(sys, "platform", "linux")
    elsewhere = is_reader_gone(invalid)
    monkeypatch.setattr(sys, "platform", "win32")

    assert (elsewhere, is_reader_gone(invalid), is_reader_gone(BrokenPipeError())) == (False, True, True)
