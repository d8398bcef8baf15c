"""capture/runtime/log.py: one line an event, for people and for programs."""

from __future__ import annotations

import gc
import io
import json
import logging
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from fluxcap.capture.runtime import log
from fluxcap.capture.runtime.log_events import EVENTS
from fluxcap.schemas.errors import ConfigError
from tests.support.systems import not_on_windows


@pytest.fixture(autouse=True)
def loggers_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = list(root.handlers), list(log.LOGGER.handlers), log.LOGGER.level, log.LOGGER.propagate
    yield
    root.handlers[:], log.LOGGER.handlers[:] = before[0], before[1]
    log.LOGGER.setLevel(before[2])
    log.LOGGER.propagate = before[3]


def to_json(level: int = logging.INFO) -> io.StringIO:
    stream = io.StringIO()
    log.set_up(as_json=True, level=level, stream=stream)
    return stream


def entries(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_line_with_its_fields() -> None:
    stream = to_json()

    log.event("csv.mode_changed", before="none", now="tick")

    (entry,) = entries(stream)
    assert entry.pop("ts").endswith("+00:00")
    assert entry == {
        "level": "info",
        "event": "csv.mode_changed",
        "message": "The collect mode changed",
        "before": "none",
        "now": "tick",
    }


def test_a_field_cannot_take_the_place_of_the_event() -> None:
    stream = to_json()

    log.event("socket.closed", **{"event": "other", "message": "other", "ts": 0})

    (entry,) = entries(stream)
    assert (entry["event"], entry["message"]) == ("socket.closed", EVENTS["socket.closed"].sentence)


def test_people_read_a_sentence() -> None:
    stream = io.StringIO()
    log.set_up(stream=stream)

    log.warn("csv.file_lost", file="a.csv")

    assert stream.getvalue().endswith(" ! A CSV file is gone; continuing in a new one  file=a.csv\n")


def test_what_a_page_says_cannot_feign_a_line_or_steer_the_terminal() -> None:
    stream = io.StringIO()
    log.set_up(stream=stream)

    log.event("target.attached", url="https://a/\n00:00:00   daemon.stopped\x1b[2J")

    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("as_json", [True, False])
def test_secrets_are_taken_out_of_messages_fields_and_tracebacks(as_json: bool) -> None:
    stream = io.StringIO()
    log.set_up(as_json=as_json, stream=stream)

    logging.getLogger("somebody.else").warning("frame %s", '42["auth",{"session":"SECRET"}]')
    log.event("target.attached", url="https://site/?token=SECRET")
    try:
        raise ValueError('{"session":"SECRET"}')
    except ValueError as error:
        log.RateLimit().failure("listener.error", error)

    assert "SECRET" not in stream.getvalue()
    assert "ValueError" in stream.getvalue()


def test_warnings_of_libraries_come_as_one_event_with_their_text() -> None:
    stream = to_json()

    logging.getLogger("some.library").warning("disk %s", "slow")

    (entry,) = entries(stream)
    assert (entry["event"], entry["logger"], entry["message"]) == ("library.log", "some.library", "disk slow")


def test_a_flood_of_one_event_is_cut_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = to_json()
    now_s = 1_000_000.0
    monkeypatch.setattr("logging.time.time_ns", lambda: int(now_s * 1e9), raising=False)
    monkeypatch.setattr("logging.time.time", lambda: now_s)

    for _ in range(log.MAX_PER_MINUTE + 40):
        log.event("socket.closed")
    log.event("target.detached")
    now_s += 61
    log.event("socket.closed")

    found = entries(stream)
    assert len(found) == log.MAX_PER_MINUTE + 2
    assert found[-1]["left_out"] == 40


def test_an_error_is_never_left_out() -> None:
    stream = to_json()

    for _ in range(log.MAX_PER_MINUTE + 5):
        log.event("store.candles_rejected", level=logging.ERROR)

    assert len(entries(stream)) == log.MAX_PER_MINUTE + 5


def test_a_rate_limit_lets_one_a_minute_through_and_says_what_it_left_out() -> None:
    stream = to_json()
    now_s = 0.0
    limit = log.RateLimit(clock=lambda: now_s)

    for now_s in (0.0, 1.0, 59.0, 61.0):  # noqa: B007 - the clock reads it
        limit.warn("chrome.command_timeout", command="Runtime.evaluate")

    assert [entry.get("left_out", 0) for entry in entries(stream)] == [0, 2]


def test_a_traceback_cannot_steer_the_terminal() -> None:
    stream = io.StringIO()
    log.set_up(stream=stream)

    log.RateLimit().failure("listener.error", ValueError("\x1b[2J\x9b"))

    assert "ValueError: \\x1b[2J\\x9b" in stream.getvalue()
    assert stream.getvalue().replace("\n", "").isprintable()


class Unraisable:
    """Cannot be destroyed without complaint."""

    def __del__(self) -> None:
        raise ValueError("in a destructor")


def warn() -> None:
    warnings.warn("old\nname", DeprecationWarning, stacklevel=1)


def print_lines() -> None:
    print("a library's line", file=sys.stderr)
    print("another", end="", file=sys.stderr)


def fail_in_a_thread() -> None:
    def fail() -> None:
        raise RuntimeError("of a thread")

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()


def bring_a_handler() -> None:
    """As engineio does."""
    logger = logging.getLogger("a.library.with.a.handler")
    handler = logging.StreamHandler()
    logger.addHandler(handler)
    logger.error("by its own handler")
    logger.removeHandler(handler)


def print_a_traceback() -> None:
    try:
        raise KeyError("printed")
    except KeyError:
        traceback.print_exc()


def fail_unraisably() -> None:
    Unraisable()
    gc.collect()


def fail_uncaught() -> None:
    sys.excepthook(OSError, OSError("uncaught"), None)


NOISES: dict[Callable[[], None], str] = {
    warn: "old\nname",
    print_lines: "another",
    fail_in_a_thread: "of a thread",
    bring_a_handler: "by its own handler",
    print_a_traceback: "KeyError: 'printed'",
    fail_unraisably: "in a destructor",
    fail_uncaught: "uncaught",
}


@pytest.mark.costly
@pytest.mark.parametrize("noise", NOISES, ids=lambda noise: noise.__name__)
def test_whatever_a_library_prints_every_line_of_the_log_is_json_and_says_it(
    noise: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    monkeypatch.setattr(sys, "stderr", stderr)
    log.set_up(as_json=True)

    with log.own_output(as_json=True), warnings.catch_warnings():
        warnings.simplefilter("always")
        noise()

    stderr.seek(0)
    found = [json.loads(line) for line in stderr.read().splitlines()]
    assert any(NOISES[noise] in entry["message"] + entry.get("traceback", "") for entry in found)
    assert sys.stderr is stderr


def test_for_people_warnings_are_lines_of_the_log_and_stderr_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    log.set_up()

    with log.own_output(as_json=False), warnings.catch_warnings():
        warnings.simplefilter("always")
        print("plain", file=sys.stderr)
        warn()

    plain, warned = stream.getvalue().splitlines()
    assert plain == "plain"
    assert "DeprecationWarning: old\\nname" in warned


@not_on_windows("it has no file that is always full")
def test_a_log_that_cannot_be_written_ends_in_no_circle(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w", encoding="utf-8", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        log.set_up(as_json=True)

        with log.own_output(as_json=True):
            print("nobody hears it", file=sys.stderr)
            log.event("daemon.started")

        monkeypatch.undo()
        with suppress(OSError):
            full.close()


def test_messages_that_all_differ_take_no_room_for_ever() -> None:
    cap = log._RateCap()

    for number in range(20 * log.MAX_EVENT_NAMES):
        cap.filter(logging.LogRecord("a.library", logging.WARNING, "", 0, f"peer {number} left", None, None))

    assert len(cap._counts) == len(cap._begun_s) <= log.MAX_EVENT_NAMES


@pytest.fixture
def no_file_left_open() -> Iterator[None]:
    yield
    log.set_up()


@pytest.mark.usefixtures("no_file_left_open")
def test_the_log_file_has_what_stderr_has_with_its_date(tmp_path: Path) -> None:
    stream, file = io.StringIO(), tmp_path / "logs" / "fluxcap.log"
    log.set_up(stream=stream, file=file)

    log.event("daemon.started", token="secret-of-mine")

    [line] = file.read_text("utf-8").splitlines()
    assert line.endswith(stream.getvalue().strip()[len("12:00:00") :])
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d    ?fluxcap is running", line)


@pytest.mark.usefixtures("no_file_left_open")
def test_a_log_file_is_turned_over_and_five_older_ones_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "FILE_BYTES", 200)
    monkeypatch.setattr(log, "MAX_PER_MINUTE", 1_000)
    log.set_up(stream=io.StringIO(), file=tmp_path / "fluxcap.log", as_json=True)

    for number in range(50):
        log.event("daemon.started", number=number)

    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["fluxcap.log", *(f"fluxcap.log.{number}" for number in range(1, 6))]
    newest = [json.loads(line)["number"] for line in (tmp_path / "fluxcap.log").read_text().splitlines()]
    assert newest[-1] == 49


@pytest.mark.usefixtures("no_file_left_open")
def test_a_log_file_that_somebody_holds_grows_until_it_can_be_turned_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def held(*_: object) -> None:
        raise PermissionError("in use")

    monkeypatch.setattr(log, "FILE_BYTES", 200)
    log.set_up(stream=io.StringIO(), file=tmp_path / "fluxcap.log", as_json=True)
    monkeypatch.setattr("os.rename", held)

    for number in range(20):
        log.event("daemon.started", number=number)

    lines = (tmp_path / "fluxcap.log").read_text().splitlines()
    assert [json.loads(line)["number"] for line in lines] == list(range(20))


@pytest.mark.usefixtures("no_file_left_open")
def test_without_a_console_there_is_the_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    log.set_up(file=tmp_path / "fluxcap.log")

    log.event("daemon.started")

    assert "fluxcap is running" in (tmp_path / "fluxcap.log").read_text()
    assert len(logging.getLogger("fluxcap").handlers) == 1


def test_a_log_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ConfigError, match=r"The log file .* cannot be written"):
        log.set_up(file=tmp_path / "file" / "fluxcap.log")
