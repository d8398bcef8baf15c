"""Chrome is killed and started again on the same port: capture goes on by itself, and no candle is wrong."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from fluxcap.bridge.store.verify import verify
from fluxcap.capture.simulator import SimulatedSite, SiteConfig, Truth, read_truth
from fluxcap.schemas.types import Candle, CandleFlags, Gap
from tests.support.browser.chromium import Chromium, chromium_executable
from tests.support.daemon.live_rig import Archive, DaemonProcess, Process, kept, stored, stored_gaps
from tests.support.patience import await_that
from tests.support.ports import lasting_port

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WITH_HISTORY, WITHOUT_HISTORY = "EURUSD_otc", "GBPUSD_otc"
"""The asset that the page shows gets its history with every load; the other one only ticks."""
FOCUS = (WITH_HISTORY, WITHOUT_HISTORY)
INTERVAL_MS = 1_000
OUTAGE_S = 2.5


class Run(msgspec.Struct):
    truth: Truth
    stored: dict[str, list[Candle]]
    kept: dict[str, list[Candle]]
    gaps: dict[str, list[Gap]]
    findings: list[object]
    known_ms: dict[str, int]
    """End of the newest candle that was stored before the kill: up to there all had been received, however far the
    browser lagged behind."""
    killed_ms: float
    """After the kill: of what was later, nothing came."""
    told_ms: int
    """The newest tick in the history that the new page was sent."""
    back_ms: dict[str, int]
    """The first tick that the new page was sent live."""
    events: list[str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    if chromium_executable() is None:
        pytest.skip("no Chromium on this machine; install chromium or set FLUXCAP_CHROMIUM")
    with ExitStack() as stack:
        return _run(tmp_path_factory.mktemp("killed"), stack)


def _run(folder: Path, stack: ExitStack) -> Run:
    config = SiteConfig(assets=FOCUS, rate_hz=10, truth_path=folder / "truth.jsonl")
    site = stack.enter_context(SimulatedSite(config))
    browser = Chromium(folder / "chromium", url=site.url, port=lasting_port())
    stack.callback(browser.stop)
    host = site.url.removeprefix("http://").strip("/")
    daemon = DaemonProcess(folder, browser.port, "--platform-url", host, "--focus", ",".join(FOCUS))
    stack.callback(daemon.discard)
    client = _client(folder, daemon)
    stack.callback(client.discard)
    _await_candles(daemon, 0)

    known_ms = {s["stream"]: s["latest_ts_ms"] + INTERVAL_MS for s in daemon.status()["streams"]}
    browser.kill()
    killed_ms = time.time() * 1_000
    daemon.await_status(lambda seen: seen["chrome"] == "not reachable", "the loss of Chrome")
    time.sleep(OUTAGE_S)
    browser.url = "about:blank"
    browser.start()
    daemon.await_status(lambda seen: seen["chrome"] == "attached", "the return of Chrome")
    browser.open(site.url)  # not before: who attaches after the page's load has missed its history
    told_ms, back_ms = await_that(lambda: _first_sent_after(site, killed_ms), "ticks for the new page")
    _await_candles(daemon, max(back_ms.values()) + 5_000)

    where = daemon.run_file()
    daemon.end()
    archive = Archive(folder / "archive", daemon, where)
    stack.callback(archive.discard)
    for symbol in FOCUS:
        archive.await_client(client, 0, symbol)
    archive.end()
    client.end()
    site.stop()
    return Run(
        truth=read_truth(site.truth_path),
        stored={symbol: stored(daemon.data_dir, daemon.key(symbol)) for symbol in FOCUS},
        kept={symbol: kept(folder / "client", daemon.key(symbol)) for symbol in FOCUS},
        gaps={symbol: stored_gaps(daemon.data_dir, symbol) for symbol in FOCUS},
        findings=list(verify(daemon.data_dir / "fluxcap.duckdb")),
        known_ms={symbol: known_ms[str(daemon.key(symbol))] for symbol in FOCUS},
        killed_ms=killed_ms,
        told_ms=told_ms,
        back_ms=back_ms,
        events=[event["event"] for event in daemon.events()],
    )


def _client(folder: Path, daemon: DaemonProcess) -> Process:
    where = daemon.run_file()
    streams = [[key.source_id, key.symbol, key.interval] for key in map(daemon.key, FOCUS)]
    order = {"pub": where.pub, "rep": where.rep, "data_dir": str(folder / "client"), "streams": streams}
    return Process(folder / "client-output", json.dumps([order]), module="tests.support.daemon.recording_client")


def _await_candles(daemon: DaemonProcess, after_ms: int) -> None:
    """Every stream has at least five candles, and one that begins after a time."""
    daemon.await_status(
        lambda seen: (
            len(seen["streams"]) == len(FOCUS)
            and all(s["latest_sequence"] >= 5 and s["latest_ts_ms"] > after_ms for s in seen["streams"])
        ),
        "candles",
    )


def _first_sent_after(site: SimulatedSite, killed_ms: float) -> tuple[int, dict[str, int]] | None:
    """What the new page was sent: the newest tick of its history, and the first live one of each asset."""
    truth = read_truth(site.truth_path)
    told = [event["until_ts_ms"] for event in truth.of_kind("history_sent") if event["at_ms"] > killed_ms]
    if not told:
        return None
    live = {symbol: [tick.ts_ms for tick in truth.sent(symbol) if tick.ts_ms > told[0]] for symbol in FOCUS}
    return (told[0], {symbol: ticks[0] for symbol, ticks in live.items()}) if all(live.values()) else None


def wholly_known(candle: Candle) -> bool:
    return candle.flags == 0 or bool(candle.flags & CandleFlags.FILLED)


def truth_of(run: Run, symbol: str) -> dict[int, Candle]:
    """What there should be, from the first candle stored to the last."""
    found = run.stored[symbol]
    candles = run.truth.candles(symbol, INTERVAL_MS, found[0].ts_ms, found[-1].ts_ms + 1)
    return {candle.ts_ms: candle for candle in candles}


@pytest.mark.parametrize("symbol", FOCUS)
def test_every_candle_that_claims_to_be_whole_is_the_truth(run: Run, symbol: str):
    truth = truth_of(run, symbol)
    wrong = [
        candle
        for candle in run.stored[symbol]
        if wholly_known(candle) and msgspec.structs.replace(candle, flags=0) != truth[candle.ts_ms]
    ]

    assert wrong == []
    assert sum(map(wholly_known, run.stored[symbol])) >= 10


def test_with_the_pages_history_not_one_bucket_of_the_outage_is_missing(run: Run):
    found = {candle.ts_ms: candle for candle in run.stored[WITH_HISTORY]}

    assert found.keys() == truth_of(run, WITH_HISTORY).keys()
    assert all(map(wholly_known, found.values()))
    in_outage = [c for ts_ms, c in found.items() if run.killed_ms < ts_ms <= run.told_ms - INTERVAL_MS]
    assert in_outage
    assert all(candle.flags & CandleFlags.FILLED for candle in in_outage)


def test_without_history_buckets_are_missing_in_the_outage_alone(run: Run):
    missing = sorted(truth_of(run, WITHOUT_HISTORY).keys() - {c.ts_ms for c in run.stored[WITHOUT_HISTORY]})

    assert missing
    assert run.known_ms[WITHOUT_HISTORY] <= missing[0]
    assert missing[-1] <= run.back_ms[WITHOUT_HISTORY]
    assert missing == list(range(missing[0], missing[-1] + 1, INTERVAL_MS))


def test_what_is_less_than_whole_says_so_and_lies_at_the_edge_of_the_outage(run: Run):
    partial = [candle for candle in run.stored[WITHOUT_HISTORY] if not wholly_known(candle)]

    assert len(partial) <= 1
    assert all(candle.flags == CandleFlags.BLIND for candle in partial)
    assert all(run.known_ms[WITHOUT_HISTORY] <= candle.ts_ms < run.killed_ms for candle in partial)


@pytest.mark.parametrize("symbol", FOCUS)
def test_a_gap_is_recorded_over_what_was_not_received(run: Run, symbol: str):
    gaps = [gap for gap in run.gaps[symbol] if gap.reason == "chrome gone" and gap.to_ms > gap.from_ms]

    assert len(gaps) == 1
    assert run.known_ms[symbol] <= gaps[0].from_ms < run.killed_ms
    assert run.told_ms <= gaps[0].to_ms <= run.back_ms[symbol]


@pytest.mark.parametrize("symbol", FOCUS)
def test_the_client_has_what_the_store_has(run: Run, symbol: str):
    assert run.kept[symbol] == run.stored[symbol]


def test_sequences_are_dense_and_the_store_is_sound(run: Run):
    assert run.findings == []


def test_the_log_tells_the_loss_and_the_return(run: Run):
    told = [event for event in run.events if event in ("chrome.attached", "chrome.lost")]

    assert told == ["chrome.attached", "chrome.lost", "chrome.attached"]
