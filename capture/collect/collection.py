"""A collection from begin to end: turn the page, await each history, save it, and leave the page as it was found.

In: a page to turn and a feed of what it receives (here as protocols). Out: files, candles in the store, and a summary.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Protocol

import msgspec

from fluxcap.bridge.server.history_import import ImportResult
from fluxcap.capture.collect.candles import history_to_candles
from fluxcap.capture.collect.files import CollectedFiles
from fluxcap.capture.collect.gate import open_gate
from fluxcap.capture.collect.orders import FailedFile
from fluxcap.capture.collect.page import Favourite, TradingPage
from fluxcap.capture.collect.page_feed import HistoryFeed
from fluxcap.capture.collect.plan import (
    TIMEFRAMES,
    AssetSelection,
    FavouriteEntry,
    Job,
    Timeframe,
    is_asset,
    jobs,
    select_labels,
)
from fluxcap.capture.collect.store import HistoryStore
from fluxcap.capture.market.clock import Trust
from fluxcap.capture.platforms.base import ActiveAsset, Asset, History
from fluxcap.capture.platforms.registry import platform_named
from fluxcap.capture.runtime.settings import Settings
from fluxcap.schemas.errors import BrowserGone, FluxcapError, PageUnavailable, StoreError, UnknownAsset
from fluxcap.schemas.types import Candle

CLOCK_TIMEOUT_S = 20.0
ProgressFactory = Callable[[int], Callable[[int], None]]


class Page(Protocol):
    """``TradingPage``, as far as it is needed."""

    def favourites(self) -> list[Favourite]: ...

    def choose_asset(self, label: str) -> None: ...

    def choose_timeframe(self, timeframe: str) -> None: ...

    def active_asset(self) -> str | None: ...


class Feed(Protocol):
    """``HistoryFeed``, as far as it is needed."""

    requested_asset: ActiveAsset | None
    assets: tuple[Asset, ...]

    def reset(self) -> None: ...

    def await_history(self, fits: Callable[[History, str | None], bool], timeout_s: float) -> History | None: ...

    def await_offset_ms(self, timeout_s: float) -> int: ...

    @property
    def clock_basis(self) -> str: ...

    def now_ms(self) -> int: ...


class Store(Protocol):
    """``HistoryStore``, as far as it is needed."""

    def put(self, symbol: str, interval: str, candles: Sequence[Candle]) -> ImportResult | None: ...


class SavedFile(msgspec.Struct, frozen=True):
    """One file. ``published`` and ``revised``: candles new or changed in the store."""

    asset: str
    timeframe: str
    path: str
    rows: int
    published: int = 0
    revised: int = 0


class CollectSummary(msgspec.Struct):
    """Result of a collection. ``skipped``: histories already saved by an interrupted run of today."""

    folder: str
    saved: list[SavedFile] = []
    failed: list[FailedFile] = []
    skipped: int = 0
    platform_offset_ms: int = 0
    clock_basis: str = ""
    store_error: str = msgspec.field(default="", name="store_trouble")
    page_error: str = msgspec.field(default="", name="page_trouble")


class CollectOptions(msgspec.Struct, frozen=True):
    """Assets and timeframes to collect. ``attempts`` for each history, ``timeout_s`` for each attempt."""

    assets: AssetSelection
    timeframes: tuple[Timeframe, ...]
    timeout_s: float = 10.0
    attempts: int = 3


class Collection:
    """See the module. ``known_assets``: the platform's table, as far as somebody knew it before."""

    def __init__(
        self,
        order: CollectOptions,
        page: Page,
        feed: Feed,
        files: CollectedFiles,
        store: Store,
        known_assets: Sequence[Asset] = (),
    ) -> None:
        self._order = order
        self._page = page
        self._feed = feed
        self._files = files
        self._store = store
        self._known_assets = tuple(known_assets)
        self._labels: tuple[str, ...] = ()
        self._shows: str | None = None
        """The label that the page was seen to show, and at which period."""
        self._period_ms = 0
        self._found_label: str | None = None
        self._found_period_ms = 0
        self.summary = CollectSummary(str(files.folder))

    def run(self, begin: ProgressFactory = lambda total: lambda done: None) -> CollectSummary:
        """Collect. Raises, before anything was turned: ConfigError, PageUnavailable, BrowserGone."""
        self.summary.platform_offset_ms = self._feed.await_offset_ms(CLOCK_TIMEOUT_S)
        self.summary.clock_basis = self._feed.clock_basis
        shown = [FavouriteEntry(one.label, one.payout) for one in self._page.favourites()]
        self._labels = tuple(one.label for one in shown)
        planned = jobs(select_labels(self._order.assets, shown, self._assets()), self._order.timeframes)
        wanted = [job for job in planned if not self._files.is_saved(job)]
        self.summary.skipped = len(planned) - len(wanted)
        if wanted:
            self._found_label = self._page.active_asset()
            try:
                self._collect(wanted, begin(len(wanted)))
            finally:
                self._restore()
        if not self.summary.failed:
            self._files.finish()
        return self.summary

    # --- within ---------------------------------------------------------------------------------------------------

    def _assets(self) -> tuple[Asset, ...]:
        return self._feed.assets or self._known_assets

    def _collect(self, wanted: Sequence[Job], advance: Callable[[int], None]) -> None:
        for number, job in enumerate(wanted):
            try:
                self._collect_one(job)
            except (PageUnavailable, BrowserGone) as error:
                self.summary.page_error = str(error)
                self.summary.failed.append(_failed(job, "the page was lost"))
                self.summary.failed += [_failed(left, "not tried after that") for left in wanted[number + 1 :]]
                return
            except StoreError as error:
                self.summary.failed.append(_failed(job, str(error)))
            advance(1)

    def _collect_one(self, job: Job) -> None:
        history = self._history(job)
        if history is None:
            return
        candles = history_to_candles(history, self.summary.platform_offset_ms, self._feed.now_ms())
        if not candles:
            self.summary.failed.append(_failed(job, "the history received has no complete candle of that length"))
            return
        path = self._files.save(job, history.symbol, candles, time.time_ns() // 1_000_000)
        stored = self._put(history.symbol, job.timeframe.interval, candles)
        interval = job.timeframe.interval
        self.summary.saved.append(
            SavedFile(history.symbol, interval, str(path), len(candles), stored.published, stored.revised)
        )

    def _put(self, symbol: str, interval: str, candles: Sequence[Candle]) -> ImportResult:
        try:
            return self._store.put(symbol, interval, candles) or ImportResult()
        except FluxcapError as error:  # the file is there all the same
            self.summary.store_error = str(error)
            return ImportResult()

    def _history(self, job: Job) -> History | None:
        """The history, in as many attempts as there are; None when it is noted as failed. Raises as ``_attempt``."""
        failure: PageUnavailable | None = None
        for attempt in range(self._order.attempts):
            try:
                history = self._attempt(job, turn_away=attempt > 0)
            except UnknownAsset:
                self.summary.failed.append(_failed(job, "is not among the page's favourites any more"))
                return None
            except PageUnavailable as error:  # it may be reloading
                failure, self._shows = error, None
                continue
            if history is not None:
                return history
            failure = None
        if failure is not None:
            raise failure
        times = f"{self._order.attempts} times" if self._order.attempts > 1 else "once"
        self.summary.failed.append(
            _failed(job, f"no history of it came within {self._order.timeout_s:g} s; tried {times}")
        )
        return None

    def _attempt(self, job: Job, *, turn_away: bool) -> History | None:
        """``turn_away``: through another timeframe, since a page says nothing when it shows what is chosen."""
        if self._shows != job.label:
            history = self._turn_to_asset(job)
            if history is not None and history.period_ms == job.timeframe.period_ms:
                return history
        if turn_away:
            other = next(one for one in TIMEFRAMES if one != job.timeframe)
            self._period_ms = 0
            self._page.choose_timeframe(other.menu)
        menu, period_ms = job.timeframe.menu, job.timeframe.period_ms
        return self._select(lambda page: page.choose_timeframe(menu), job.label, period_ms)

    def _turn_to_asset(self, job: Job) -> History | None:
        history = self._select(lambda page: page.choose_asset(job.label), job.label)
        others = [label for label in self._labels if label != job.label]
        if history is None and not self._found_period_ms and job.label == self._found_label and others:
            # It says nothing, since it shows that already: of another asset it tells the timeframe that it was left at.
            shown = self._select(lambda page: page.choose_asset(others[0]), others[0])
            self._found_period_ms = shown.period_ms if shown else 0
            history = self._select(lambda page: page.choose_asset(job.label), job.label)
        if not self._found_period_ms:
            asked = self._feed.requested_asset
            self._found_period_ms = history.period_ms if history else asked.period_ms if asked else 0
        return history

    def _select(self, click: Callable[[Page], None], label: str, period_ms: int | None = None) -> History | None:
        """Click, and await a history of the asset, at the period if one is named."""

        def fits(history: History, asked: str | None) -> bool:
            in_time = period_ms in (None, history.period_ms)
            return in_time and is_asset(label, history.symbol, asked, self._assets(), self._labels)

        self._feed.reset()
        if self._shows != label:
            self._shows = None  # from the click on; whoever interrupts it puts the page back
        if self._period_ms != period_ms:
            self._period_ms = 0
        click(self._page)
        history = self._feed.await_history(fits, self._order.timeout_s)
        if history is not None:
            self._shows, self._period_ms = label, history.period_ms
        return history

    def _restore(self) -> None:
        """Show again what was found. What cannot be is reported, and is no failure of the collection."""
        try:
            problem = self._restore_asset() or self._restore_timeframe()
        except UnknownAsset:
            problem = f"it showed {self._found_label!r}, which is not among its favourites."
        except (PageUnavailable, BrowserGone) as error:
            problem = str(error)
        if problem and not self.summary.page_error:
            self.summary.page_error = f"The page was left turned: {problem}"

    def _restore_asset(self) -> str:
        if self._found_label is None:
            return "which asset it showed could not be read."
        if self._shows != self._found_label:
            self._select(lambda page: page.choose_asset(self._found_label or ""), self._found_label)
        return ""

    def _restore_timeframe(self) -> str:
        if self._found_period_ms == self._period_ms:
            return ""
        if not self._found_period_ms:
            return "which timeframe it showed could not be read."
        found = next((one for one in TIMEFRAMES if one.period_ms == self._found_period_ms), None)
        if found is None:
            return f"it was at {self._found_period_ms // 1_000} s, which its menu of timeframes does not have."
        self._select(lambda page: page.choose_timeframe(found.menu), self._found_label or "", found.period_ms)
        return ""


def _failed(job: Job, reason: str) -> FailedFile:
    return FailedFile(job.label, job.timeframe.interval, reason)


def collect(
    settings: Settings,
    order: CollectOptions,
    begin: ProgressFactory,
    *,
    restart: bool = False,
    tell: Callable[[str], None] = lambda sentence: None,
) -> CollectSummary:
    """Run a collection. ``tell``: says what to click where the browser asks for consent.

    Raises, before anything was turned: ConfigError, AlreadyRunning, ChromeUnavailable, PageUnavailable, BrowserGone.
    """
    platform = platform_named(settings.platform, settings.platform_url, settings.platforms)
    files = CollectedFiles(settings.data_dir, restart=restart)
    store = HistoryStore(settings.data_dir, settings.source, settings.interval, settings.derived_timeframes)
    with ExitStack() as closing:
        closing.enter_context(files.claim())
        gate = closing.enter_context(open_gate(settings, platform.is_page, tell))
        prior, certain = store.known_offset()
        feed = HistoryFeed(gate.feed_url, platform, prior=prior)
        closing.callback(feed.close)
        page = closing.enter_context(TradingPage.attach(gate, screenshot=files.screenshot))
        if certain:
            feed.clock.trust(Trust.EARLIER)
        collection = Collection(order, page, feed, files, store, store.assets())
        return collection.run(begin)


def encode_summary(summary: CollectSummary) -> bytes:
    """The summary as one JSON value."""
    return msgspec.json.encode(summary)
