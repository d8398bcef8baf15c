"""The live path with daemon and client on Windows' Python: ``python -m tests.windows.live FOLDER [SECONDS]``.

The simulated site and a Chromium run on Linux, the rest through Wine, which shares the loopback. The daemon's folder
lies on another drive, with spaces and umlauts in its name. The daemon is killed in the middle, started again, and at
the end asked to leave. Then the store and the client's copy are compared with the site's truth, and every command
is run once. Exit code 1 when a candle without a flag differs, or something else is not as it should be.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
from typer.main import get_command

from fluxcap.capture.cli.app import app
from fluxcap.capture.simulator import SimulatedSite, SiteConfig, read_truth
from fluxcap.schemas.types import Candle, CandleFlags, StreamKey
from tests.support.browser.chromium import Chromium
from tests.support.daemon.live_rig import SOURCE, kept, stored
from tests.support.patience import PATIENCE_S, await_that

ASSETS = ("EURUSD_otc", "#AAPL_otc", "GBPUSD_otc")
FOCUS = ASSETS[:2]
LEAST_CANDLES = 150
DRIVE = "Börse und Daten"
"""Folder on drive D: of everything that is kept."""
LOCATION = f"D:\\{DRIVE}"
SITE_PORT, CHROME_PORT, PUB_PORT, REP_PORT, WEB_PORT = range(61_001, 61_006)
"""Above the range from which Wine gives ports of its own accord."""
UNFLAGGED = 0
CLIENT = """
import json, os, sys
print("process", os.getpid(), flush=True)
from tests.support.daemon.recording_client import main
main(json.loads(sys.argv[1]))
"""


class WindowsProcess:
    """A command of Windows' Python; what it prints goes through a pipe, as UTF-8 whatever the code page is."""

    def __init__(self, folder: Path, log: Path, *arguments: str) -> None:
        self.log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [
                    "bash",
                    "-c",
                    '"$0" "$@" </dev/null 2>&1 | cat; exit ${PIPESTATUS[0]}',
                    str(folder / "winpython"),
                    *arguments,
                ],
                cwd=folder / "src",
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait(self, limit_s: float = PATIENCE_S) -> int:
        return self._process.wait(limit_s)

    @property
    def text(self) -> str:
        return self.log.read_text("utf-8")


class Rig:
    """Windows' Python with its folders. ``data``: the data folder as Linux sees it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept = folder / "drive" / DRIVE
        self.kept.mkdir(parents=True, exist_ok=True)
        self.data = self.kept / "data"
        self.faults: list[str] = []

    def start(self, log: str, *arguments: str) -> WindowsProcess:
        return WindowsProcess(self.folder, self.kept / log, *arguments)

    def cli(self, log: str, *arguments: str) -> WindowsProcess:
        return self.start(log, "-m", "fluxcap.capture.cli", *arguments)

    def daemon(self, log: str, *more: str, data: str = "data") -> WindowsProcess:
        return self.cli(
            log,
            *("run", "--chrome", f"127.0.0.1:{CHROME_PORT}", "--platform-url", f"127.0.0.1:{SITE_PORT}"),
            *("--focus", ",".join(FOCUS), "--interval", "1s", "--source", SOURCE, "--collect", "both"),
            *("--data-dir", f"{LOCATION}\\{data}", "--pub", f"tcp://127.0.0.1:{PUB_PORT}"),
            *("--rep", f"tcp://127.0.0.1:{REP_PORT}", "--web-port", str(WEB_PORT), "--log-json", *more),
        )

    def status(self) -> dict[str, Any] | None:
        try:
            answer = httpx.get(f"http://127.0.0.1:{WEB_PORT}/api/status", timeout=10, trust_env=False)
            return dict(answer.raise_for_status().json())
        except httpx.HTTPError:
            return None

    def windows_pid(self) -> int:
        status = self.status()
        return int(status["pid"]) if status else 0

    def require(self, holds: object, what: str) -> None:
        print(f"  {'✓' if holds else '✗'} {what}", flush=True)
        if not holds:
            self.faults.append(what)


def main(folder: Path, seconds: float) -> int:
    rig = Rig(folder)
    for path in sorted(rig.kept.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    truth_path = folder / "truth.jsonl"
    with ExitStack() as stack:
        site = stack.enter_context(SimulatedSite(SiteConfig(assets=ASSETS, port=SITE_PORT, truth_path=truth_path)))
        browser = Chromium(folder / "chromium", port=CHROME_PORT)
        stack.callback(browser.stop)
        live_path(rig, browser, site, seconds, truth_path, stack)
    tell(rig)
    return 1 if rig.faults else 0


def live_path(
    rig: Rig, browser: Chromium, site: SimulatedSite, seconds: float, truth_path: Path, stack: ExitStack
) -> None:
    print("Daemon and client on Windows' Python, site and Chromium on Linux:")
    first = rig.daemon("daemon 1.log")
    stack.callback(end, rig, first)
    await_that(rig.status, f"the daemon's answer ({first.text[-2_000:]})")
    browser.open(site.url)
    client = rig.start("client.log", "-c", CLIENT, json.dumps([client_order()]))
    stack.callback(end_client, rig, client)
    await_candles(rig, seconds)
    two_daemons(rig)
    kill(rig)
    rig.require(not first.running, "the daemon was killed in the middle")
    doctor = run(rig, "doctor after the kill.log", "doctor", "--data-dir", f"{LOCATION}\\data")
    rig.require(
        "ended unexpectedly" in doctor[1], "after the kill the doctor says that the last one ended unexpectedly"
    )
    second = rig.daemon("daemon 2.log")
    stack.callback(end, rig, second)
    await_that(rig.status, "the second daemon's answer")
    await_candles(rig, seconds)
    commands = every_command(rig, is_running=True)
    begun_s = time.monotonic()
    ask_to_stop(rig, rig.windows_pid())
    code = second.wait()
    took_s = time.monotonic() - begun_s
    rig.require(code == 0, f"asked to stop it left in order: exit code {code}, {took_s:.1f} s with the asking")
    rig.require('"daemon.stopped"' in second.text, "and said so in its log")
    rig.require(not (rig.data / "fluxcap.run.json").exists(), "and left no run file behind")
    site.stop()
    archive = rig.daemon("daemon 3.log")
    stack.callback(end, rig, archive)
    await_that(rig.status, "the third daemon's answer")
    await_client(rig, client)
    ask_to_stop(rig, rig.windows_pid())
    archive.wait()
    end_client(rig, client)
    client.wait()
    compare(rig, truth_path)
    commands += every_command(rig, is_running=False)
    table(rig, commands)


def client_order() -> dict[str, Any]:
    return {
        "pub": f"tcp://127.0.0.1:{PUB_PORT}",
        "rep": f"tcp://127.0.0.1:{REP_PORT}",
        "data_dir": f"{LOCATION}\\client",
        "streams": [[SOURCE, symbol, "1s"] for symbol in FOCUS],
    }


def await_candles(rig: Rig, seconds: float) -> None:
    """Until so many seconds' candles were published, of each asset."""
    before = latest(rig)
    await_that(
        lambda: all(latest(rig)[symbol] - before[symbol] >= seconds for symbol in FOCUS),
        f"{seconds:g} candles an asset",
    )


