"""The computer's wall clock is stepped while capture runs: not one candle changes, and no gap is told.

A daylight-saving step of the platform, a clock that was set by hand, a time server that corrects a wrong one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from fluxcap.bridge.export.export import effective_gaps
from fluxcap.capture.chrome.connection import Connection
from fluxcap.capture.daemon.daemon import Daemon
from fluxcap.capture.runtime.settings import Settings
from fluxcap.capture.simulator import SimulatedSite, SiteConfig, read_truth
from fluxcap.schemas.types import StreamKey, candles_from
from tests.support.browser.chromium import Chromium
from tests.support.daemon.live_rig import differences, expectation_from_page_load
from tests.support.patience import await_that

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SYMBOL = "EURUSD_otc"
KEY = StreamKey("STEPPED", SYMBOL, "1s")
STEPS_S = (3_600, -7_200, 90, -5)
STAY_MS = 3_000


class SteppedClock:
    """A wall clock that somebody changes."""

    def __init__(self) -> None:
        self.off_ns = 0

    def __call__(self) -> int:
        return time.time_ns() + self.off_ns


def test_a_stepped_wall_clock_changes_no_candle(chromium: Callable[..., Chromium], tmp_path: Path):
    clock = SteppedClock()
    config = SiteConfig(assets=(SYMBOL,), rate_hz=10, truth_path=tmp_path / "truth.jsonl")
    with SimulatedSite(config) as site:
        browser = chromium()
        host = site.url.removeprefix("http://").strip("/")
        settings = Settings(
            chrome=f"127.0.0.1:{browser.port}", platform_url=(host,), data_dir=tmp_path / "data", focus=(SYMBOL,),
            interval=KEY.interval, source=KEY.source_id, pub="tcp://127.0.0.1:0", rep="tcp://127.0.0.1:0",
            web=False, control_port=0,
        )  # fmt: skip
        with Daemon(settings, connect=partial(Connection, wall_ns=clock)) as daemon:
            await_that(lambda: daemon.pipeline.attached, "the attach")
            opened_ms = time.time() * 1_000
            browser.open(site.url)

            def reached(ts_ms: float) -> bool:
                status = daemon.server.status().get(KEY)
                return status is not None and status.latest_ts_ms >= ts_ms

            await_that(lambda: reached(opened_ms + STAY_MS), "candles")
            for step_s in STEPS_S:
                clock.off_ns += step_s * 1_000_000_000
                stepped_ms = time.time() * 1_000
                await_that(lambda ms=stepped_ms: reached(ms + STAY_MS), f"candles after {step_s} s")
            assert daemon.market.clock.offset_ms == 7_200_000
            reader = daemon.server.store.reader()
            found = list(candles_from(reader.page(KEY, 0, None, 100_000).candles))
            gaps = effective_gaps(reader.gaps(KEY.source_id, SYMBOL))

    truth = expectation_from_page_load(read_truth(site.truth_path), SYMBOL, KEY.interval_ms, opened_ms)
    assert differences(truth.candles(found[-1].ts_ms + 1), found) == []
    assert gaps == []
