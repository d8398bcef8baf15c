"""Looks for the browser: every five seconds, and at once after it was lost.

In: the scheduler's calls. Out: a connection handed to the pipeline, or the one sentence that says why there is none. It
runs on the scheduler's thread, so that a probe, which takes up to a second, never keeps the pipeline waiting.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.background import BackgroundScheduler

from capture import log
from capture.chrome.endpoint import BrowserInfo
from capture.listeners import ChromeState
from capture.pipeline import Pipeline
from schemas.errors import BrowserGone, ChromeUnavailable, NotAnswering

POLL_S = 5
EAGER_S = (0.5, 1.0, 2.0, 3.0)
"""After a loss the browser is looked for sooner than the poll: a restart takes a second or two."""


class ChromeWatch:
    """Keeps the pipeline attached. ``find`` looks once, for a second or two; raises ChromeUnavailable."""

    def __init__(self, pipeline: Pipeline, scheduler: BackgroundScheduler, find: Callable[[], BrowserInfo]) -> None:
        self._pipeline = pipeline
        self._scheduler = scheduler
        self._find = find
        self._last_reason = ""
        self._looking = threading.Lock()

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
                self._look()
        finally:
            self._looking.release()

    def _look(self) -> None:
        try:
            info = self._find()
            self._pipeline.attach(info.websocket_url, info.product)
            self._last_reason = ""
        except (ChromeUnavailable, BrowserGone) as error:
            if str(error) != self._last_reason:
                self._last_reason = str(error)
                log.warn("waiting for chrome", reason=str(error))
            self._pipeline.chrome_absent(str(error))
        except NotAnswering as error:
            if self._pipeline.alive:
                log.warn("will attach later", reason=str(error))

    def chrome_changed(self, state: ChromeState, reason: str) -> None:
        """Listener: after a loss, look again soon."""
        if state is ChromeState.ABSENT and self._scheduler.running:
            now = datetime.now(UTC)
            for delay_s in EAGER_S:
                self._scheduler.add_job(self.poll, "date", run_date=now + timedelta(seconds=delay_s))
