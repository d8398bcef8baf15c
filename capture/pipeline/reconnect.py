"""Looks for the browser: every five seconds, and at once after it was lost.

In: the scheduler's calls. Out: a connection handed to the pipeline, or the one sentence that says why there is none. It
runs on the scheduler's thread, so that a probe, which takes up to a second, never keeps the pipeline waiting.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from apscheduler.schedulers.background import BackgroundScheduler

from fluxcap.capture.chrome.endpoint import BrowserInfo, find, parse_endpoint
from fluxcap.capture.chrome.launch import default_profile
from fluxcap.capture.pipeline.listeners import ChromeState, Listener
from fluxcap.capture.pipeline.pipeline import Pipeline
from fluxcap.capture.runtime import log
from fluxcap.capture.runtime.settings import Settings
from fluxcap.schemas.errors import BrowserGone, ChromeUnavailable, NotAnswering

POLL_S = 5
RETRY_S = (0.5, 1.0, 2.0, 3.0)
"""After a loss the browser is looked for sooner than the poll: a restart takes a second or two."""


class ChromeReconnector(Listener):
    """Keeps the pipeline attached. ``find`` looks once, for a second or two; raises ChromeUnavailable."""

    def __init__(self, pipeline: Pipeline, scheduler: BackgroundScheduler, find: Callable[[], BrowserInfo]) -> None:
        self._pipeline = pipeline
        self._scheduler = scheduler
        self._find = find
        self._last_reason = ""
        self._looking = threading.Lock()
        pipeline.add_listener(self)

    def start(self) -> None:
        """Look now, and then every five seconds."""
        self._scheduler.add_job(
            self.poll, "interval", seconds=POLL_S, id="chrome", next_run_time=datetime.now(UTC), max_instances=1
        )

    def poll(self) -> None:
        """One look. Does nothing while attached, nor while another look is under way."""
        if not self._looking.acquire(blocking=False):
            return
        try:
            if self._pipeline.alive and not self._pipeline.attached:
                self._try_attach()
        finally:
            self._looking.release()

    def _try_attach(self) -> None:
        try:
            info = self._find()
            self._pipeline.attach(info.websocket_url, info.product)
            self._last_reason = ""
        except (ChromeUnavailable, BrowserGone) as error:
            if str(error) != self._last_reason:
                self._last_reason = str(error)
                log.warn("chrome.unavailable", reason=str(error))
            self._pipeline.on_chrome_unavailable(str(error))
        except NotAnswering as error:
            if self._pipeline.alive:
                log.warn("chrome.attach_deferred", reason=str(error))

    def chrome_changed(self, state: ChromeState, reason: str) -> None:
        """After a loss, look again soon."""
        if state is ChromeState.UNAVAILABLE and self._scheduler.running:
            now = datetime.now(UTC)
            for delay_s in RETRY_S:
                self._scheduler.add_job(self.poll, "date", run_date=now + timedelta(seconds=delay_s))


def browser_locator(settings: Settings) -> Callable[[], BrowserInfo]:
    """Return the function that looks for the browser. Raises ConfigError.

    A profile that was named leads: its browser may come back on another port. With neither profile nor address named,
    the one that ``fluxcap chrome`` uses is looked at when nothing answers on the usual port.
    """
    host, port = parse_endpoint(settings.chrome)
    if settings.chrome_profile is not None:
        return partial(find, host, port, settings.chrome_profile, profile_leads=True)
    return partial(find, host, port, None if "chrome" in settings.model_fields_set else default_profile())
