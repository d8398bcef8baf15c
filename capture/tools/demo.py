"""The demo: simulated site, real Chrome, daemon and client, each its own process, and a comparison at the end.

The site keeps a ground truth of every tick its market made. After the run every bucket that the daemon sealed is folded
from that truth by the simulator's own plain method, and must equal the store's candle and the client's candle exactly.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from math import inf
from pathlib import Path
from typing import TypeVar

import httpx
import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fluxcap.bridge.client.cache import CandleCache
from fluxcap.bridge.client.events import Candles
from fluxcap.bridge.client.health import Health
from fluxcap.bridge.client.latest import LatestCandles
from fluxcap.bridge.client.live import LiveClient
from fluxcap.bridge.http.run_file import RunFile, read_run_file
from fluxcap.bridge.store.store import Store
from fluxcap.bridge.system.signals import ask_to_stop, catch_stop_signals
from fluxcap.bridge.terminal.console import SafeConsole, plain
from fluxcap.bridge.terminal.styles import HEALTH_STYLES
from fluxcap.capture.chrome.launch import start_chrome
from fluxcap.capture.runtime.discovery import find_daemon
from fluxcap.capture.simulator.truth import Truth, read_truth
from fluxcap.schemas.errors import FluxcapError
from fluxcap.schemas.types import Candle, CandleArray, StreamKey, candles_from, interval_ms

SITE_ASSETS = ("EURUSD_otc", "GBPUSD_otc", "USDJPY_otc")
FOCUS = SITE_ASSETS[:2]
SOURCE = "DEMO"
START_TIMEOUT_S = 30.0
CATCH_UP_S = 10.0
WIDE = 110
"""Columns of a terminal from which on all four prices have room."""
LONGER = 3
"""The demo's timeframe is so many times its interval."""
_T = TypeVar("_T")


class StreamResult(msgspec.Struct, frozen=True):
    """One stream compared: how many candles each has, and the differences in words."""

    name: str
    ticks_sent: int
    ticks_counted: int
    truth: int
    store: int
    client: int
    differences: tuple[str, ...]


def run_demo(seconds: int, interval: str, headless: bool | None, *, keep: bool = False) -> int:
    """Run it; returns the exit code. ``keep``: until Ctrl-C, however long, and compare then."""
    console = SafeConsole()
    interval_ms(interval)
    with ExitStack() as stack:
        # In order, so that no process stays behind.
        asked = stack.enter_context(catch_stop_signals(second_interrupts=True))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fluxcap-demo-")))
        return _run(folder, None if keep else seconds, interval, _headless(headless), console, asked, stack)


def _run(
    folder: Path,
    seconds: int | None,
    interval: str,
    headless: bool,
    console: Console,
    asked: Sequence[int],
    stack: ExitStack,
) -> int:
    lasting = "until Ctrl-C" if seconds is None else f"{seconds} s"
    console.print(f"[bold]fluxcap demo[/]: {lasting}, {interval} candles of {' and '.join(FOCUS)}.\n")
    truth_path = folder / "truth.jsonl"
    site = stack.enter_context(_site(folder, truth_path))
    console.print(f"  [green]✓[/] simulated trading site at {site}, {len(SITE_ASSETS)} assets, ticks stamped UTC + 2 h")
    chrome = stack.enter_context(start_chrome(port=0, profile=folder / "chrome", headless=headless))
    console.print(f"  [green]✓[/] {plain(chrome.info.product)} {'headless' if headless else 'in a window'}")
    daemon, run = stack.enter_context(_daemon(folder, chrome.port, site, interval))
    _wait_for(lambda: _attached(run), daemon, folder / "daemon.log")
    console.print(f"  [green]✓[/] daemon attached on port {chrome.port}, publishing on {run.pub}")
    _open_page(chrome.port, site)
    console.print("  [green]✓[/] trading page open; its own history fills the candles of the last minutes")
    keys = [StreamKey(SOURCE, symbol, interval) for symbol in FOCUS]
    derived = [StreamKey(SOURCE, symbol, _longer(interval)) for symbol in FOCUS]
    client = stack.enter_context(LiveClient(run.pub, run.rep, folder / "client", streams=[*keys, *derived]))
    console.print("  [green]✓[/] client subscribed, keeping its own copy")
    console.print(f"  [green]✓[/] chart at {run.control}/\n", highlight=False)
    ended_early = _watch(client, keys, seconds, console, asked, daemon)
    if ended_early:
        console.print(f"\n[red]{plain(ended_early)}[/]" if ended_early != "interrupted" else "\nInterrupted.")
        if ended_early == "interrupted":
            return 130
        console.print((folder / "daemon.log").read_text("utf-8", "replace")[-2_000:], highlight=False, markup=False)
        return 1
    _await_next_candles(client, keys)
    _end(daemon)
    watermarks = _watermarks(folder, [*keys, *derived])
    _await_client(client, watermarks)
    client.close()
    compared = [*keys, *(key for key in derived if watermarks[key])]  # a short demo has none of the longer ones
    results = [_compare(folder, key, read_truth(truth_path)) for key in compared]
    console.print()
    console.print(_result_table(results))
    return _report(results, console)


