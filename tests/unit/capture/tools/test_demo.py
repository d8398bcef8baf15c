"""The demo's comparison: what counts as a difference, and what the exit code says."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from fluxcap.bridge.client.cache import Append, CandleCache
from fluxcap.bridge.client.events import Candles
from fluxcap.bridge.client.health import Health, HealthState
from fluxcap.bridge.client.latest import LatestCandles
from fluxcap.bridge.store.store import Store
from fluxcap.capture.simulator.truth import Truth, TruthTick
from fluxcap.capture.tools import demo
from fluxcap.capture.tools.demo import StreamResult
from fluxcap.schemas.errors import FluxcapError
from fluxcap.schemas.types import Candle, CandleBatch, CandleFlags, StreamKey, candle_array

pytestmark = pytest.mark.costly

KEY = StreamKey("DEMO", "EURUSD_otc", "1s")


def truth() -> Truth:
    prices = (1.0, 2.0, 0.5, 1.5)
    ticks = [
        TruthTick(KEY.symbol, 0, second * 1_000 + number, price, 1)
        for second in range(1, 4)
        for number, price in enumerate(prices)
    ]
    return Truth(ticks, [])


WHOLE = truth().candles(KEY.symbol, 1_000, 0, 10_000)


def keep(folder: Path, stored: list[Candle], kept: list[Candle]) -> None:
    with Store.open(folder / "data" / "fluxcap.duckdb") as store:
        if stored:
            store.commit([CandleBatch(KEY, 1, candle_array(stored))])
    cache = CandleCache(folder / "client")
    if kept:
        cache.commit([Append(KEY, 1, candle_array(kept))], {})
    cache.close()


def test_equal_in_all_three_is_no_difference(tmp_path: Path):
    keep(tmp_path, WHOLE, WHOLE)

    result = demo._compare(tmp_path, KEY, truth())

    assert (result.truth, result.store, result.client, result.differences) == (3, 3, 3, ())
    assert result.ticks_sent == result.ticks_counted == 12


def test_a_wrong_price_in_the_store_is_a_difference(tmp_path: Path):
    wrong = [*WHOLE[:2], msgspec.structs.replace(WHOLE[2], close=1.25)]
    keep(tmp_path, wrong, wrong)

    [difference] = demo._compare(tmp_path, KEY, truth()).differences

    assert difference.startswith("store 3000: expected")


def test_a_hole_in_the_store_is_a_difference(tmp_path: Path):
    keep(tmp_path, [WHOLE[0], WHOLE[2]], [WHOLE[0], WHOLE[2]])

    assert len(demo._compare(tmp_path, KEY, truth()).differences) == 1


def test_a_candle_that_the_client_lacks_is_a_difference(tmp_path: Path):
    keep(tmp_path, WHOLE, WHOLE[:2])

    [difference] = demo._compare(tmp_path, KEY, truth()).differences

    assert difference.startswith("client 3000:")


def test_a_flag_that_the_client_lacks_is_a_difference(tmp_path: Path):
    flagged = [msgspec.structs.replace(candle, flags=int(CandleFlags.FILLED)) for candle in WHOLE]
    keep(tmp_path, flagged, WHOLE)

    assert len(demo._compare(tmp_path, KEY, truth()).differences) == 3


def test_nothing_stored_is_a_difference(tmp_path: Path):
    keep(tmp_path, [], [])

    assert demo._compare(tmp_path, KEY, truth()).differences == ("nothing was stored",)


@pytest.mark.parametrize(("differences", "code"), [((), 0), (("store 1: …",), 1)])
def test_the_exit_code_is_0_only_without_a_difference(differences: tuple[str, ...], code: int):
    result = StreamResult(KEY.symbol, 12, 12, 3, 3, 3, differences)

    assert demo._report([result], Console(quiet=True)) == code


def test_a_part_that_ends_at_its_start_is_told_with_its_last_words(tmp_path: Path):
    log = tmp_path / "part.log"
    log.write_text("it would not")
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()

    with pytest.raises(FluxcapError, match="did not start: it would not"):
        demo._wait_for(lambda: None, process, log)


@pytest.mark.parametrize("width", [80, demo.WIDE])
def test_no_figure_is_cut_off_on_an_ordinary_terminal(width: int) -> None:
    class Receiving:
        def health(self, key: StreamKey) -> Health:
            return Health(HealthState.RECEIVING, age_ns=300_000_000)

    key = StreamKey("DEMO", "EURUSD_otc", "5s")
    latest = LatestCandles()
    candles = candle_array([Candle(0, 1.16123, 1.16234, 1.16012, 1.16111, 11.0, 11)])
    latest.on_event(Candles(key, 1_234, candles, False))
    console = Console(width=width, record=True, file=io.StringIO())

    console.print(demo._stream_table(Receiving(), [key], latest, is_wide=width >= demo.WIDE))

    text = console.export_text()
    assert "…" not in text
    assert len(text.splitlines()) == 2
    assert ("1.16234" in text) == (width == demo.WIDE)
    for words in ("EURUSD_otc", "Live, 0.3s ago", "1234", "1.16111"):
        assert words in text


@pytest.mark.parametrize(("seconds", "outcome"), [(None, ""), (60, "interrupted")])
def test_ctrl_c_is_the_end_of_a_demo_that_was_to_stay_and_an_interruption_of_any_other(
    seconds: int | None, outcome: str
):
    quiet = Console(quiet=True)

    assert demo._watch(Quiet(), [], seconds, quiet, [2], Quiet()) == outcome  # type: ignore[arg-type]


class Quiet:
    """A client and a daemon of which nothing is asked."""
