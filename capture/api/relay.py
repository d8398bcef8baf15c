"""From the pipeline's thread to the web's event loop: a bounded queue of news that nobody waits for.

A candle under way replaces the earlier one of its asset while that still waits, so that a busy event loop gets fewer of
them, never old ones. Sealed candles all wait, up to ``limit``; beyond it the oldest go and are counted.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from fluxcap.capture.pipeline.listeners import ChromeState, Published
from fluxcap.schemas.types import Candle, StreamKey, candles_from

LIMIT = 10_000


class CandleNews(msgspec.Struct):
    """A candle to show: sealed, corrected, or under way (then ``candle`` may be replaced while it waits)."""

    symbol: str
    candle: Candle


class ChromeNews(msgspec.Struct, frozen=True):
    """Chrome came, went, or does not answer."""

    state: ChromeState
    reason: str


News: TypeAlias = CandleNews | ChromeNews


class CandleRelay:
    """A listener of the pipeline. Attributes may be read from any thread.

    chrome: whether there is a browser, as of the newest news. dropped: news that were given up.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._news: deque[News] = deque()
        self._forming: dict[str, CandleNews] = {}
        self._wake: Callable[[], None] | None = None
        self.chrome = ChromeNews(ChromeState.ABSENT, "")
        self.dropped = 0

    def listen(self, wake: Callable[[], None] | None) -> None:
        """Call ``wake`` (from the pipeline's thread) when there is news; None: nobody is interested, keep none."""
        with self._lock:
            self._wake = wake
            self._news.clear()
            self._forming.clear()

    def take(self) -> list[News]:
        """Remove and return the waiting events, in order."""
        with self._lock:
            news = list(self._news)
            self._news.clear()
            self._forming.clear()
        return news

    # --- listener -------------------------------------------------------------------------------------------------

    def published(self, news: Published) -> None:
        if self._wake is None:
            return
        sealed = [(batch.key, candle) for batch in news.batches for candle in candles_from(batch.candles)]
        sealed += [(revision.key, candle) for revision in news.revisions for candle in candles_from(revision.candles)]
        for key, candle in sealed:
            self._put(CandleNews(key.symbol, candle))

    def forming(self, key: StreamKey, candle: Candle) -> None:
        with self._lock:
            waiting = self._forming.get(key.symbol)
            if waiting is not None:
                waiting.candle = candle
                return
        if self._wake is not None:
            self._put(CandleNews(key.symbol, candle), is_forming=True)

    def chrome_changed(self, state: ChromeState, reason: str) -> None:
        self.chrome = ChromeNews(state, reason)
        if self._wake is not None:
            self._put(self.chrome)

    def _put(self, news: News, *, is_forming: bool = False) -> None:
        with self._lock:
            wake, was_empty = self._wake, not self._news
            if wake is None:
                return
            self._news.append(news)
            if isinstance(news, CandleNews):
                # What is under way now must not be taken for what was under way before the sealed one.
                self._forming.pop(news.symbol, None)
                if is_forming:
                    self._forming[news.symbol] = news
            if len(self._news) > self._limit:
                oldest = self._news.popleft()
                if isinstance(oldest, CandleNews) and self._forming.get(oldest.symbol) is oldest:
                    del self._forming[oldest.symbol]
                self.dropped += 1
        if was_empty:
            wake()