def _watch(
    client: LiveClient,
    keys: list[StreamKey],
    seconds: int | None,
    console: Console,
    asked: Sequence[int],
    daemon: subprocess.Popen[bytes],
) -> str:
    """Show the streams until the time is over; "" then, else why it ended early. Without a time Ctrl-C is the end."""
    latest = LatestCandles()
    end_s = inf if seconds is None else time.monotonic() + seconds

    def screen() -> Group:
        left_s = max(0.0, end_s - time.monotonic())
        table = _stream_table(client, keys, latest, is_wide=console.width >= WIDE)
        hint = "Ctrl-C ends it and compares" if seconds is None else f"{left_s:.0f} s to go"
        return Group(table, Text(f"  {hint}", style="dim"))

    with Live(console=console, refresh_per_second=4, get_renderable=screen, transient=False):
        while time.monotonic() < end_s:
            if asked:
                return "" if seconds is None else "interrupted"
            if daemon.poll() is not None:
                return f"The daemon exited unexpectedly with exit code {daemon.returncode}."
            for event in client.events(timeout=0.2):
                latest.on_event(event)
                if asked or time.monotonic() >= end_s:
                    break
    return ""


def _stream_table(
    client: LiveClient,
    keys: list[StreamKey],
    latest: LatestCandles,
    *,
    is_wide: bool = True,
) -> Table:
    prices_shown = ("open", "high", "low", "close") if is_wide else ("close",)
    table = Table(box=None, padding=(0, 2) if is_wide else (0, 1), header_style="dim")
    for column in ("stream", "", "sequence", *prices_shown, "ticks", "candles"):
        table.add_column(column, justify="left" if column in ("stream", "") else "right", no_wrap=True)
    for key in keys:
        health: Health = client.health(key)
        cells = ["-"] * (len(prices_shown) + 2)
        if (candle := latest[key].candle) is not None:
            prices = [getattr(candle, name) for name in prices_shown]
            cells = [str(latest[key].sequence), *(f"{price:.10g}" for price in prices), str(candle.tick_count)]
        dot = Text(f"● {health.label}", style=HEALTH_STYLES[health.state])
        table.add_row(key.symbol, dot, *cells, str(latest[key].count))
    return table


# --- the parts, each its own process -------------------------------------------------------------------------------


@contextmanager
def _site(folder: Path, truth_path: Path) -> Iterator[str]:
    log_path = folder / "site.log"
    arguments = ["simulate", "--port", "0", "--assets", ",".join(SITE_ASSETS), "--truth", str(truth_path)]
    process = _spawn(arguments, log_path)
    try:
        yield _wait_for(lambda: _site_url(log_path), process, log_path)
    finally:
        _end(process)


def _site_url(log_path: Path) -> str | None:
    found = re.search(r"http://\S+", log_path.read_text("utf-8", "replace"))
    return found[0] if found else None


@contextmanager
def _daemon(
    folder: Path, chrome_port: int, site: str, interval: str
) -> Iterator[tuple[subprocess.Popen[bytes], RunFile]]:
    host = site.removeprefix("http://").strip("/")
    data_dir, log_path = folder / "data", folder / "daemon.log"
    arguments = [
        *("run", "--chrome", f"127.0.0.1:{chrome_port}", "--platform-url", host, "--focus", ",".join(FOCUS)),
        *("--interval", interval, "--timeframes", _longer(interval), "--source", SOURCE),
        *("--data-dir", str(data_dir), "--web-port", "0"),
        *("--pub", "tcp://127.0.0.1:0", "--rep", "tcp://127.0.0.1:0"),
    ]
    process = _spawn(arguments, log_path)
    try:
        yield process, _wait_for(lambda: read_run_file(data_dir), process, log_path)
    finally:
        _end(process)


def _longer(interval: str) -> str:
    """Return the timeframe that is shown, too."""
    return f"{LONGER * interval_ms(interval) // 1_000}s"


def _attached(run: RunFile) -> bool | None:
    with find_daemon(control=run.control) as daemon:
        return True if daemon.status()["chrome"] == "attached" else None


def _open_page(port: int, url: str) -> None:
    """As a person would open a tab. DevTools wants PUT for it."""
    httpx.put(f"http://127.0.0.1:{port}/json/new?{url}", trust_env=False, timeout=START_TIMEOUT_S).raise_for_status()


def _spawn(arguments: list[str], log_path: Path) -> subprocess.Popen[bytes]:
    no_settings = log_path.with_name("settings.toml")  # the demo is the same whatever the user has set
    no_settings.touch()
    own = {"FLUXCAP_STATE_DIR": str(log_path.parent / "state"), "FLUXCAP_CONFIG": str(no_settings)}
    with log_path.open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-u", "-m", "fluxcap.capture.cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | own,
            start_new_session=True,
        )