def latest(rig: Rig) -> dict[str, int]:
    status = rig.status() or {"streams": []}
    found = {stream["stream"].split("/")[-2]: int(stream["latest_sequence"]) for stream in status["streams"]}
    return {symbol: found.get(symbol, 0) for symbol in FOCUS}


def two_daemons(rig: Rig) -> None:
    """A second daemon on the same ports or data folder leaves with a sentence that names the first."""
    ports = rig.daemon("second on the ports.log", data="other data")
    code = ports.wait()
    rig.require(code == 1 and "is in use" in ports.text, f"a second daemon on the ports is refused: {last(ports.text)}")
    store = rig.daemon(
        *("second on the store.log", "--pub", "tcp://127.0.0.1:0", "--rep", "tcp://127.0.0.1:0", "--web-port", "0")
    )
    code = store.wait()
    is_named = "is held by another process" in store.text and "(PID" in store.text
    rig.require(code == 1 and is_named, f"a second one on the store is refused: {last(store.text)}")
    web = rig.daemon(
        *("second on the web port.log", "--pub", "tcp://127.0.0.1:0", "--rep", "tcp://127.0.0.1:0"), data="other data"
    )
    code = web.wait()
    rig.require(code == 1 and "is taken" in web.text, f"a second one on the web port is refused: {last(web.text)}")


def last(text: str) -> str:
    """The reason in the last line of a log as JSON."""
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        return str(json.loads(lines[-1]).get("reason", lines[-1]))
    except (ValueError, IndexError):
        return lines[-1] if lines else ""


def kill(rig: Rig) -> None:
    """End the daemon as Task Manager does: TerminateProcess, with nothing said before."""
    code = f"import os, signal; os.kill({rig.windows_pid()}, signal.SIGTERM)"
    rig.start("kill.log", "-c", code).wait()


def ask_to_stop(rig: Rig, pid: int) -> None:
    code = f"from fluxcap.bridge.system.signals import ask_to_stop; ask_to_stop({pid})"
    asking = rig.start("stop.log", "-c", code)
    rig.require(asking.wait() == 0, f"process {pid} was asked to stop")


def end(rig: Rig, daemon: WindowsProcess) -> None:
    """Whatever happened before, nothing stays behind."""
    if daemon.running and rig.windows_pid():
        kill(rig)
        daemon.wait()


def end_client(rig: Rig, client: WindowsProcess) -> None:
    pid = re.match(r"process (\d+)", client.text)
    if client.running and pid:
        ask_to_stop(rig, int(pid[1]))


