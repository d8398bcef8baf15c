"""The live path with daemon and client on Windows' Python: ``python -m tests.windows.live FOLDER [--quick]``.

The simulated site and a Chromium run on Linux, the rest through Wine, which shares the loopback. The daemon's folder
lies on another drive, with spaces and umlauts in its name. The daemon is killed in the middle, started again, and at
the end stopped by ``fluxcap stop``. Then the store and the client's copy are compared with the site's truth. Every
command is run once, with and without a daemon, unless it is to be quick. Exit code 1 when a candle without a flag
differs, or something else is not as it should be.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from fluxcap.capture.simulator import SimulatedSite, SiteConfig, read_truth
from fluxcap.schemas.types import Candle, CandleFlags, StreamKey
from tests.support.browser.chromium import Chromium
from tests.support.daemon.live_rig import SOURCE, kept, stored
from tests.support.nats.nats_rig import FOUND as NATS_FOUND
from tests.support.nats.nats_rig import NatsServer
from tests.support.patience import await_that
from tests.windows.commands import STARTED, Command, Lanes, Row, afterwards, print_table, while_running
from tests.windows.wine import WindowsProcess, Wine

ASSETS = ("EURUSD_otc", "#AAPL_otc", "GBPUSD_otc")
FOCUS = ASSETS[:2]
LEAST_CANDLES = 150
SECONDS = 45
"""So many candles of each asset before the kill, and as many after it."""
DRIVE = "Börse und Daten"
"""Folder on drive D: of everything that is kept."""
LOCATION = f"D:\\{DRIVE}"
SITE_PORT, CHROME_PORT, PUB_PORT, REP_PORT, WEB_PORT = range(61_001, 61_006)
"""Above the range from which Wine gives ports of its own accord."""
UNFLAGGED = 0
LOG_NUMBERS = itertools.count(1)
CLIENT = """
import json, os, sys
print("process", os.getpid(), flush=True)
from tests.support.daemon.recording_client import main
main(json.loads(sys.argv[1]))
"""


class Rig:
    """Windows' Python with its folders. ``data``: the data folder as Linux sees it."""

    def __init__(self, wine: Wine) -> None:
        self.wine = wine
        self.kept = wine.folder / "drive" / DRIVE
        self.data = self.kept / "data"
        self.faults: list[str] = []

    def cli(self, log: str, *arguments: str) -> WindowsProcess:
        return self.wine.fluxcap(self.kept / log, *arguments)

    def daemon(self, log: str, *more: str, data: str = "data") -> WindowsProcess:
        return self.cli(
            log,
            *("run", "--chrome", f"127.0.0.1:{CHROME_PORT}", "--platform-url", f"127.0.0.1:{SITE_PORT}"),
            *("--focus", ",".join(FOCUS), "--interval", "1s", "--source", SOURCE, "--collect", "both"),
            *("--data-dir", f"{LOCATION}\\{data}", "--pub", f"tcp://127.0.0.1:{PUB_PORT}"),
            *("--rep", f"tcp://127.0.0.1:{REP_PORT}", "--web-port", str(WEB_PORT), "--log-json", *more),
        )

    def run(self, log: str, *arguments: str) -> tuple[int, str]:
        process = self.cli(log, *arguments)
        return process.wait(), process.text

    def status(self) -> dict[str, Any] | None:
        try:
            answer = httpx.get(f"http://127.0.0.1:{WEB_PORT}/api/status", timeout=10, trust_env=False, verify=False)
            return dict(answer.raise_for_status().json())
        except httpx.HTTPError:
            return None

    def require(self, holds: object, what: str) -> None:
        print(f"  {'✓' if holds else '✗'} {what}", flush=True)
        if not holds:
            self.faults.append(what)


def main(folder: Path, *, is_quick: bool) -> int:
    rig = Rig(Wine(folder))
    for left in (rig.kept, folder / "nats", folder / "chromium"):
        shutil.rmtree(left, ignore_errors=True)
    rig.kept.mkdir(parents=True)
    truth_path = folder / "truth.jsonl"
    truth_path.unlink(missing_ok=True)
    with ExitStack() as stack:
        stack.enter_context(rig.wine)
        site = stack.enter_context(SimulatedSite(SiteConfig(assets=ASSETS, port=SITE_PORT, truth_path=truth_path)))
        browser = Chromium(folder / "chromium", port=CHROME_PORT)
        stack.callback(browser.stop)
        nats_url = ""
        if NATS_FOUND:
            nats = NatsServer(folder / "nats").start()
            stack.callback(nats.stop)
            nats_url = nats.url
        live_path(rig, browser, site, truth_path, nats_url, stack, is_quick=is_quick)
    print()
    for fault in rig.faults:
        print(f"✗ {fault}")
    print("All as it should be." if not rig.faults else f"{len(rig.faults)} things are not as they should be.")
    return 1 if rig.faults else 0


