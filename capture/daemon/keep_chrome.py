"""Keeps fluxcap's own Chrome open: where no browser answers it is started, with the page that was open last.

It stands between the reconnector and what looks for the browser: asked for the browser, it gives what was found, or
starts one and looks again. Only for a Chrome with a profile of fluxcap's own on this machine; the browser that somebody
uses every day is never started. Starts that fail, and browsers that end soon, are waited for longer and longer.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Generic, TypeVar

from fluxcap.capture.chrome.endpoint import parse_endpoint
from fluxcap.capture.chrome.launch import ChromeProcess, default_profile, find_chrome, start_chrome
from fluxcap.capture.runtime import log
from fluxcap.capture.runtime.settings import Settings
from fluxcap.schemas.errors import ChromeUnavailable, ConfigError, FluxcapError

PAGE_FILE = "last_page.txt"
GRACE_S = 3.0
"""A browser that is lost may come back by itself: after an update it starts itself again."""
WAITS_S = (0.0, 10.0, 30.0, 60.0, 300.0)
"""Between starts in a row; the last one for all that follow."""
STEADY_S = 600.0
"""A browser that ran so long is one that works: the next start is the first again."""
_DISPLAY = ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
T = TypeVar("T")


class KeptChrome(Generic[T]):
    """The function that looks for the browser, in place of the one it is given.

    Parameters
    ----------
    find
        Looks once. Raises ChromeUnavailable.
    start
        Starts the browser with a page, and returns when it answers. Raises FluxcapError.
    first_page
        Opened when no page is known yet.
    folder
        Where the page is remembered.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        find: Callable[[], T],
        start: Callable[[str], object],
        first_page: str,
        folder: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find = find
        self._start = start
        self._folder = folder
        self._clock = clock
        self._page = _read_page(folder) or first_page
        self._was_there = False
        self._gone_s: float | None = None
        self._started_s = -STEADY_S
        self._starts = 0
        self._failed = ""

    @property
    def page(self) -> str:
        """The page that the next start opens."""
        return self._page

    def remember(self, page: str) -> None:
        """The trading page is open at this address."""
        if page != self._page:
            self._page = page
            with contextlib.suppress(OSError):  # a full disk: the next one is written again
                (self._folder / PAGE_FILE).write_text(page, encoding="utf-8")

    def __call__(self) -> T:
        """Look for the browser, and start it if it is time to. Raises ChromeUnavailable, which says what comes next."""
        try:
            return self._found()
        except ChromeUnavailable as error:
            reason = str(error)
        now_s = self._clock()
        if self._gone_s is None:
            self._gone_s = now_s
        if now_s - self._started_s >= STEADY_S:
            self._starts = 0
        due_s = self._started_s + WAITS_S[min(self._starts, len(WAITS_S) - 1)] if self._starts else now_s
        if self._was_there:
            due_s = max(due_s, self._gone_s + GRACE_S)
        if now_s < due_s:
            raise ChromeUnavailable(self._waiting(reason, due_s - now_s))
        self._start_again(now_s)
        return self._found()

    def _found(self) -> T:
        found = self._find()
        self._was_there, self._gone_s, self._failed = True, None, ""
        return found

    def _start_again(self, now_s: float) -> None:
        self._started_s, self._starts = now_s, self._starts + 1
        try:
            self._start(self._page)
        except FluxcapError as error:
            self._failed = str(error)
            wait_s = WAITS_S[min(self._starts, len(WAITS_S) - 1)]
            log.warn("chrome.start_failed", reason=str(error), next_s=wait_s)
            raise ChromeUnavailable(self._waiting("", wait_s)) from None
        log.event("chrome.started", page=self._page, starts=self._starts)

    def _waiting(self, reason: str, left_s: float) -> str:
        """Say when Chrome is started; in a time of day, so that the sentence does not change while it is waited."""
        at = datetime.now().astimezone() + timedelta(seconds=left_s)
        return f"{self._failed or reason} fluxcap starts its Chrome again at {at:%H:%M:%S}.".lstrip()


def kept_chrome(settings: Settings, find: Callable[[], T]) -> KeptChrome[T]:
    """Return the one of these settings. Raises ConfigError where Chrome is not fluxcap's own to start."""
    host, port = parse_endpoint(settings.chrome)
    if host not in _LOOPBACK:
        raise ConfigError(f"`keep_chrome` starts Chrome on this machine, but `chrome` is {settings.chrome}.")
    if settings.consent:
        raise ConfigError(
            "`keep_chrome` is for a Chrome of fluxcap's own; the browser that you use every day, read by your consent, "
            "is yours to start. Choose one of the two."
        )
    started: list[ChromeProcess] = []

    def start(page: str) -> None:
        program = find_chrome(settings.browser)
        profile = settings.chrome_profile or default_profile(program)
        if sys.platform == "linux":  # its service may have been started before its user's screen was there
            os.environ.update(display_variables(os.environ, _ask_systemd))
        process = start_chrome(port, profile, url=page, executable=program)
        started[:] = [one for one in [*started, process] if one.running]

    return KeptChrome(find, start, settings.page, settings.data_dir)


def display_variables(known: Mapping[str, str], ask: Callable[[], str]) -> dict[str, str]:
    """Return what a browser needs to find the screen and ``known`` does not have. ``ask``: lines of ``NAME=value``."""
    if known.get("DISPLAY") or known.get("WAYLAND_DISPLAY"):
        return {}
    pairs = (line.partition("=") for line in ask().splitlines())
    return {name: value for name, _, value in pairs if name in _DISPLAY and value}


def _ask_systemd() -> str:
    try:
        return subprocess.run(
            ["systemctl", "--user", "show-environment"],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _read_page(folder: Path) -> str:
    try:
        page = (folder / PAGE_FILE).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
    return page if page.startswith(("https://", "http://")) and page.isprintable() and len(page) < 2_000 else ""
