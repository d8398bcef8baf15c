"""What a daemon collects from a real Chromium, over rotation, switches of mode and of asset, against the site's truth.

One run serves all tests here: both assets and both kinds; ticks alone; one asset alone; both kinds again; both assets.
"""

from __future__ import annotations

import csv
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from fluxcap.capture.csvfiles.format import CsvKind
from fluxcap.capture.csvfiles.reader import collected_files, read_ticks
from fluxcap.capture.simulator import SimulatedSite, SiteConfig, Truth, read_truth
from fluxcap.capture.tools.verify import verify_folder
from fluxcap.schemas.types import Candle
from tests.support.browser.chromium import Chromium, chromium_executable
from tests.support.daemon.live_rig import DaemonProcess, stored
from tests.support.patience import PATIENCE_S, await_that

pytestmark = [pytest.mark.browser, pytest.mark.slow]

STEADY, LEAVING = "EURUSD_otc", "LBPUSD_otc"
TICKS_A_FILE, CANDLES_A_FILE = 7, 3
Row = tuple[int, float, float, float, float]


class Run:
    """What one run left behind.

    ``alone``: when the one asset was. From the newest tick of the other one that was known before the command to the
    instant at which the command to go back had been carried out, ms: what happened later can only have come later.
    ``ticks_only``: likewise, from the start of the newest candle, which may be on its way to the file yet.
    """

    def __init__(
        self, daemon: DaemonProcess, truth: Truth, alone: tuple[int, int], ticks_only: tuple[int, int]
    ) -> None:
        self.daemon = daemon
        self.folder = daemon.data_dir
        self.truth = truth
        self.alone = alone
        self.ticks_only = ticks_only

    def ticks(self, symbol: str) -> list[tuple[int, float]]:
        pages = [read_ticks(file) for file in collected_files(self.folder, CsvKind.TICK) if file.name.symbol == symbol]
        return [tick for page in pages for tick in zip(page.ts_ms.tolist(), page.price.tolist(), strict=True)]

    def candles(self, symbol: str) -> list[Row]:
        """Rows as (start ms, open, close, high, low)."""
        found: list[Row] = []
        for file in collected_files(self.folder, CsvKind.CANDLE):
            if file.name.symbol == symbol:
                with file.path.open(newline="") as opened:
                    found += [_row(*line) for line in list(csv.reader(opened))[1:]]
        return found


def _row(timestamp: str, *prices: str) -> Row:
    ts_ms = round(datetime.fromisoformat(timestamp).timestamp() * 1_000)
    begin, end, high, low = map(float, prices)
    return ts_ms, begin, end, high, low


def as_row(candle: Candle) -> Row:
    return candle.ts_ms, candle.open, candle.close, candle.high, candle.low


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    if chromium_executable() is None:
        pytest.skip("no Chromium on this machine; install chromium or set FLUXCAP_CHROMIUM")
    folder = tmp_path_factory.mktemp("collecting")
    with ExitStack() as stack:
        site = SiteConfig(assets=(STEADY, LEAVING), truth_path=folder / "truth.jsonl", rate_hz=4.0)
        url = stack.enter_context(SimulatedSite(site)).url
        browser = Chromium(folder / "chromium")
        stack.callback(browser.stop)
        daemon = DaemonProcess(
            folder / "daemon",
            browser.port,
            *("--platform-url", url.removeprefix("http://").strip("/"), "--focus", f"{STEADY},{LEAVING}"),
            *("--collect", "both", "--tick-chunk-size", str(TICKS_A_FILE), "--candle-chunk-size", str(CANDLES_A_FILE)),
        )
        stack.callback(daemon.discard)
        daemon.await_status(lambda seen: seen["chrome"] == "attached", "the attach")
        browser.open(url)
        yield _drive(daemon, folder)


def _drive(daemon: DaemonProcess, folder: Path) -> Run:
    more(daemon, candles=8)
    ticks_only = newest_candle_ms(daemon, STEADY)
    put(daemon, "collect-mode", {"mode": "tick"})
    more(daemon, ticks=20)
    alone = newest_tick_ms(daemon, LEAVING)
    put(daemon, "focus", {"mode": "lock", "symbols": [STEADY]})
    more(daemon, ticks=20)
    put(daemon, "collect-mode", {"mode": "both"})
    both_again = now_ms()
    more(daemon, candles=4)
    put(daemon, "focus", {"mode": "lock", "symbols": [STEADY, LEAVING]})
    together = now_ms()
    more(daemon, ticks=30)
    code, _ = daemon.end(signal.SIGTERM)
    assert code == 0, daemon.err[-2_000:]
    return Run(daemon, read_truth(folder / "truth.jsonl"), (alone, together), (ticks_only, both_again))