def await_client(rig: Rig, client: WindowsProcess) -> None:
    wanted = latest(rig)

    def has_all() -> bool:
        have = dict.fromkeys(FOCUS, 0)
        for line in client.text.splitlines():
            if line.startswith("[0, ") and line.endswith("]") and len(entry := json.loads(line)) == 5:
                have[entry[1]] = max(have[entry[1]], entry[2] + entry[3] - 1)
        return have == wanted

    await_that(has_all, "the client's last candle")


def compare(rig: Rig, truth_path: Path) -> None:
    truth = read_truth(truth_path)
    equal = 0
    for symbol in FOCUS:
        key = StreamKey(SOURCE, symbol, "1s")
        in_store, in_client = stored(rig.data, key), kept(rig.kept / "client", key)
        unflagged = [candle for candle in in_store if candle.flags == UNFLAGGED]
        true = {candle.ts_ms: candle for candle in truth.candles(symbol, 1_000, 0, 1 << 60)}
        wrong = [candle for candle in unflagged if true.get(candle.ts_ms) != candle]
        equal += len(unflagged) - len(wrong)
        whole = sum(is_whole(candle) for candle in in_store)
        rig.require(not wrong, f"{symbol}: {len(unflagged)} candles without a flag, {len(wrong)} differ from the truth")
        rig.require(in_client == in_store, f"{symbol}: the client has all {len(in_store)} ({whole} whole) of the store")
    rig.require(equal >= LEAST_CANDLES, f"{equal} candles equal the truth, {LEAST_CANDLES} are wanted")


def is_whole(candle: Candle) -> bool:
    flags = CandleFlags(candle.flags)
    return bool(flags & CandleFlags.FILLED) or not flags & (CandleFlags.JOINED_LATE | CandleFlags.BLIND)


# --- every command ---------------------------------------------------------------------------------------------------

DATA = ("--data-dir", f"{LOCATION}\\data")
CONTROL = ("--control", f"http://127.0.0.1:{WEB_PORT}")
ENDS = ("--pub", f"tcp://127.0.0.1:{PUB_PORT}", "--rep", f"tcp://127.0.0.1:{REP_PORT}")
WHILE_RUNNING: dict[str, Sequence[str]] = {
    "status": DATA,
    "focus get": DATA,
    "clock": DATA,
    "collect-mode": ("both", *DATA),
    "tail": ("--seconds", "5", *DATA) if False else (),
    "backfill": (
        SOURCE,
        FOCUS[0],
        "1s",
        "--out",
        f"{LOCATION}\\candles zurück.csv",
        "--rep",
        f"tcp://127.0.0.1:{REP_PORT}",
    ),
    "gaps": DATA,
    "doctor": (*DATA, "--chrome", f"127.0.0.1:{CHROME_PORT}"),
    "record": (
        f"{LOCATION}\\aufnahme.rec",
        "--chrome",
        f"127.0.0.1:{CHROME_PORT}",
        "--platform-url",
        f"127.0.0.1:{SITE_PORT}",
        "--seconds",
        "5",
    ),
}
AFTERWARDS: dict[str, Sequence[str]] = {
    "export": ("candles", "--out", f"{LOCATION}\\candles.parquet", *DATA),
    "replay": (f"{LOCATION}\\aufnahme.rec", "--interval", "1s"),
    "verify": DATA,
    "keys": (f"{LOCATION}\\schlüssel",),
    "config show": (),
    "config init": ("--config", f"{LOCATION}\\neu.toml"),
}


def every_command(rig: Rig, *, is_running: bool) -> list[tuple[str, int, str]]:
    """Run the commands for which this is the time; all others once, for their help."""
    known = WHILE_RUNNING if is_running else AFTERWARDS
    rows = []
    for name in command_names():
        if known.get(name):
            rows.append((" ".join([name, *known[name]]), *run(rig, f"command {name}.log", *name.split(), *known[name])))
        elif not is_running and not WHILE_RUNNING.get(name) and name not in AFTERWARDS:
            rows.append((f"{name} --help", *run(rig, f"command {name}.log", *name.split(), "--help")))
    return rows


def command_names() -> Iterator[str]:
    for name, command in sorted(get_command(app).commands.items()):  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        if inner:
            yield from (f"{name} {sub}" for sub in sorted(inner))
        else:
            yield name


def run(rig: Rig, log: str, *arguments: str) -> tuple[int, str]:
    process = rig.cli(log, *arguments)
    code = process.wait()
    return code, process.text


def table(rig: Rig, rows: list[tuple[str, int, str]]) -> None:
    print("\nEvery command, through a pipe and in Windows' code page:\n")
    for command, code, text in rows:
        first = next((line for line in text.splitlines() if line.strip()), "")
        print(f"  {code:>3}  fluxcap {command[:70]:70}  {first[:90]}")
        if "Traceback" in text or code not in (0, 1):
            rig.faults.append(f"fluxcap {command}: exit code {code}, {text[-600:]}")


def tell(rig: Rig) -> None:
    print()
    for fault in rig.faults:
        print(f"✗ {fault}")
    print("All as it should be." if not rig.faults else f"{len(rig.faults)} things are not as they should be.")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), float(sys.argv[2]) if len(sys.argv) > 2 else 45.0))