def live_path(
    rig: Rig,
    browser: Chromium,
    site: SimulatedSite,
    truth_path: Path,
    nats_url: str,
    stack: ExitStack,
    *,
    is_quick: bool,
) -> None:
    print("Daemon and client on Windows' Python, site and Chromium on Linux:", flush=True)
    first = started(rig, "daemon 1.log", stack)
    browser.open(site.url)
    client = rig.wine.start(rig.kept / "client.log", "-c", CLIENT, json.dumps([client_order()]))
    stack.callback(kill, rig, client)
    await_candles(rig, SECONDS)
    two_daemons(rig)
    kill(rig, first)
    rig.require(not first.is_running, "the daemon was killed in the middle")
    doctor = rig.run("doctor after the kill.log", "doctor", "--data-dir", f"{LOCATION}\\data")
    rig.require("ended unexpectedly" in doctor[1], "after the kill the doctor says that the last one ended so")
    second = started(rig, "daemon 2.log", stack)
    await_candles(rig, SECONDS)
    commands = while_running(LOCATION, FOCUS, SOURCE, (SITE_PORT, CHROME_PORT, REP_PORT, PUB_PORT), nats_url)
    rows = [] if is_quick else every(rig, commands)
    await_candles(rig, 5)
    stop(rig, second)
    rig.require('"daemon.stopped"' in second.text, "and said so in its log")
    rig.require(not (rig.data / "fluxcap.run.json").exists(), "and left no run file behind")
    site.stop()
    third = started(rig, "daemon 3.log", stack)
    await_client(rig, client)
    stop(rig, third)
    ask = f"from fluxcap.bridge.system.signals import ask_to_stop; ask_to_stop({client.pid})"
    asking = rig.wine.start(rig.kept / "ask.log", "-c", ask)
    rig.require(asking.wait() == 0 and client.wait() == 0, f"the client was asked to leave, and left {asking.text}")
    compare(rig, truth_path)
    if is_quick:
        return
    rows += every(rig, afterwards(LOCATION))
    print_table(rows)
    rig.faults += [f"fluxcap {row.told}: exit code {row.code}: {row.text[-600:]}" for row in rows if not row.is_well]


def started(rig: Rig, log: str, stack: ExitStack) -> WindowsProcess:
    """A daemon that answers. Whatever happens later, it does not stay behind."""
    daemon = rig.daemon(log)
    stack.callback(kill, rig, daemon)
    await_that(lambda: rig.status() or not daemon.is_running, f"the daemon's answer ({log})")
    assert daemon.is_running, daemon.text[-2_000:]
    return daemon


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
    found = {stream["stream"]: int(stream["latest_sequence"]) for stream in status["streams"]}
    return {symbol: found.get(str(StreamKey(SOURCE, symbol, "1s")), 0) for symbol in FOCUS}


def two_daemons(rig: Rig) -> None:
    """A second daemon on the same ports or data folder leaves with a sentence that names the first."""
    free = ("--pub", "tcp://127.0.0.1:0", "--rep", "tcp://127.0.0.1:0")
    ports = rig.daemon("second on the ports.log", data="other data")
    code = ports.wait()
    rig.require(code == 1 and "is in use" in ports.text, f"a second daemon on the ports is refused: {last(ports.text)}")
    store = rig.daemon("second on the store.log", *free, "--web-port", "0")
    code = store.wait()
    rig.require(
        code == 1 and "is held by another process" in store.text,
        f"a second one on the store is refused: {last(store.text)}",
    )
    web = rig.daemon("second on the web port.log", *free, data="other data")
    code = web.wait()
    rig.require(code == 1 and "is taken" in web.text, f"a second one on the web port is refused: {last(web.text)}")


def last(text: str) -> str:
    """The reason in the last line of a log as JSON."""
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        return str(json.loads(lines[-1]).get("reason", lines[-1]))
    except (ValueError, IndexError):
        return lines[-1] if lines else ""


def kill(rig: Rig, process: WindowsProcess) -> None:
    """End a process as Task Manager does: TerminateProcess, with nothing said before."""
    if process.is_running:
        code = f"import os, signal; os.kill({process.pid}, signal.SIGTERM)"
        rig.wine.start(rig.kept / "kill.log", "-c", code).wait()
        process.wait()


def stop(rig: Rig, daemon: WindowsProcess) -> None:
    begun_s = time.monotonic()
    said = rig.run("stop.log", "stop", "--data-dir", f"{LOCATION}\\data")
    code = daemon.wait()
    took_s = time.monotonic() - begun_s
    rig.require(
        (said[0], code) == (0, 0),
        f"fluxcap stop: {first_line(said[1])!r}; the daemon left in order: exit code {code}, {took_s:.1f} s in all",
    )


def first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def await_client(rig: Rig, client: WindowsProcess) -> None:
    wanted = await_that(lambda: found if min((found := latest(rig)).values()) else None, "the streams of the store")

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


def every(rig: Rig, lanes: Lanes) -> list[Row]:
    """Run all of the commands."""
    rows: list[Row] = []
    for together in lanes:
        with ThreadPoolExecutor(len(together)) as pool:
            for found in pool.map(lambda lane: [run(rig, command) for command in lane], together):
                rows += found
    return rows


def run(rig: Rig, command: Command) -> Row:
    """Run a command; one that goes on for ever gets a Ctrl-C once it has said what is awaited of it."""
    process = rig.cli(f"command {next(LOG_NUMBERS)}.log", *command.words)
    try:
        if command.until == STARTED:
            await_that(lambda: process.pid, "its number")
        elif command.until:
            process.await_text(command.until)
        if command.until:
            process.press_ctrl_c()
        code = process.wait()
    except AssertionError as error:  # told in the table, and no end of the others
        process.kill()
        code = -1
        rig.faults.append(str(error))
    row = Row(command.told, code, process.text, command.codes)
    print(f"    {row}", flush=True)
    return row


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # nothing stays behind then either
    sys.exit(main(given.folder.resolve(), is_quick=given.quick))