def newest_tick_ms(daemon: DaemonProcess, symbol: str) -> int:
    return next(asset["last_tick_ts_ms"] for asset in daemon.status()["assets"] if asset["symbol"] == symbol)


def newest_candle_ms(daemon: DaemonProcess, symbol: str) -> int:
    streams = {stream["stream"]: stream["latest_ts_ms"] for stream in daemon.status()["streams"]}
    return int(streams[str(daemon.key(symbol))])


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def put(daemon: DaemonProcess, what: str, body: object) -> None:
    httpx.put(
        f"{daemon.run_file().control}/api/{what}", json=body, timeout=PATIENCE_S, trust_env=False, verify=False
    ).raise_for_status()


def more(daemon: DaemonProcess, **lines: int) -> None:
    """Wait until so many lines more have been written."""
    before = daemon.status()["collect"]

    def written() -> bool:
        collect = daemon.status()["collect"]
        return all(collect[kind] >= before[kind] + count for kind, count in lines.items())

    await_that(written, f"{lines} more")


def test_every_collected_tick_is_the_truths(run: Run) -> None:
    for symbol in (STEADY, LEAVING):
        truth = {(tick.ts_ms, tick.price) for tick in run.truth.ticks(symbol)}
        assert len(run.ticks(symbol)) > 20
        assert [tick for tick in run.ticks(symbol) if tick not in truth] == []


def test_no_tick_is_missing_or_twice_while_an_asset_is_in_focus(run: Run) -> None:
    found = run.ticks(STEADY)
    expected = [
        (tick.ts_ms, tick.price) for tick in run.truth.ticks(STEADY) if found[0][0] <= tick.ts_ms <= found[-1][0]
    ]

    assert found == expected


def test_an_asset_out_of_focus_misses_just_that_time(run: Run) -> None:
    found = run.ticks(LEAVING)
    expected = [tick for tick in run.truth.ticks(LEAVING) if found[0][0] <= tick.ts_ms <= found[-1][0]]
    missing = [tick.ts_ms for tick in expected if (tick.ts_ms, tick.price) not in set(found)]

    assert found == sorted(set(found))
    assert missing
    assert run.alone[0] < missing[0] <= missing[-1] < run.alone[1]
    assert found[-1][0] > missing[-1]


def test_every_collected_candle_is_the_stores_and_the_truths(run: Run) -> None:
    for symbol in (STEADY, LEAVING):
        found = run.candles(symbol)
        kept = {candle.ts_ms: as_row(candle) for candle in stored(run.folder, run.daemon.key(symbol))}
        truth = {row.ts_ms: as_row(row) for row in run.truth.candles(symbol, 1_000, found[0][0], found[-1][0] + 1)}

        assert found == [kept[row[0]] for row in found]
        assert found == [truth[row[0]] for row in found]
        assert [row[0] for row in found] == sorted({row[0] for row in found})


def test_candles_are_left_out_just_while_the_mode_was_tick(run: Run) -> None:
    found = {row[0] for row in run.candles(STEADY)}
    left_out = [c.ts_ms for c in stored(run.folder, run.daemon.key(STEADY)) if c.ts_ms not in found]

    assert left_out
    assert run.ticks_only[0] <= left_out[0] <= left_out[-1] < run.ticks_only[1]
    assert left_out == [ts_ms for ts_ms in range(left_out[0], left_out[-1] + 1, 1_000) if ts_ms in set(left_out)]
    assert min(found) < left_out[0] < left_out[-1] < max(found)


def test_every_file_but_the_last_of_its_session_is_full(run: Run) -> None:
    sizes = {CsvKind.TICK: TICKS_A_FILE, CsvKind.CANDLE: CANDLES_A_FILE}
    files = collected_files(run.folder)
    last = {(file.name.kind, file.name.symbol, file.name.stamp): file.path for file in files}

    for file in files:
        lines = len(file.path.read_text().splitlines()) - 1
        if file.path in last.values():
            assert 1 <= lines <= sizes[file.name.kind]
        else:
            assert lines == sizes[file.name.kind]


def test_prices_below_a_ten_thousandth_are_spelled_out(run: Run) -> None:
    text = "".join(file.path.read_text() for file in collected_files(run.folder) if file.name.symbol == LEAVING)

    assert ",0.0000" in text
    assert "e-" not in text


def test_all_of_it_is_sound(run: Run) -> None:
    assert verify_folder(run.folder).findings == ()
