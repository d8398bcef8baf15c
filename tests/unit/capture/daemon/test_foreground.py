"""The daemon in the foreground: which signal and which failure give which exit code."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fluxcap.capture.daemon import foreground
from fluxcap.capture.daemon.foreground import run_daemon
from fluxcap.capture.runtime.settings import Settings
from fluxcap.schemas.errors import StoreFull, StoreLocked

HANG_UP = getattr(signal, "SIGHUP", None) or signal.SIGBREAK  # type: ignore[attr-defined,unused-ignore]


class FakeDaemon:
    """Runs until told otherwise; ``on_start`` is called once it does."""

    on_start: Callable[[], None] = staticmethod(lambda: None)
    alive = True
    failure: Exception | None = None
    stopped = False

    def __init__(self, settings: Settings) -> None:
        self.pipeline = SimpleNamespace(alive=type(self).alive, failure=type(self).failure)

    def __enter__(self) -> FakeDaemon:
        type(self).on_start()
        return self

    def __exit__(self, *_: Any) -> None:
        type(self).stopped = True


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeDaemon]:
    class Fake(FakeDaemon):
        pass

    monkeypatch.setattr(foreground, "Daemon", Fake)
    monkeypatch.setattr(foreground.log, "set_up", lambda **_: None)
    return Fake


@pytest.mark.parametrize(("how", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130), (HANG_UP, 0)])
def test_a_signal_stops_it_and_says_so_by_the_exit_code(fake: type[FakeDaemon], how: signal.Signals, code: int):
    fake.on_start = staticmethod(lambda: signal.raise_signal(how))

    assert run_daemon(Settings()) == code
    assert fake.stopped


def test_a_pipeline_that_failed_ends_it_with_exit_code_1(fake: type[FakeDaemon]):
    fake.alive, fake.failure = False, RuntimeError("broken")

    assert run_daemon(Settings()) == 1
    assert fake.stopped


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, HANG_UP])
def test_signals_mean_afterwards_what_they_meant_before(fake: type[FakeDaemon], number: signal.Signals):
    before = signal.getsignal(number), threading.excepthook
    fake.alive = False

    run_daemon(Settings())

    assert (signal.getsignal(number), threading.excepthook) == before


def test_what_keeps_it_from_starting_comes_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def refuse(_: Settings) -> None:
        raise StoreLocked("held")

    monkeypatch.setattr(foreground, "Daemon", refuse)
    before = signal.getsignal(signal.SIGTERM)

    with pytest.raises(StoreLocked):
        run_daemon(Settings(data_dir=tmp_path))
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_disk_that_is_full_at_the_start_is_waited_out(
    fake: type[FakeDaemon], monkeypatch: pytest.MonkeyPatch, logged: list[str]
):
    attempts = iter([StoreFull("no room"), StoreFull("no room"), None])

    def made(settings: Settings) -> FakeDaemon:
        error = next(attempts)
        if error is not None:
            raise error
        return fake(settings)

    fake.alive = False
    monkeypatch.setattr(foreground, "Daemon", made)
    monkeypatch.setattr(foreground, "RETRY_S", 0.001)

    assert run_daemon(Settings()) == 0
    assert fake.stopped
    assert logged == ["store.waiting_for_space"]


@pytest.mark.costly
def test_a_start_that_waits_for_space_can_be_stopped(monkeypatch: pytest.MonkeyPatch, fake: type[FakeDaemon]):
    def full(settings: Settings) -> None:
        signal.raise_signal(signal.SIGTERM)
        raise StoreFull("no room")

    monkeypatch.setattr(foreground, "Daemon", full)

    assert run_daemon(Settings()) == 0


def test_with_a_log_of_json_what_keeps_it_from_starting_is_an_event(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def refuse(_: Settings) -> None:
        raise StoreLocked("held")

    monkeypatch.setattr(foreground, "Daemon", refuse)

    assert run_daemon(Settings(data_dir=tmp_path, log_json=True)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert (json.loads(line)["event"], json.loads(line)["reason"]) == ("daemon.start_failed", "held")


def test_with_a_log_file_what_keeps_it_from_starting_is_in_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def refuse(_: Settings) -> None:
        raise StoreLocked("held")

    monkeypatch.setattr(foreground, "Daemon", refuse)

    code = run_daemon(Settings(data_dir=tmp_path, log_file=tmp_path / "fluxcap.log"))
    foreground.log.set_up()  # closes the file

    assert code == 1
    assert "fluxcap cannot start  reason=held" in (tmp_path / "fluxcap.log").read_text()


def test_the_failure_of_any_thread_is_logged_as_an_event(fake: type[FakeDaemon], logged: list[str]):
    def fail() -> None:
        raise RuntimeError("broken")

    def in_a_thread() -> None:
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()

    fake.alive, fake.on_start = False, staticmethod(in_a_thread)

    run_daemon(Settings())

    assert logged == ["thread.crashed"]
