"""``fluxcap watch`` on a real terminal: keys, sizes, and the terminal as it was afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon.dashboard_rig import FakeDaemon
from tests.support.daemon.terminal import Terminal

SHOWS, LEAVES = "\x1b[?1049h", "\x1b[?1049l"
"""The screen of its own is taken, and given back."""
CURSOR = "\x1b[?25h"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeDaemon]:
    daemon = FakeDaemon(tmp_path_factory.mktemp("daemon"), 10)
    yield daemon
    daemon.close()


@pytest.fixture
def terminal(daemon: FakeDaemon, tmp_path: Path) -> Iterator[Terminal]:
    where = ("--control", daemon.control, "--pub", daemon.server.pub_endpoint, "--rep", daemon.server.rep_endpoint)
    with Terminal("watch", *where, "--data-dir", str(tmp_path)) as terminal:
        terminal.wait_screen("EURUSD_otc 1m", "Live, ")
        yield terminal


def test_the_screen_follows_the_size_of_the_terminal_and_q_ends_it(terminal: Terminal) -> None:
    assert terminal.wait_screen("watermark", "quality")

    terminal.resize(70, 20)
    narrow = terminal.wait_screen("EURUSD_otc 1m", "Live, ", "q or Ctrl-C to quit", without=["watermark"])
    terminal.resize(60, 6)
    low = terminal.wait_screen("fluxcap 1.0.0", without=["q or Ctrl-C to quit"])
    terminal.resize(140, 40)
    terminal.wait_screen("watermark", "q or Ctrl-C to quit")
    assert max(len(line) for line in narrow) <= 70
    assert len(low) <= 6

    terminal.type("x")
    terminal.type("q")

    assert terminal.wait() == 0
    assert_as_it_was(terminal)


def test_ctrl_c_ends_it_as_well(terminal: Terminal) -> None:
    terminal.type("\x03")

    assert terminal.wait() == 130
    assert_as_it_was(terminal)


def assert_as_it_was(terminal: Terminal) -> None:
    assert terminal.settings_now == terminal.settings
    assert terminal.written.count(SHOWS) == terminal.written.count(LEAVES) == 1
    assert terminal.written.rindex(CURSOR) > terminal.written.rindex(SHOWS)
    assert "Traceback" not in terminal.written
