"""Makes the notebook of ``fluxcap.history`` anew and executes it, with its plot: ``make notebook``.

Its market is simulated and the same each time: two days of minutes with a gap, and candles that were corrected later.
``--check`` writes nothing, and fails where the cells, or what they print, are not what the notebook in the tree has.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from fluxcap.bridge.devserver.generator import GeneratedCandles
from fluxcap.bridge.server.sequencer import Sequencer
from fluxcap.bridge.store.store import Store
from fluxcap.schemas.types import Candle, CandleBatch, CandleFlags, Gap, StreamKey, candle_array, candles_from
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from nbformat import NotebookNode

NOTEBOOK = ROOT / "bridge" / "history.ipynb"
KEY = StreamKey("POCKETOPTION", "EURUSD_otc", "1m")
MINUTE = 60_000
BEGAN_MS = 1_795_219_200_000
"""2026-11-21T00:00Z."""
COUNT = 2 * 1_440
SILENT = range(1_440 + 605, 1_440 + 650)
"""Minutes without a feed; the first and the last were seen in part."""
CORRECTED = range(1_440 + 700, 1_440 + 712)
CORRECTED_AT_MS = BEGAN_MS + (1_440 + 730) * MINUTE

CELLS: tuple[tuple[str, str], ...] = (
    (
        "markdown",
        "# The past in a notebook\n\n"
        "`fluxcap.history` gives candles of the past from the running daemon, or from the stopped store. "
        "With yours, the cells run as they stand. The market here is simulated: two days of a made-up pair, with a "
        "gap, and with candles that were corrected later. `make notebook` executes these cells.",
    ),
    (
        "code",
        "import fluxcap\n\n"
        'minutes = fluxcap.history("EURUSD_otc", "1m", start="2026-11-22")\n'
        "print(len(minutes), 'minutes;', len(minutes.gaps), 'gap:', minutes.gaps[0].reason)\n"
        "minutes.df().head()",
    ),
    (
        "markdown",
        "Flags are columns. What was not seen whole can be left out; what was not seen at all is a gap "
        "beside the candles.",
    ),
    (
        "code",
        "whole = fluxcap.history('EURUSD_otc', '1m', start='2026-11-22', whole=True)\n"
        "print(len(minutes) - len(whole), 'candles were not seen whole')\n"
        "minutes.df().query('blind or revised')[['close', 'tick_count', 'blind', 'revised']].head()",
    ),
    (
        "markdown",
        "A timeframe that is not kept is folded from the minutes. Shaded: the time in which capture was blind.",
    ),
    (
        "code",
        "import matplotlib.pyplot as plt\n"
        "import pandas as pd\n\n"
        "found = fluxcap.history('EURUSD_otc', '15m', start='2026-11-22')\n"
        "bars = found.df()\n"
        "figure, axes = plt.subplots(figsize=(10, 4))\n"
        "axes.vlines(bars.index, bars.low, bars.high, color='grey', linewidth=1)\n"
        "colors = ['#26a69a' if up else '#ef5350' for up in bars.close >= bars.open]\n"
        "axes.vlines(bars.index, bars.open, bars.close, color=colors, linewidth=4)\n"
        "for gap in found.gaps:\n"
        "    begin, end = pd.to_datetime([gap.from_ms, gap.to_ms], unit='ms', utc=True)\n"
        "    axes.axvspan(begin, end, color='orange', alpha=0.3, label=gap.reason)\n"
        "axes.set_title(f'{found.key.symbol}, {found.key.interval}, folded from {found.folded_from}')\n"
        "axes.legend()\n"
        "plt.show()",
    ),
    (
        "markdown",
        "`as_of` gives the candles as a client had them at that time. Twelve of them were corrected at 12:10: a "
        "strategy that ran before has not seen that, and neither should its test.",
    ),
    (
        "code",
        "then = fluxcap.history('EURUSD_otc', start='2026-11-22T11:38', end='2026-11-22T11:54',\n"
        "                       as_of='2026-11-22T12:05').df()\n"
        "now = fluxcap.history('EURUSD_otc', start='2026-11-22T11:38', end='2026-11-22T11:54').df()\n"
        "print((then.close != now.close).sum(), 'of', len(now), 'closes were corrected since')\n"
        "pd.DataFrame({'then': then.close, 'now': now.close, 'revised': now.revised}).head(4)",
    ),
    (
        "markdown",
        "The same data for other libraries: `.arrow()`, `.pl()` and `.numpy()`, with the same columns.",
    ),
    (
        "code",
        "columns = minutes.numpy()\nprint({name: str(column.dtype) for name, column in columns.items()})",
    ),
)


def make_market(folder: Path) -> None:
    """A store with two days of minutes, each sealed two seconds after its end."""
    now_ms = BEGAN_MS

    def clock_ms() -> int:
        return now_ms

    walk = [_rounded(candle) for candle in candles_from(GeneratedCandles(KEY, 11, BEGAN_MS - MINUTE, 1.08).next(COUNT))]
    with Store.open(folder / "fluxcap.duckdb", clock_ms) as store:
        for hour in range(0, COUNT, 60):
            rows = [_seen(number, walk[number]) for number in range(hour, hour + 60) if number not in SILENT[1:-1]]
            now_ms = BEGAN_MS + (hour + 60) * MINUTE + 2_000
            if rows:
                first = store.watermarks()[KEY].latest_sequence + 1 if hour else 1
                store.commit([CandleBatch(KEY, first, candle_array(rows))])
            if hour <= SILENT[-1] < hour + 60:
                span = (BEGAN_MS + SILENT[0] * MINUTE + 20_000, BEGAN_MS + SILENT[-1] * MINUTE + 40_000)
                store.commit(gaps=[Gap(KEY.source_id, "", *span, "socket closed")])
            if hour <= CORRECTED[-1] < hour + 60:
                now_ms = CORRECTED_AT_MS
                better = {n - len(SILENT[1:-1]) + 1: walk[n] for n in CORRECTED}
                changed = [msgspec.structs.replace(c, high=c.high + 2e-4, close=c.high + 2e-4) for c in better.values()]
                sequencer = Sequencer(store.watermarks())
                store.commit(revisions=[sequencer.revise(KEY, list(better), changed)])


def _rounded(candle: Candle) -> Candle:
    return msgspec.structs.replace(candle, volume=100.0, tick_count=100)


def _seen(number: int, candle: Candle) -> Candle:
    return msgspec.structs.replace(candle, flags=CandleFlags.BLIND) if number in (SILENT[0], SILENT[-1]) else candle


def executed(data: Path) -> NotebookNode:
    """The cells with what they print, over the market in a folder."""
    import nbformat
    from nbclient import NotebookClient

    made = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    kinds = {"markdown": nbformat.v4.new_markdown_cell, "code": nbformat.v4.new_code_cell}
    made.cells = [kinds[kind](text, id=f"cell-{number}") for number, (kind, text) in enumerate(CELLS)]
    os.environ["FLUXCAP_DATA_DIR"] = str(data)
    for cell in made.cells:
        cell.source = cell.source.replace("", "").replace("source=DATA, ", "")
    NotebookClient(made, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(data)}}).execute()
    for cell in made.cells:
        cell.metadata.clear()
        for output in cell.get("outputs", ()):
            output.get("metadata", {}).clear()
    made.metadata.pop("language_info", None)
    return made


def printed(cells: Iterable[Any]) -> list[tuple[str, list[str]]]:
    """The text of each cell, and what it printed; pictures aside, whose bytes differ between machines."""
    return [
        (
            cell["source"],
            [
                output.get("text") or output.get("data", {}).get("text/plain", "")
                for output in cell.get("outputs", ())
                if "image/png" not in output.get("data", {})
            ],
        )
        for cell in cells
    ]


def main() -> int:
    """Write the notebook, or with ``--check`` compare it. Returns the exit code."""
    import nbformat

    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as folder:
        make_market(Path(folder))
        made = executed(Path(folder))
    if not check:
        nbformat.write(made, NOTEBOOK)
        print(f"wrote {NOTEBOOK.relative_to(ROOT)}")
        return 0
    same = printed(made.cells) == printed(nbformat.read(NOTEBOOK, as_version=4).cells)
    print("the notebook is as it is executed now" if same else "the notebook is stale: make notebook")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
