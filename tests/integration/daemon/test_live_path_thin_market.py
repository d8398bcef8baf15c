"""A thin market alone on its socket, in a real Chromium for two minutes: every candle is the truth or honestly flagged,
and none is lost."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from fluxcap.bridge.store.store import Store
from fluxcap.bridge.store.verify import verify
from fluxcap.capture.simulator import SimulatedSite, SiteConfig, Truth, read_truth
from fluxcap.schemas.types import candles_from
from tests.support.browser.chromium import Chromium, chromium_executable
from tests.support.daemon.fault_rig import Trouble, judge, touches, wholly_known
from tests.support.daemon.live_rig import DaemonProcess, stored, stored_gaps
from tests.support.patience import await_that

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.long]

SYMBOL = "EURUSD"
MEAN_S = 4.0
INTERVAL_MS = 5_000
CANDLES = 18
"""With a trade every four seconds, about two candles of three have one: about two minutes."""


def test_every_candle_of_a_thin_market_is_true_or_flagged_and_none_is_lost(tmp_path: Path) -> None:
    if chromium_executable() is None:
        pytest.skip("no Chromium on this machine; install chromium or set FLUXCAP_CHROMIUM")
    config = SiteConfig(assets=(SYMBOL,), thin={SYMBOL: MEAN_S}, truth_path=tmp_path / "truth.jsonl")
    with SimulatedSite(config) as site:
        browser = Chromium(tmp_path / "chromium", url=site.url)
        host = site.url.removeprefix("http://").strip("/")
        daemon = DaemonProcess(tmp_path, browser.port, "--platform-url", host, "--focus", SYMBOL, interval="5s")
        try:
            await_that(lambda: _sequence(daemon) >= CANDLES, f"{CANDLES} candles")
            daemon.end()
        finally:
            daemon.discard()
            browser.stop()
        site.stop()
        truth = read_truth(site.truth_path)

    key = daemon.key(SYMBOL)
    candles = {candle.ts_ms: candle for candle in stored(daemon.data_dir, key)}
    gaps = stored_gaps(daemon.data_dir, SYMBOL)
    due = {candle.ts_ms: candle for candle in truth.candles(SYMBOL, INTERVAL_MS, min(candles), max(candles) + 1)}
    learning = Trouble(0, _learnt_ms(truth), ("socket silent",))
    with Store.open(daemon.data_dir / "fluxcap.duckdb") as store:
        revisions = list(candles_from(store.reader().revisions(key, 0, 1_000).candles))
    standing = candles | {revision.ts_ms: revision for revision in revisions}

    assert list(judge(due, list(standing.values()), gaps, [learning], INTERVAL_MS)) == []
    lost = [ts_ms for ts_ms in due if ts_ms not in candles]
    assert all(any(touches(gap, ts_ms, INTERVAL_MS) for gap in gaps) for ts_ms in lost)
    whole = [candle for candle in standing.values() if wholly_known(candle)]
    print(f"{len(due)} due, {len(candles)} published, {len(whole)} whole, {len(revisions)} revised, gaps {gaps}")
    assert len(whole) >= CANDLES // 2
    assert list(verify(daemon.data_dir / "fluxcap.duckdb")) == []


def _sequence(daemon: DaemonProcess) -> int:
    return max((int(stream["latest_sequence"]) for stream in daemon.status()["streams"]), default=0)


def _learnt_ms(truth: Truth) -> float:
    """A socket knows its market after four pauses that are longer than it is used to; chance may bring more of them."""
    sent = truth.sent(SYMBOL)
    long = [b.ts_ms for a, b in pairwise(sent) if b.ts_ms - a.ts_ms >= INTERVAL_MS]
    return float(long[min(5, len(long) - 1)] + 1_000) if long else 0.0
