"""Opens what a collection needs (browser, page, files, store) and closes it again, leaving Chrome as it was."""

from __future__ import annotations

from contextlib import ExitStack

import msgspec

from capture.browser_finder import browser_finder
from capture.chrome.endpoint import parse_endpoint
from capture.chrome.page import TradingPage
from capture.collect.feed import PageFeed
from capture.collect.files import CollectedFiles
from capture.collect.run import Begin, Collection, Order, Summary
from capture.collect.store import HistoryStore
from capture.platforms.registry import platform_named
from capture.settings import Settings


def collect(settings: Settings, order: Order, begin: Begin, *, anew: bool = False) -> Summary:
    """Run a collection.

    Raises, before anything was turned: ConfigError, ChromeUnavailable, PageUnavailable, BrowserGone.
    """
    platform = platform_named(settings.platform, settings.platform_url, settings.platforms)
    browser = browser_finder(settings)()
    host, port = parse_endpoint(browser.websocket_url.removeprefix("ws://").partition("/")[0])
    files = CollectedFiles(settings.data_dir, anew=anew)
    store = HistoryStore(settings.data_dir, settings.source, settings.interval)
    with ExitStack() as closing:
        page = closing.enter_context(TradingPage.attach(host, port, platform.is_page, screenshot=files.screenshot))
        feed = PageFeed(browser.websocket_url, platform)
        closing.callback(feed.close)
        collection = Collection(order, page, feed, files, store, store.assets())
        return collection.run(begin)


def as_json(summary: Summary) -> bytes:
    """The summary as one JSON value."""
    return msgspec.json.encode(summary)
