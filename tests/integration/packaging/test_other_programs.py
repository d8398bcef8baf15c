"""Our exports read back by the programs they are for, and the recipes of the document as they stand.

Each program is in an environment of its own under ``.tools``, which `make tools` makes; where it is not, the test is
skipped.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from fluxcap.bridge.store.store import Store
from fluxcap.capture.cli.app import run_cli
from fluxcap.schemas.types import Candle, CandleBatch, StreamKey, candle_array
from tests.support.documents import CLIENTS, block
from tests.support.paths import ROOT

KEY = StreamKey("POCKETOPTION", "EURUSD_otc", "1m")
T0_MS = 1_795_305_240_000


def candle(minute: int) -> Candle:
    opened, close = (1.17 + 0.0001 * ((minute * 7 + step) % 11) for step in (3, 5))
    return Candle(T0_MS + minute * 60_000, opened, max(opened, close) + 0.0002, min(opened, close), close, 14.0, 14)


CANDLES = [candle(minute) for minute in range(40)]
RECIPES = {
    "freqtrade": "load_pair_history",
    "backtrader": "bt.Cerebro",
    "vectorbt": "vbt.MA",
    "nautilus_trader": "BarType.from_str",
}


def python_of(program: str) -> str:
    """The interpreter that has a program; skips the test where there is none."""
    python = ROOT / ".tools" / program / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{program} is not installed: `make tools` installs it")
    return str(python)


def run(program: str, code: str, folder: Path) -> str:
    result = subprocess.run(
        [python_of(program), "-W", "ignore", "-c", code],
        cwd=folder,
        env={**os.environ, "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-2_000:]
    return result.stdout


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with forty candles."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    with Store.open(tmp_path / "data" / "fluxcap.duckdb") as store:
        store.commit([CandleBatch(KEY, 1, candle_array(CANDLES))])
    return tmp_path


def export(form: str | None, out: str) -> None:
    options = ["--format", form] if form else []
    assert run_cli(["export", "candles", "--symbol", "EURUSD_otc", "--data-dir", "data", "--out", out, *options]) == 0


@pytest.mark.parametrize("program", RECIPES)
def test_a_recipe_runs_as_it_stands_and_has_every_candle(program: str, folder: Path) -> None:
    python_of(program)
    recipe = block(CLIENTS, "python", RECIPES[program])
    export("freqtrade", "data/EUR_USD-1m.json")
    export(None, "eurusd.csv")

    told = run(program, recipe, folder).split()

    assert len([line for line in recipe.splitlines() if line.strip()]) <= 10
    assert told[0] == str(len(CANDLES))
    assert float(told[1]) == pytest.approx(CANDLES[-1].close, abs=1e-9)
    if program == "nautilus_trader":
        assert int(told[2]) == (CANDLES[-1].ts_ms + 60_000) * 1_000_000


def test_freqtrade_reads_every_candle(folder: Path) -> None:
    python_of("freqtrade")
    export("freqtrade", "data/EUR_USD-1m.json")
    code = block(CLIENTS, "python", "load_pair_history").rpartition("print")[0]
    code += "candles['date'] = [int(date.timestamp() * 1000) for date in candles['date']]\n"
    code += "import json; print(json.dumps(candles.values.tolist()))"

    told = json.loads(run("freqtrade", code, folder))

    # Its own reader of JSON is a last digit off in a double.
    assert [row[0] for row in told] == [c.ts_ms for c in CANDLES]
    prices = [[c.open, c.high, c.low, c.close, c.volume] for c in CANDLES]
    assert [row[1:] for row in told] == [pytest.approx(row, abs=1e-12) for row in prices]


def test_nautilus_reads_every_bar_of_the_catalog(folder: Path) -> None:
    python_of("nautilus_trader")
    write = "import sys; from fluxcap.capture.cli.app import main; sys.argv[1:] = "
    write += str(["export", "candles", "--data-dir", "data", "--format", "nautilus", "--out", "catalog"]) + "; main()"
    read = (
        "import json; from nautilus_trader.persistence.catalog import ParquetDataCatalog\n"
        "bars = ParquetDataCatalog('catalog').bars(['EURUSD_otc.POCKETOPTION-1-MINUTE-LAST-EXTERNAL'])\n"
        "print(json.dumps([[b.ts_event, b.ts_init, str(b.open), str(b.high), str(b.low), str(b.close), str(b.volume)]"
        " for b in bars]))"
    )

    run("nautilus_trader", write, folder)
    told = json.loads(run("nautilus_trader", read, folder))

    closes = [(c.ts_ms + 60_000) * 1_000_000 for c in CANDLES]
    assert [row[:2] for row in told] == [[close, close] for close in closes]
    prices = [[f"{value:.5f}" for value in (c.open, c.high, c.low, c.close)] for c in CANDLES]
    digits = len(told[0][2].partition(".")[2])
    assert [[f"{float(text):.5f}" for text in row[2:6]] for row in told] == prices
    assert digits <= 5
    assert [row[6] for row in told] == ["14"] * len(CANDLES)


def test_each_recipe_stands_in_the_document_once() -> None:
    text = CLIENTS.read_text()

    assert all(len(re.findall(re.escape(sign), text)) == 1 for sign in ("bt.Cerebro()", "vbt.MA.run(close, 2)"))
