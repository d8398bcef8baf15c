"""A client whose disk fills: it says so, waits, and goes on with every candle when there is room again."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fluxcap import Candles, CaughtUp, Event, HealthState, LiveClient
from fluxcap.bridge.server.server import WireServer
from fluxcap.bridge.store.disk_space import DiskSpaceGuard
from tests.support.paths import ROOT
from tests.support.patience import PATIENCE_S
from tests.support.wire.samples import ANY_PORT, EURUSD, candles


@pytest.mark.parametrize("tidy_rows", [1_000_000_000, 1_200], ids=["its log alone", "while it is tidied"])
def test_a_cache_survives_a_write_that_cannot_be_finished(tmp_path: Path, tidy_rows: int) -> None:
    command = [sys.executable, "-m", "tests.integration.client.full_client_disk", str(tmp_path), str(tidy_rows)]

    said = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=PATIENCE_S).stdout)

    assert said["outcome"] == said["again"] == "StoreFull"
    assert said["retried"] == "done"
    assert said["held"] == said["reopened"] == said["cursor"] == said["stored"] + 500
    assert said["dense"]


def test_a_live_client_waits_for_room_and_then_has_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "client"
    full = False
    real = DiskSpaceGuard._free_bytes
    monkeypatch.setattr(
        DiskSpaceGuard, "_free_bytes", lambda guard: 0 if full and guard._path.parent == folder else real(guard)
    )
    seen: list[Event] = []
    with WireServer(tmp_path / "server.duckdb", ANY_PORT, ANY_PORT) as server:
        server.publish({EURUSD: candles(1, 10)})
        with LiveClient(
            server.pub_endpoint, server.rep_endpoint, folder, streams=[EURUSD], on_event=seen.append
        ) as client:

            def until(holds: object, what: str) -> None:
                end = time.monotonic() + PATIENCE_S
                while not holds():  # type: ignore[operator]
                    assert time.monotonic() < end, what
                    server.heartbeat(0)
                    time.sleep(0.05)

            until(lambda: any(isinstance(event, CaughtUp) for event in seen), "the history")
            full = True
            for minute in range(11, 16):
                server.publish({EURUSD: candles(minute, 1)})
            until(lambda: "free for" in client.health(EURUSD).reason, "the trouble")
            stalled = client.health(EURUSD).state
            stored_when_full = client.cursor(EURUSD)
            full = False
            until(lambda: numbers(seen)[-1] == 15, "the rest")
            until(lambda: "free for" not in client.health(EURUSD).reason, "the end of the trouble")
            kept, _ = client.candles(EURUSD)

    assert stalled is HealthState.STALLED
    assert stored_when_full is not None
    assert stored_when_full.latest_sequence == 10
    assert numbers(seen) == kept.tolist() == list(range(1, 16))


def numbers(events: list[Event]) -> list[int]:
    return [n for e in events if isinstance(e, Candles) for n in range(e.start_sequence, e.end_sequence + 1)]
