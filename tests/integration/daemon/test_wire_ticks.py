"""Ticks on the wire, from a real page to a socket: what was asked for is the market's truth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import zmq

from fluxcap.capture.simulator import SimulatedSite, SiteConfig, read_truth
from fluxcap.schemas.codec import decode
from fluxcap.schemas.types import StreamKey, TickBatch
from tests.support.browser.chromium import Chromium
from tests.support.daemon.live_rig import SOURCE, DaemonProcess
from tests.support.patience import PATIENCE_MS

pytestmark = [pytest.mark.browser, pytest.mark.slow]

FOCUSED, OTHER = "EURUSD_otc", "GBPUSD_otc"
TICKS = 20


def test_with_publish_ticks_every_tick_of_a_focused_asset_goes_out_in_order(
    tmp_path: Path, chromium: Callable[..., Chromium]
):
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    feed = context.socket(zmq.SUB)
    feed.setsockopt(zmq.SUBSCRIBE, b"ticks.")
    feed.setsockopt(zmq.RCVTIMEO, PATIENCE_MS)
    truth_path = tmp_path / "truth.jsonl"
    with SimulatedSite(SiteConfig(assets=(FOCUSED, OTHER), truth_path=truth_path)) as site:
        browser = chromium()
        host = site.url.removeprefix("http://").strip("/")
        daemon = DaemonProcess(
            tmp_path / "daemon", browser.port, "--platform-url", host, "--focus", FOCUSED, "--publish-ticks"
        )
        try:
            feed.connect(daemon.run_file().pub)
            browser.open(site.url)
            key = StreamKey(SOURCE, FOCUSED, "1s")
            heard: list[tuple[int, float]] = []
            next_sequence = 0
            while len(heard) < TICKS:
                topic, payload = feed.recv_multipart()
                batch = decode(payload).message
                assert isinstance(batch, TickBatch)
                assert (topic, batch.key) == (key.topic("ticks"), key)
                assert next_sequence in (0, batch.start_sequence)
                next_sequence = batch.start_sequence + len(batch.price)
                heard += zip(batch.ts_ms.tolist(), batch.price.tolist(), strict=True)
        finally:
            daemon.end()
            feed.close(linger=0)
            context.term()

    market = [(tick.ts_ms, tick.price) for tick in read_truth(truth_path).ticks(FOCUSED)]
    begin = market.index(heard[0])
    assert market[begin : begin + len(heard)] == heard
