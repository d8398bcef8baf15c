"""Starting fluxcap's own Chrome where there is none, in virtual time."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxcap.capture.daemon.keep_chrome import (
    GRACE_S,
    PAGE_FILE,
    STEADY_S,
    WAITS_S,
    KeptChrome,
    display_variables,
    kept_chrome,
)
from fluxcap.capture.runtime.settings import Settings
from fluxcap.schemas.errors import ChromeUnavailable, ConfigError

HOME = "https://platform.test/"
TRADING = "https://platform.test/en/cabinet/"


class Machine:
    """A browser that runs or does not, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.now_s = 1_000.0
        self.runs = False
        self.works = True
        self.pages: list[str] = []
        self.kept = KeptChrome(self.find, self.start, HOME, folder, clock=lambda: self.now_s)

    def find(self) -> str:
        if not self.runs:
            raise ChromeUnavailable("Nothing answers.")
        return "Chrome/156"

    def start(self, page: str) -> None:
        if not self.works:
            raise ChromeUnavailable("The profile is in use.")
        self.pages.append(page)
        self.runs = True

    def look(self) -> str:
        """What one look gives: the browser, or why there is none."""
        try:
            return self.kept()
        except ChromeUnavailable as error:
            return str(error)

    def look_for(self, seconds: float) -> list[str]:
        """Look once a second."""
        found = []
        for _ in range(int(seconds)):
            self.now_s += 1
            found.append(self.look())
        return found


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_where_there_is_none_at_the_start_one_is_started_at_once_with_the_first_page(machine: Machine):
    assert machine.look() == "Chrome/156"
    assert machine.pages == [HOME]


def test_one_that_is_there_is_taken_and_none_is_started(machine: Machine):
    machine.runs = True

    assert machine.look() == "Chrome/156"
    assert machine.pages == []


def test_one_that_is_lost_is_started_again_with_its_last_page_unless_it_comes_back_by_itself(
    machine: Machine, logged: list[str]
):
    machine.runs = True
    machine.look()
    machine.kept.remember(TRADING)
    machine.runs = False

    early = machine.look_for(GRACE_S)
    assert machine.pages == []
    assert all("fluxcap starts its Chrome again at" in text for text in early)

    machine.look_for(1)
    assert machine.pages == [TRADING]
    assert logged == ["chrome.started"]


def test_while_it_is_waited_the_sentence_stays_the_same(machine: Machine):
    machine.works = False
    machine.look()

    assert machine.look() == machine.look()


def test_starts_in_a_row_are_further_and_further_apart(machine: Machine):
    times: list[float] = []
    machine.look()
    for _ in range(6):
        machine.runs = False
        before = len(machine.pages)
        while len(machine.pages) == before:
            machine.look_for(1)
        times.append(machine.now_s)

    gaps = [later - earlier for earlier, later in zip([1_000.0, *times], times, strict=False)]
    assert gaps == [*WAITS_S[1:], WAITS_S[-1], WAITS_S[-1]]


def test_one_that_ran_for_long_is_started_again_soon(machine: Machine):
    machine.look()
    machine.runs = False
    machine.look_for(WAITS_S[1])
    assert len(machine.pages) == 2

    machine.look_for(STEADY_S)
    machine.runs = False
    machine.look_for(GRACE_S + 1)

    assert len(machine.pages) == 3


def test_a_start_that_fails_is_told_in_log_and_state_and_tried_again(machine: Machine, logged: list[str]):
    machine.works = False

    told = machine.look()
    machine.look_for(WAITS_S[1])

    assert told.startswith("The profile is in use. fluxcap starts its Chrome again at ")
    assert logged == ["chrome.start_failed", "chrome.start_failed"]


def test_the_page_outlives_the_daemon_and_a_damaged_file_is_no_page(machine: Machine, tmp_path: Path):
    machine.kept.remember(TRADING)
    assert Machine(tmp_path).kept.page == TRADING

    for text in ("file:///etc/passwd", "--flag", "https://x/\x1b[2J", "https://" + "x" * 3_000):
        (tmp_path / PAGE_FILE).write_text(text)
        assert Machine(tmp_path).kept.page == HOME
    (tmp_path / PAGE_FILE).write_bytes(b"\xff\xfe\x00")
    assert Machine(tmp_path).kept.page == HOME


def test_a_page_that_cannot_be_written_is_kept_in_memory(tmp_path: Path):
    (tmp_path / "file").touch()
    machine = Machine(tmp_path / "file")

    machine.kept.remember(TRADING)

    assert machine.kept.page == TRADING


@pytest.mark.parametrize("chrome", ["192.0.2.1:9222", "desk.example:9222"])
def test_chrome_of_another_machine_is_not_kept(chrome: str):
    with pytest.raises(ConfigError, match="starts Chrome on this machine"):
        kept_chrome(Settings(chrome=chrome, keep_chrome=True), lambda: None)


def test_a_service_without_a_screen_asks_systemd_where_it_is():
    told = "HOME=/home/me\nDISPLAY=:0\nXAUTHORITY=/run/user/1000/auth=x\nWAYLAND_DISPLAY=\n"

    assert display_variables({}, lambda: told) == {"DISPLAY": ":0", "XAUTHORITY": "/run/user/1000/auth=x"}
    assert display_variables({"DISPLAY": ":1"}, lambda: told) == {}
    assert display_variables({}, lambda: "") == {}
