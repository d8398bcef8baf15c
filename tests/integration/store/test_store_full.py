"""A disk that fills: nothing half stored, nothing lost, and on again when there is space."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxcap.bridge.server.server import WireServer
from fluxcap.bridge.store.store import Store
from fluxcap.bridge.store.verify import verify
from fluxcap.schemas.codec import decode
from fluxcap.schemas.errors import StoreFull
from tests.support.paths import ROOT
from tests.support.patience import PATIENCE_S, await_that
from tests.support.small_disk import small_disk
from tests.support.wire.samples import ANY_PORT, EURUSD, candle_rows, subscribed


def test_a_store_survives_a_write_that_cannot_be_finished(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    command = [sys.executable, "-m", "tests.integration.store.full_disk", str(path)]

    said = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=PATIENCE_S).stdout)

    assert said["outcome"] == said["again"] == said["checkpoint"] == "StoreFull"
    assert said["readable"] == 100
    assert said["retried"] == said["tidied"] == "done"
    assert said["held"] == said["committed"] + 500
    assert verify(path) == []


@pytest.fixture
def disk() -> Iterator[Path]:
    """A file system of 12 MB."""
    with small_disk("12m") as found:
        if found is None:
            pytest.skip("mounting a small file system needs root")
        yield found


def fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(65_536))


def test_a_server_publishes_nothing_on_a_full_disk_and_goes_on_after(disk: Path) -> None:
    path = disk / "store.duckdb"
    with (
        Store.open(path) as store,
        WireServer(store, ANY_PORT, ANY_PORT) as server,
        subscribed(server.pub_endpoint) as heard,
    ):
        await_that(lambda: server.is_forming_heard, "the subscription")
        server.publish({EURUSD: candle_rows(1, 10)})
        ballast = disk / "ballast"
        fill(ballast)

        for _ in range(3):
            with pytest.raises(StoreFull):
                server.publish({EURUSD: candle_rows(11, 10)})
        assert server.watermark(EURUSD).latest_sequence == 10
        assert server.counters["sent_candles"] == 1

        ballast.unlink()
        server.publish({EURUSD: candle_rows(11, 10)})
        assert server.watermark(EURUSD).latest_sequence == 20
        assert [decode(heard.recv_multipart()[1]).message.start_sequence for _ in range(2)] == [1, 11]
    assert verify(path) == []


def test_a_disk_filled_to_the_last_byte_costs_no_candle(disk: Path) -> None:
    path = disk / "store.duckdb"
    committed = 0
    with Store.open(path, reserve_bytes=0) as store, WireServer(store, ANY_PORT, ANY_PORT) as server:
        with contextlib.suppress(StoreFull):
            while committed < 1_000_000:
                committed = server.publish({EURUSD: candle_rows(committed + 1, 1_000)})[0].next_sequence - 1
        assert committed < 1_000_000
        assert server.watermark(EURUSD).latest_sequence == committed
        assert len(store.reader().page(EURUSD, committed - 100).candles) == 100
    assert verify(path) == []
    with Store.open(path) as store:
        assert store.watermarks()[EURUSD].latest_sequence == committed
