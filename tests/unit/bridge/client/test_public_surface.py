"""What bridge.client offers, and what it must not need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import bridge.client
from bridge.server import WireServer
from schemas.types import Candle, StreamKey

PUBLIC = {
    "Candle",
    "CandleFlags",
    "Candles",
    "CaughtUp",
    "ClientCurve",
    "Cursor",
    "Event",
    "Forming",
    "Gap",
    "Health",
    "HealthChanged",
    "HealthState",
    "LiveClient",
    "Revision",
    "SlowConsumer",
    "StartFrom",
    "StoreReplaced",
    "StreamKey",
    "StreamStatus",
    "Ticks",
    "Via",
    "backfill",
    "endpoints",
    "export_candles",
    "fetch_status",
    "list_streams",
    "load_client",
}


def test_the_public_names_are_these() -> None:
    assert set(bridge.client.__all__) == PUBLIC
    assert all(hasattr(bridge.client, name) for name in PUBLIC)


def test_it_imports_without_the_capturing_side() -> None:
    code = (
        "import sys, bridge.client, bridge.client.tail\n"
        "print([name for name in ('capture', 'selenium', 'nicegui', 'fastapi', 'uvicorn', 'websocket', 'apscheduler')"
        " if name in sys.modules])"
    )

    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True
    )

    assert run.stdout.strip() == "[]"


def test_the_example_of_its_docstring_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [line[4:] for line in (bridge.client.__doc__ or "").splitlines() if line.startswith((">>> ", "... "))]
    code = "\n".join(lines).replace("timeout=5", "timeout=1")
    key = StreamKey("SIM", "EURUSD", "1s")
    with WireServer(tmp_path / "s.duckdb", "tcp://127.0.0.1:0", "tcp://127.0.0.1:0") as server:
        server.publish({key: [Candle(1_000 * n, 1.0, 2.0, 0.5, 1.5) for n in range(1, 4)]})
        monkeypatch.setenv("FLUX_LIVE_PUB", server.pub_endpoint)
        monkeypatch.setenv("FLUX_CHUNK_REP", server.rep_endpoint)
        monkeypatch.chdir(tmp_path)

        exec(compile(code, "docstring", "exec"), {})

    printed = capsys.readouterr().out
    assert "1 [1.5 1.5 1.5]" in printed
    assert printed.splitlines()[-1] == "3"
    assert (tmp_path / "eurusd.parquet").exists()
