"""What ``import fluxcap`` offers, and what it must not need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import fluxcap
import fluxcap.bridge.client
from fluxcap.bridge.server.server import WireServer
from fluxcap.schemas.types import Candle, StreamKey
from tests.support.paths import ROOT

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
    "History",
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
    "history",
    "list_streams",
    "load_client",
}


def test_the_public_names_are_these() -> None:
    assert set(fluxcap.__all__) == PUBLIC | {"__version__"}
    assert all(hasattr(fluxcap, name) for name in PUBLIC)


def test_a_public_name_is_loaded_on_its_first_use() -> None:
    code = "import sys, fluxcap; print(len([name for name in sys.modules if name.startswith('fluxcap.')]))"

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)

    assert run.stdout.strip() == "0"


def test_a_name_that_is_none_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = fluxcap.Nothing


def test_every_error_is_at_hand() -> None:
    from fluxcap import errors
    from fluxcap.schemas import errors as defined

    assert set(errors.__all__) == {name for name in vars(defined) if isinstance(getattr(defined, name), type)}


@pytest.mark.costly
def test_the_example_of_its_docstring_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        line[4:] for line in (fluxcap.bridge.client.__doc__ or "").splitlines() if line.startswith((">>> ", "... "))
    ]
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


def test_every_public_name_is_written_out_for_type_checkers():
    assert set(fluxcap.__all__) == {*fluxcap._PUBLIC, "__version__"}
    assert all(hasattr(fluxcap, name) for name in fluxcap.__all__)
