"""The command line as a new user meets it, every command a process of its own."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fluxcap.bridge.http.run_file import RUN_FILE
from fluxcap.capture.cli.app import run_cli
from fluxcap.capture.simulator import SimulatedSite, SiteConfig
from tests.support.browser.chromium import Chromium
from tests.support.daemon.live_rig import SOURCE, DaemonProcess, Process, run_command
from tests.support.patience import await_that

pytestmark = pytest.mark.slow

LEAVE_S = 30
"""Two seconds are promised and less than one is needed; the rest is for a machine that has other things to do."""


def here(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """The same without a process of its own: exit code, stdout, stderr."""
    code = run_cli(list(arguments))
    told = capsys.readouterr()
    return code, told.out, told.err


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., DaemonProcess]]:
    """A factory of daemons, each in a folder of its own."""
    with ExitStack() as stack:
        count = 0

        def one(chrome_port: int, *options: str) -> DaemonProcess:
            nonlocal count
            count += 1
            daemon = DaemonProcess(tmp_path / f"daemon-{count}", chrome_port, *options)
            stack.callback(daemon.discard)
            return daemon

        yield one


def test_without_chrome_run_says_one_sentence_and_stays_and_picks_chrome_up_when_it_comes(
    start: Callable[..., DaemonProcess], chromium: Callable[..., Chromium]
):
    port = free_port()
    daemon = start(port)
    seen = daemon.await_status(lambda seen: "Nothing answers" in seen["chrome_reason"], "the first look")
    told = [event for event in daemon.events() if event["event"] == "chrome.unavailable"]

    browser = chromium(port=port)
    daemon.await_status(lambda seen: seen["chrome"] == "attached", "the attach")

    assert seen["chrome"] == "not reachable"
    assert [event["reason"] for event in told] == [
        f"Nothing answers on 127.0.0.1:{port} (Connection refused); start Chrome with `fluxcap chrome --port {port}`."
    ]
    assert browser.running


def test_focus_and_status_of_a_daemon_that_runs(
    start: Callable[..., DaemonProcess], chromium: Callable[..., Chromium], capsys: pytest.CaptureFixture[str]
):
    with SimulatedSite(SiteConfig(assets=("EURUSD_otc", "GBPUSD_otc"))) as site:
        browser = chromium()
        daemon = start(browser.port, "--platform-url", site.url.removeprefix("http://").strip("/"))
        daemon.await_status(lambda seen: seen["chrome"] == "attached", "the attach")
        browser.open(site.url)
        daemon.await_status(lambda seen: seen["assets_known"] and seen["detected_asset"], "the asset table")
        where = ("--data-dir", str(daemon.data_dir))

        followed = here(capsys, "focus", "get", "--json", *where)
        typed = here(capsys, "focus", "set", "EURUSD_OTC", "gbp/usd otc", "--json", *where)
        unknown = here(capsys, "focus", "set", "EURUSX_otc", *where)
        read = here(capsys, "focus", "get", *where)
        released = here(capsys, "focus", "release", "--json", *where)
        everything = here(capsys, "focus", "all", "--json", *where)
        screen = here(capsys, "status", *where)
        status = run_command("status", "--json", *where)

    assert (json.loads(followed[1])["mode"], json.loads(followed[1])["detected_asset"]) == ("follow", "EURUSD_otc")
    assert json.loads(typed[1])["symbols"] == ["EURUSD_otc", "GBPUSD_otc"]
    assert unknown[:2] == (2, "")
    assert unknown[2].startswith("fluxcap: Unknown asset 'EURUSX_otc'. Did you mean EURUSD_otc")
    assert len(unknown[2].splitlines()) == 1
    assert read[1].splitlines()[0] == "focus     lock: EURUSD_otc, GBPUSD_otc"
    assert json.loads(released[1])["mode"] == "follow"
    assert json.loads(everything[1])["mode"] == "all"
    assert (screen[0], "Chrome/" in screen[1], screen[2]) == (0, True, "")
    seen = json.loads(status.stdout)
    assert (seen["pid"], seen["chrome"], seen["detected_period_s"]) == (daemon.pid, "attached", 60)
    assert status.stderr == ""


@pytest.mark.parametrize("command", [["status"], ["focus", "get"], ["focus", "set", "EURUSD_otc"]])
def test_without_a_daemon_one_sentence_and_exit_code_1(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
):
    (tmp_path / RUN_FILE).write_text(
        json.dumps({"pid": 2**22, "control": f"http://127.0.0.1:{free_port()}", "pub": "", "rep": ""})
    )

    answer = here(capsys, *command, "--data-dir", str(tmp_path))
    elsewhere = here(capsys, *command, "--control", f"127.0.0.1:{free_port()}")

    for code, out, err in (answer, elsewhere):
        assert (code, out) == (1, "")
        assert len(err.splitlines()) == 1
        assert "`fluxcap run`" in err


def test_a_second_run_says_who_holds_the_folder_or_the_ports(start: Callable[..., DaemonProcess], tmp_path: Path):
    first = start(free_port())
    where = first.run_file()
    control_port = where.control.rpartition(":")[2]
    free = {"--pub": "tcp://127.0.0.1:0", "--rep": "tcp://127.0.0.1:0", "--control-port": "0"}
    attempts = {
        "folder": free | {"--data-dir": str(first.data_dir)},
        "pub": free | {"--pub": where.pub},
        "control": free | {"--control-port": control_port},
    }

    for name, options in attempts.items():
        options = {"--data-dir": str(tmp_path / name)} | options
        told = run_command("run", "--no-web", *(word for option in options.items() for word in option))

        assert (told.returncode, told.stdout) == (1, ""), name
        assert len(told.stderr.splitlines()) == 1, told.stderr
        assert str(first.pid) in told.stderr, name
    assert first.running


@pytest.mark.parametrize(("how", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130), (signal.SIGHUP, 0)])
def test_a_signal_ends_run_in_time(start: Callable[..., DaemonProcess], how: signal.Signals, code: int):
    daemon = start(free_port())
    daemon.run_file()

    left, seconds = daemon.end(how)

    assert left == code
    assert seconds < LEAVE_S
    assert not (daemon.data_dir / RUN_FILE).exists()
    told = [event["event"] for event in daemon.events() if event["event"] != "chrome.unavailable"]
    assert told == ["daemon.started", "daemon.stopped"]
    assert all({"ts", "level", "event"} <= event.keys() for event in daemon.events())
    assert daemon.out == ""


def test_after_a_kill_the_folder_can_be_used_again_at_once(start: Callable[..., DaemonProcess], tmp_path: Path):
    killed = start(free_port())
    killed.run_file()
    killed.end(signal.SIGKILL)
    asked = run_command("status", "--data-dir", str(killed.data_dir))

    again = DaemonProcess(killed.data_dir.parent, free_port())
    try:
        seen = again.status()
        code, _ = again.end()
    finally:
        again.discard()

    assert (asked.returncode, str(killed.pid) in asked.stderr) == (1, True)
    assert seen["pid"] == again.pid
    assert code == 0


def test_tail_into_head_ends_without_a_word(start: Callable[..., DaemonProcess]):
    daemon = start(free_port())
    where = daemon.run_file()
    command = [sys.executable, "-m", "fluxcap.capture.cli", "tail", SOURCE, "EURUSD_otc", "1s", "--json"]

    tail = subprocess.Popen(
        [*command, "--pub", where.pub, "--rep", where.rep], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert tail.stdout is not None
    assert tail.stderr is not None
    first = json.loads(tail.stdout.readline())
    tail.stdout.close()
    daemon.end()  # its going is the next thing there is to print
    code = tail.wait()
    errors = tail.stderr.read()
    tail.stderr.close()

    assert first["type"] == "health"
    assert (code, errors) == (0, b"")


def test_ctrl_c_ends_tail_without_a_traceback(tmp_path: Path):
    nowhere = ("--pub", f"tcp://127.0.0.1:{free_port()}", "--rep", f"tcp://127.0.0.1:{free_port()}")
    tail = Process(tmp_path, "tail", SOURCE, "EURUSD_otc", "1s", "--json", *nowhere)
    try:
        await_that(lambda: tail.out, "the first line")
        code, _ = tail.end(signal.SIGINT)
    finally:
        tail.discard()

    assert (code, tail.err) == (130, "")


@pytest.mark.browser
def test_ctrl_c_ends_the_demo_and_everything_it_started(tmp_path: Path, chromium: Callable[..., Chromium]):
    demo = Process(tmp_path, "demo", "--seconds", "60", "--headless")
    try:
        await_that(lambda: "client subscribed" in demo.out or not demo.running, "the demo's start")
        started = _offspring(demo.pid)
        code, _ = demo.end(signal.SIGINT)
    finally:
        demo.discard()

    assert code == 130
    assert len(started) >= 4, "site, daemon and browser with its helpers"
    assert [pid for pid in started if _is_alive(pid)] == []
    assert "Traceback" not in demo.out + demo.err


def _offspring(pid: int) -> set[int]:
    """All processes below one, by their parents."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
