"""Looks for the browser: every five seconds, and at once after it was lost.

In: the scheduler's calls. Out: a connection handed to the pipeline, or the one sentence that says why there is none. It
runs on the scheduler's thread, so that a probe, which takes up to a second, never keeps the pipeline waiting. A browser
that asks its user for consent is asked by ``consent.py``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeAlias

from apscheduler.schedulers.background import BackgroundScheduler

from fluxcap.capture.chrome.browsers import Machine
from fluxcap.capture.chrome.endpoint import BrowserInfo, ConsentBrowser, find, find_by_consent, parse_endpoint
from fluxcap.capture.chrome.launch import default_profile
from fluxcap.capture.pipeline.consent import ConsentFile, ConsentKeeper
from fluxcap.capture.pipeline.listeners import ChromeState, Listener
from fluxcap.capture.pipeline.pipeline import Pipeline
from fluxcap.capture.runtime import log
from fluxcap.capture.runtime.settings import Settings
from fluxcap.schemas.errors import BrowserGone, ChromeUnavailable, ConfigError, NotAnswering

POLL_S = 5
RETRY_S = (0.5, 1.0, 2.0, 3.0)
"""After a loss the browser is looked for sooner than the poll: a restart takes a second or two."""


Find: TypeAlias = Callable[[], BrowserInfo | ConsentBrowser]


class ChromeReconnector(Listener):
    """Keeps the pipeline attached.

    ``find`` looks once, for a second or two; raises ChromeUnavailable. ``consent``: what asks a browser for consent,
    where the settings want one of that kind.
    """

    def __init__(
        self, pipeline: Pipeline, scheduler: BackgroundScheduler, find: Find, consent: ConsentKeeper | None = None
    ) -> None:
        self._pipeline = pipeline
        self._scheduler = scheduler
        self._find = find
        self._consent = consent
        self._last_reason = ""
        self._looking = threading.Lock()
        pipeline.add_listener(self)

    def start(self) -> None:
        """Look now, and then every five seconds."""
        self._scheduler.add_job(
            self.poll, "interval", seconds=POLL_S, id="chrome", next_run_time=datetime.now(UTC), max_instances=1
        )

    def stop(self) -> None:
        """Stop waiting for a user's consent; the scheduler is stopped by who started it."""
        if self._consent is not None:
            self._consent.stop()

    def ask(self) -> None:
        """Look now, and ask the browser's user again, whatever the answer was. Raises ConfigError."""
        if self._consent is None:
            raise ConfigError("This fluxcap reads no browser by consent; start it with `fluxcap run --consent`.")
        if not self._pipeline.attached:
            self._consent.want()
            self.poll()

    def poll(self) -> None:
        """One look. Does nothing while attached or asking, nor while another look is under way."""
        if not self._looking.acquire(blocking=False):
            return
        try:
            asking = self._consent is not None and self._consent.asking
            if self._pipeline.alive and not self._pipeline.attached and not asking:
                self._try_attach()
        finally:
            self._looking.release()

    def _try_attach(self) -> None:
        try:
            found = self._find()
            if not isinstance(found, ConsentBrowser):
                self._pipeline.attach(found.websocket_url, found.product)
            elif self._consent is not None:
                self._consent.pursue(found, self._pipeline)
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


def consent_keeper(settings: Settings) -> ConsentKeeper | None:
    """Return what asks for consent; None where the settings do not want that kind of browser."""
    return ConsentKeeper(ConsentFile(settings.data_dir)) if settings.consent else None


def browser_locator(settings: Settings) -> Find:
    """Return the function that looks for the browser. Raises ConfigError.

    With ``consent`` it is the one of the known browsers that was started last, or of the profile that was named.

    A profile that was named leads: its browser may come back on another port. With neither profile nor address named,
    the one that ``fluxcap chrome`` uses is looked at when nothing answers on the usual port.
    """
    host, port = parse_endpoint(settings.chrome)
    if settings.consent:
        return partial(find_by_consent, profiles_to_ask(settings.chrome_profile))
    if settings.chrome_profile is not None:
        return partial(find, host, port, settings.chrome_profile, profile_leads=True)
    return partial(find, host, port, None if "chrome" in settings.model_fields_set else default_profile())


def profiles_to_ask(named: Path | None = None, machine: Machine | None = None) -> dict[str, Path]:
    """Return the folders of profiles in which a browser may say that it takes programs in, by the browser's name."""
    if named is not None:
        return {"Chrome": named}
    machine = machine or Machine()
    installed = {browser.name: browser.profile for browser in machine.browsers()}
    return {name.capitalize(): folder for name, folder in {**machine.profiles(), **installed}.items()}
