"""A collection from begin to end, on a page and a feed that a script plays: what is tried, noted and put back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from fluxcap.bridge.server.history_import import ImportResult
from fluxcap.capture.collect.collection import Collection, CollectOptions
from fluxcap.capture.collect.files import UNFINISHED, CollectedFiles
from fluxcap.capture.collect.page import Favourite
from fluxcap.capture.collect.plan import TIMEFRAMES, AssetSelection, parse_timeframes
from fluxcap.capture.platforms.base import ActiveAsset, Asset, History
from fluxcap.schemas.errors import BrowserGone, FluxcapError, PageUnavailable, StoreLocked, UnknownAsset
from fluxcap.schemas.types import Candle

SYMBOLS = {"EUR/USD OTC": "EURUSD_otc", "Gold": "XAUUSD", "American Express OTC": "AXP_otc"}
T0 = 1_700_006_400_000
PERIODS = {one.menu: one.period_ms for one in TIMEFRAMES}
OFFSET = 7_200_000


class Stage:
    """Page and feed in one: a click is answered by a history, unless the script says otherwise."""

    def __init__(self, label: str = "Gold", menu: str = "M5") -> None:
        self.label, self.menu = label, menu
        self.clicks: list[str] = []
        self.requested_asset: ActiveAsset | None = None
        self.assets: tuple[Asset, ...] = ()
        self.clock_basis = "earlier runs and this computer's clock"
        self.silent: Callable[[str, str], bool] = lambda label, menu: False
        self.fail: dict[str, list[Exception]] = {}
        self.only_changes = False
        self._histories: list[History] = []

    # --- the page

    def favourites(self) -> list[Favourite]:
        return [Favourite(label, 92, label == self.label) for label in SYMBOLS]

    def active_asset(self) -> str | None:
        return self.label

    def choose_asset(self, label: str) -> None:
        self._click(label, label, self.menu)

    def choose_timeframe(self, timeframe: str) -> None:
        self._click(timeframe, self.label, timeframe)

    def _click(self, what: str, label: str, menu: str) -> None:
        self.clicks.append(what)
        if self.fail.get(what):
            raise self.fail[what].pop(0)
        changed = (label, menu) != (self.label, self.menu)
        self.label, self.menu = label, menu
        if self.only_changes and not changed:
            return
        self.requested_asset = ActiveAsset(SYMBOLS[label], PERIODS[menu])
        if not self.silent(label, menu):
            rows = tuple(Candle(T0 + OFFSET + n * PERIODS[menu], 1.0, 2.0, 0.5, 1.5) for n in range(5))
            self._histories.append(History(SYMBOLS[label], PERIODS[menu], (), rows))

    # --- the feed

    def reset(self) -> None:
        self._histories.clear()
        self.requested_asset = None

    def await_history(self, fits: Callable[[History, str | None], bool], timeout_s: float) -> History | None:
        asked = self.requested_asset.symbol if self.requested_asset else None
        return next((history for history in self._histories if fits(history, asked)), None)

    def await_offset_ms(self, timeout_s: float) -> int:
        return OFFSET

    def now_ms(self) -> int:
        return T0 * 2


class Shelf:
    """Where candles go; ``error`` is raised instead."""

    def __init__(self, error: FluxcapError | None = None) -> None:
        self.error = error
        self.taken: list[tuple[str, str, int]] = []

    def put(self, symbol: str, interval: str, candles: Sequence[Candle]) -> ImportResult | None:
        if self.error is not None:
            raise self.error
        self.taken.append((symbol, interval, candles[0].ts_ms))
        return None if interval == "1m" else ImportResult(len(candles), 0)


def collection(
    folder: Path, stage: Stage, assets: str = "", timeframes: str = "1h,5m", shelf: Shelf | None = None
) -> Collection:
    choice = AssetSelection(tuple(assets.split(",")) if assets else ())
    order = CollectOptions(choice, parse_timeframes(timeframes), timeout_s=1, attempts=3)
    return Collection(order, stage, stage, CollectedFiles(folder), shelf or Shelf())


def test_every_asset_and_timeframe_is_saved_and_put_into_the_store_in_utc(tmp_path: Path):
    shelf = Shelf()

    summary = collection(tmp_path, Stage(), shelf=shelf).run()

    pairs = [(symbol, interval) for symbol in SYMBOLS.values() for interval in ("1h", "5m")]
    assert [(saved.asset, saved.timeframe) for saved in summary.saved] == pairs
    assert shelf.taken == [(*pair, T0) for pair in pairs]
    assert (summary.failed, summary.page_error, summary.store_error) == ([], "", "")
    assert summary.clock_basis == "earlier runs and this computer's clock"
    assert all(Path(saved.path).is_file() for saved in summary.saved)
    assert not list(tmp_path.rglob(UNFINISHED))


@pytest.mark.parametrize("only_changes", [False, True])
@pytest.mark.parametrize("label", SYMBOLS)
def test_the_page_shows_again_what_it_showed(tmp_path: Path, label: str, only_changes: bool):
    stage = Stage(label, "M15")
    stage.only_changes = only_changes

    summary = collection(tmp_path, stage).run()

    assert (stage.label, stage.menu) == (label, "M15")
    assert (len(summary.saved), summary.failed, summary.page_error) == (6, [], "")


def test_a_timeframe_that_could_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stage = Stage("Gold", "M15")
    stage.only_changes = True
    monkeypatch.setattr(stage, "favourites", lambda: [Favourite("Gold", 92, True)])

    summary = collection(tmp_path, stage).run()

    assert summary.page_error == "The page was left turned: which timeframe it showed could not be read."
    assert (len(summary.saved), summary.failed) == (2, [])


@pytest.mark.parametrize("only_changes", [False, True])
@pytest.mark.parametrize("label", SYMBOLS)
@pytest.mark.parametrize("turns", range(1, 9))
def test_the_page_shows_again_what_it_showed_whenever_the_collection_is_interrupted(
    tmp_path: Path, label: str, turns: int, only_changes: bool
):
    stage = Stage(label, "M15")
    stage.only_changes = only_changes
    left = iter([*[False] * (turns - 1), True])
    await_history = stage.await_history

    def interrupted(fits: Callable[[History, str | None], bool], timeout_s: float) -> History | None:
        if next(left, False):
            raise KeyboardInterrupt  # the page is turned already, and its history is on its way
        return await_history(fits, timeout_s)

    stage.await_history = interrupted  # type: ignore[method-assign]
    running = collection(tmp_path, stage)

    with pytest.raises(KeyboardInterrupt):
        running.run()

    assert (stage.label, stage.menu) == (label, "M15")


def test_the_timeframe_that_comes_with_the_asset_is_not_chosen_again(tmp_path: Path):
    stage = Stage("Gold", "M5")

    collection(tmp_path, stage, "gold", "5m").run()

    assert stage.clicks == ["Gold"]


def test_a_page_that_says_nothing_of_what_it_shows_already_is_turned_away_first(tmp_path: Path):
    stage = Stage("Gold", "M5")
    stage.only_changes = True

    summary = collection(tmp_path, stage, "gold", "5m").run()

    assert [saved.timeframe for saved in summary.saved] == ["5m"]
    assert (stage.label, stage.menu) == ("Gold", "M5")


def test_a_history_that_never_comes_is_noted_and_the_others_are_saved(tmp_path: Path):
    stage = Stage()
    stage.silent = lambda label, menu: (label, menu) == ("Gold", "H1")

    summary = collection(tmp_path, stage).run()

    assert [(f.asset, f.timeframe, f.reason) for f in summary.failed] == [
        ("Gold", "1h", "no history of it came within 1 s; tried 3 times")
    ]
    assert len(summary.saved) == 5
    assert list(tmp_path.rglob(UNFINISHED))


def test_the_next_run_of_the_day_tries_only_what_failed(tmp_path: Path):
    stage = Stage()
    stage.silent = lambda label, menu: (label, menu) == ("Gold", "H1")
    collection(tmp_path, stage).run()

    summary = collection(tmp_path, Stage()).run()

    assert [(saved.asset, saved.timeframe) for saved in summary.saved] == [("XAUUSD", "1h")]
    assert summary.skipped == 5
    assert not list(tmp_path.rglob(UNFINISHED))


def test_when_all_was_saved_the_page_is_not_touched(tmp_path: Path):
    first = Stage()
    first.silent = lambda label, menu: (label, menu) == ("Gold", "H1")
    collection(tmp_path, first).run()
    stage = Stage()

    summary = collection(tmp_path, stage, "EUR/USD OTC").run()

    assert (stage.clicks, summary.skipped) == ([], 2)


def test_a_favourite_that_has_gone_fails_alone(tmp_path: Path):
    stage = Stage()
    stage.fail["EUR/USD OTC"] = [UnknownAsset("EUR/USD OTC")] * 9

    summary = collection(tmp_path, stage).run()

    assert {failed.asset for failed in summary.failed} == {"EUR/USD OTC"}
    assert len(summary.saved) == 4


def test_a_page_that_is_loading_anew_is_tried_again(tmp_path: Path):
    stage = Stage()
    stage.fail["H1"] = [PageUnavailable("The page has no timeframe menu.")]

    summary = collection(tmp_path, stage).run()

    assert (len(summary.saved), summary.failed) == (6, [])


@pytest.mark.parametrize(
    "error", [PageUnavailable("The page has no timeframe menu (a.items)."), BrowserGone("Chrome ended.")]
)
def test_a_lost_page_ends_the_run_and_says_what_was_looked_for(tmp_path: Path, error: FluxcapError):
    stage = Stage()
    stage.fail["H1"] = [error] * 9

    summary = collection(tmp_path, stage).run()

    assert summary.page_error == str(error)
    assert len(summary.failed) == 6
    assert [failed.reason for failed in summary.failed] == ["the page was lost", *["not tried after that"] * 5]
    assert stage.label == "Gold"


def test_a_store_that_takes_nothing_costs_no_file(tmp_path: Path):
    summary = collection(tmp_path, Stage(), shelf=Shelf(StoreLocked("Process 7 holds it."))).run()

    assert (len(summary.saved), summary.failed) == (6, [])
    assert summary.store_error == "Process 7 holds it."


def test_ctrl_c_puts_the_page_back_and_keeps_what_was_saved(tmp_path: Path):
    stage = Stage("Gold", "M15")
    order = collection(tmp_path, stage)

    def begin(total: int) -> Callable[[int], None]:
        def advance(done: int) -> None:
            raise KeyboardInterrupt

        return advance

    with pytest.raises(KeyboardInterrupt):
        order.run(begin)

    assert (stage.label, stage.menu) == ("Gold", "M15")
    assert len(list(tmp_path.rglob("*.csv"))) == 1
    assert list(tmp_path.rglob(UNFINISHED))


def test_a_page_that_showed_what_cannot_be_chosen_is_told(tmp_path: Path):
    stage = Stage()
    stage.active_asset = lambda: "Silver"  # type: ignore[method-assign]
    stage.fail["Silver"] = [UnknownAsset("Silver")]

    summary = collection(tmp_path, stage).run()

    assert summary.page_error == "The page was left turned: it showed 'Silver', which is not among its favourites."
    assert summary.failed == []


def test_progress_counts_every_job(tmp_path: Path):
    told: list[int] = []

    def begin(total: int) -> Callable[[int], None]:
        told.append(total)
        return told.append

    collection(tmp_path, Stage()).run(begin)

    assert told == [6, 1, 1, 1, 1, 1, 1]
