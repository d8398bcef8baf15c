"""Whether a Socket.IO client connects again."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxcap.capture.api.returning import FILE_NAME, REMEMBERED_MAX, REMEMBERED_S, ReturningClients

CHART = {"REMOTE_ADDR": "127.0.0.1", "HTTP_USER_AGENT": "Mozilla/5.0", "HTTP_ORIGIN": "http://localhost:5000"}
OTHER = CHART | {"HTTP_ORIGIN": "http://localhost:5001"}


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_first_connection_is_none_that_came_back(tmp_path: Path, clock: Clock) -> None:
    assert not ReturningClients(tmp_path / FILE_NAME, clock).connect(CHART)


def test_one_whose_connection_ended_comes_back_once(tmp_path: Path, clock: Clock) -> None:
    clients = ReturningClients(tmp_path / FILE_NAME, clock)
    clients.connect(CHART)
    clients.disconnect(CHART)

    assert clients.connect(CHART)
    assert not clients.connect(CHART), "a second chart beside it"


def test_another_program_is_told_apart(tmp_path: Path, clock: Clock) -> None:
    clients = ReturningClients(tmp_path / FILE_NAME, clock)
    clients.connect(CHART)
    clients.disconnect(CHART)

    assert not clients.connect(OTHER)


@pytest.mark.parametrize("says_goodbye", [True, False])
def test_it_comes_back_after_a_restart_of_the_daemon_too(tmp_path: Path, clock: Clock, says_goodbye: bool) -> None:
    before = ReturningClients(tmp_path / FILE_NAME, clock)
    before.connect(CHART)
    if says_goodbye:
        before.disconnect(CHART)

    after = ReturningClients(tmp_path / FILE_NAME, clock)

    assert not after.connect(OTHER)
    assert after.connect(CHART)


def test_after_a_while_it_begins_anew(tmp_path: Path, clock: Clock) -> None:
    clients = ReturningClients(tmp_path / FILE_NAME, clock)
    clients.connect(CHART)
    clients.disconnect(CHART)
    clock.now_s += REMEMBERED_S

    assert not clients.connect(CHART)


def test_neither_addresses_nor_programs_stand_in_the_file(tmp_path: Path, clock: Clock) -> None:
    ReturningClients(tmp_path / FILE_NAME, clock).connect(CHART)

    kept = (tmp_path / FILE_NAME).read_text()

    assert not any(value in kept for value in CHART.values())


@pytest.mark.costly
def test_the_file_stays_small(tmp_path: Path, clock: Clock) -> None:
    clients = ReturningClients(tmp_path / FILE_NAME, clock)
    for number in range(2 * REMEMBERED_MAX):
        clients.connect(CHART | {"HTTP_ORIGIN": str(number)})

    assert (tmp_path / FILE_NAME).stat().st_size < 64 * REMEMBERED_MAX


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'[["a"]]'])
def test_a_file_that_cannot_be_read_is_as_none(tmp_path: Path, clock: Clock, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)

    assert not ReturningClients(tmp_path / FILE_NAME, clock).connect(CHART)


def test_without_a_folder_it_lasts_as_long_as_the_daemon(tmp_path: Path, clock: Clock) -> None:
    clients = ReturningClients(tmp_path / "nowhere" / FILE_NAME, clock)
    clients.connect(CHART)
    clients.disconnect(CHART)

    assert clients.connect(CHART)


def test_the_end_of_what_never_began_is_no_end(tmp_path: Path, clock: Clock) -> None:
    clients = ReturningClients(tmp_path / FILE_NAME, clock)
    clients.disconnect(CHART)

    assert not clients.connect(CHART)