def _wait_for(found: Callable[[], _T | None], process: subprocess.Popen[bytes], log_path: Path) -> _T:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        if (value := found()) is not None:
            return value
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise FluxcapError(f"A part of the demo did not start: {log_path.read_text('utf-8', 'replace')[-500:].strip()}")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with suppress(OSError):  # gone meanwhile
            ask_to_stop(process.pid)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _headless(asked: bool | None) -> bool:
    if asked is not None:
        return asked
    return sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


# --- the comparison -------------------------------------------------------------------------------------------------


def _watermarks(folder: Path, keys: list[StreamKey]) -> dict[StreamKey, int]:
    store = Store.open(folder / "data" / "fluxcap.duckdb")
    try:
        known = store.watermarks()
        return {key: known[key].latest_sequence if key in known else 0 for key in keys}
    finally:
        store.close()


def _await_next_candles(client: LiveClient, keys: list[StreamKey]) -> None:
    """End just after a bucket's end: what a server publishes in its very last moment may never reach a client."""
    waiting = set(keys)
    deadline_s = time.monotonic() + keys[0].interval_ms / 1_000 + CATCH_UP_S
    while waiting and time.monotonic() < deadline_s:
        for event in client.events(timeout=0.1):
            if isinstance(event, Candles):
                waiting.discard(event.key)
                if not waiting:
                    return


def _await_client(client: LiveClient, watermarks: dict[StreamKey, int]) -> None:
    """Wait until the client has what was published last."""
    deadline_s = time.monotonic() + CATCH_UP_S
    while time.monotonic() < deadline_s:
        cursors = {key: client.cursor(key) for key in watermarks}
        if all((cursor.latest_sequence if (cursor := cursors[key]) else 0) >= watermarks[key] for key in watermarks):
            return
        for _ in client.events(timeout=0.1):
            pass


def _compare(folder: Path, key: StreamKey, truth: Truth) -> StreamResult:
    name = f"{key.symbol} {key.interval}"
    stored = _stored(folder, key)
    kept = _kept(folder, key)
    if not stored:
        return StreamResult(name, 0, 0, 0, 0, len(kept), ("nothing was stored",))
    first_ms, end_ms = stored[0].ts_ms, stored[-1].ts_ms + key.interval_ms
    expected = truth.candles(key.symbol, key.interval_ms, first_ms, end_ms)
    differences = [*_differences("store", expected, stored), *_differences("client", stored, kept, with_flags=True)]
    in_range = [tick for tick in truth.ticks(key.symbol) if first_ms <= tick.ts_ms < end_ms]
    return StreamResult(
        name,
        len(in_range),
        sum(candle.tick_count for candle in stored),
        len(expected),
        len(stored),
        len(kept),
        tuple(differences),
    )


def _differences(name: str, expected: list[Candle], found: list[Candle], *, with_flags: bool = False) -> Iterator[str]:
    wanted = {candle.ts_ms: candle for candle in expected}
    seen = {candle.ts_ms: candle for candle in found}
    for ts_ms in sorted(wanted.keys() | seen.keys()):
        left, right = wanted.get(ts_ms), seen.get(ts_ms)
        if left is not None and right is not None and not with_flags:
            left = msgspec.structs.replace(left, flags=right.flags)
        if left != right:
            yield f"{name} {ts_ms}: expected {left}, found {right}"


def _stored(folder: Path, key: StreamKey) -> list[Candle]:
    store = Store.open(folder / "data" / "fluxcap.duckdb")
    try:
        return list(candles_from(store.reader().page(key, 0, None, 10_000_000).candles))
    finally:
        store.close()


def _kept(folder: Path, key: StreamKey) -> list[Candle]:
    cache = CandleCache(folder / "client")
    try:
        candles: CandleArray = cache.candles(key)[1]
        return list(candles_from(candles))
    finally:
        cache.close()


def _result_table(results: list[StreamResult]) -> Table:
    table = Table(title="Truth, store and client compared", title_justify="left", title_style="bold")
    for column in ("stream", "ticks sent", "ticks in candles", "truth", "store", "client", "differences"):
        is_name = column == "stream"
        table.add_column(column, justify="left" if is_name else "right", no_wrap=is_name)
    for result in results:
        counts = (result.ticks_sent, result.ticks_counted, result.truth, result.store, result.client)
        style = "green" if not result.differences else "red"
        table.add_row(result.name, *map(str, counts), f"[{style}]{len(result.differences)}[/]")
    return table


def _report(results: list[StreamResult], console: Console) -> int:
    for result in results:
        for line in result.differences[:10]:
            console.print(f"  [red]{result.name}[/] {plain(line)}", highlight=False)
    if any(result.differences for result in results):
        console.print("[red]Not equal.[/]")
        return 1
    console.print("[green]Every sealed candle is the same in the site's truth, the store and the client.[/]")
    return 0
