"""bridge/history/source.py: the daemon that holds a store is asked, else its file is read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fluxcap import history
from fluxcap.bridge.http.run_file import RunFile, write_run_file
from fluxcap.bridge.server.server import WireServer
from fluxcap.bridge.store.store import Store
from fluxcap.schemas.errors import ConfigError, StoreDamaged, StoreLocked, WireTimeout
from fluxcap.schemas.types import CandleBatch
from tests.support.paths import ROOT
from tests.support.patience import PATIENCE_S
from tests.support.wire.samples import ANY_PORT, EURUSD, candle_rows, candles

NOBODY = "tcp://127.0.0.1:1"


@pytest.fixture(autouse=True)
def without_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FLUX_CHUNK_REP", raising=False)
    monkeypatch.setenv("FLUXCAP_DATA_DIR", str(tmp_path))


def read(source: str | Path | None = None) -> tuple[int, str]:
    """How many candles there are, and who was asked."""
    found = history("EURUSD_otc", source=source, timeout=PATIENCE_S)
    return len(found), found.source


def stored(folder: Path, count: int = 3) -> Path:
    """A stopped store."""
    with Store.open(folder / "fluxcap.duckdb") as store:
        store.commit([CandleBatch(EURUSD, 1, candle_rows(1, count))])
    return folder / "fluxcap.duckdb"


@pytest.mark.costly
def test_a_folder_and_a_file_are_the_stopped_store(tmp_path: Path) -> None:
    path = stored(tmp_path)

    assert read(tmp_path) == read(str(path)) == read(path) == (3, str(path))


@pytest.mark.costly
def test_without_a_source_it_is_the_store_of_the_data_folder(tmp_path: Path) -> None:
    path = stored(tmp_path)

    assert read() == (3, str(path))


def test_a_store_that_a_daemon_holds_is_read_from_the_daemon(tmp_path: Path) -> None:
    with WireServer(tmp_path / "fluxcap.duckdb", ANY_PORT, ANY_PORT) as server:
        server.publish({EURUSD: candles(1, 4)})
        write_run_file(tmp_path, RunFile(os.getpid(), "http://127.0.0.1:1", NOBODY, server.rep_endpoint))

        assert read() == read(tmp_path) == read(tmp_path / "fluxcap.duckdb") == (4, server.rep_endpoint)


@pytest.mark.costly
def test_the_environment_names_a_server_before_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored(tmp_path)
    with WireServer(tmp_path / "other.duckdb", ANY_PORT, ANY_PORT) as server:
        server.publish({EURUSD: candles(1, 5)})
        monkeypatch.setenv("FLUX_CHUNK_REP", server.rep_endpoint)

        assert read() == (5, server.rep_endpoint)


@pytest.mark.costly
def test_a_store_that_another_program_holds_is_said(tmp_path: Path) -> None:
    path = stored(tmp_path)
    with Store.open(path), pytest.raises(StoreLocked):
        read(path)


def test_where_nobody_answers_and_no_store_is_both_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fluxcap.bridge.history.source.endpoints", lambda: ("", NOBODY))
    with pytest.raises(ConfigError, match=rf"^No fluxcap answers at {NOBODY}, and there is no store in .*as source\.$"):
        history("EURUSD_otc", timeout=0.2)
    with pytest.raises(WireTimeout):
        history("EURUSD_otc", source=NOBODY, timeout=0.2)


def test_without_a_store_the_usual_address_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with WireServer(tmp_path / "other.duckdb", ANY_PORT, ANY_PORT) as server:
        server.publish({EURUSD: candles(1, 2)})
        monkeypatch.setattr("fluxcap.bridge.history.source.endpoints", lambda: ("", server.rep_endpoint))

        assert read() == (2, server.rep_endpoint)


@pytest.mark.parametrize(
    ("source", "said"),
    [("nowhere", "There is no store at nowhere"), ("nats://a:1", r"reads a daemon \(tcp://…\) or a data folder, not")],
)
def test_what_is_no_source_is_refused(source: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read(source)


def test_what_is_no_store_is_refused_and_let_go(tmp_path: Path) -> None:
    (tmp_path / "fluxcap.duckdb").write_bytes(b"no store" * 2_000)

    for _ in range(2):
        with pytest.raises(StoreDamaged):
            read(tmp_path)


@pytest.mark.costly
def test_over_the_wire_neither_duckdb_nor_a_form_is_loaded(tmp_path: Path) -> None:
    with WireServer(tmp_path / "s.duckdb", ANY_PORT, ANY_PORT) as server:
        server.publish({EURUSD: candles(1, 12)})
        code = (
            "import sys, fluxcap\n"
            f"found = fluxcap.history('EURUSD_otc', '5m', source={server.rep_endpoint!r})\n"
            "print(len(found), *sorted({'duckdb', 'pandas', 'polars', 'pyarrow', 'httpx'} & set(sys.modules)))"
        )

        run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert run.stdout.split() == ["1"]
