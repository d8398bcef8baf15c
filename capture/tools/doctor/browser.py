"""Looks at the browser: installed, DevTools port, flags and profile, the platform's tab and what it receives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from urllib.parse import urlsplit

import msgspec

from fluxcap.bridge.system.ports import process_on_port
from fluxcap.bridge.system.processes import ProcessInfo, is_listened_on, processes
from fluxcap.capture.chrome.browsers import Machine
from fluxcap.capture.chrome.consent import ALLOW, Answer, ConsentRecord
from fluxcap.capture.chrome.endpoint import BrowserInfo, ConsentBrowser, open_pages, parse_endpoint
from fluxcap.capture.chrome.launch import find_chrome
from fluxcap.capture.collect.page import find_chromedriver
from fluxcap.capture.collect.page_feed import HistoryFeed
from fluxcap.capture.market.clock import STEP_MS, TOLERANCE_MS
from fluxcap.capture.platforms.base import Platform, PlatformHints
from fluxcap.capture.tools.doctor.finding import (
    Finding,
    error_finding,
    from_error,
    lookalike,
    no_tab,
    ok,
    warning,
)
from fluxcap.schemas.errors import BrowserGone, ChromeUnavailable, ConfigError, ConsentRefused

LISTEN_S = 1.2
START = "Start it with `fluxcap chrome`, which gives it a profile of its own and the port."


def check_installed(wanted: str | None = None, machine: Machine | None = None) -> list[Finding]:
    """The browser that ``fluxcap chrome`` would start, and the chromedriver that ``fluxcap collect`` needs.

    ``wanted``: the setting ``browser``; ``machine``: where others are looked for, None for this one.
    """
    findings = []
    try:
        program = find_chrome(wanted)
        others = [one.label for one in (machine or Machine()).browsers() if one.program != program]
        also = f" Also here: {', '.join(others)}." if others else ""
        findings.append(ok("chrome", f"{program} is installed.{also}"))
    except (ConfigError, ChromeUnavailable) as error:
        findings.append(from_error("chrome", error, is_problem=isinstance(error, ConfigError)))
    try:
        findings.append(ok("chromedriver", f"{find_chromedriver()} is installed."))
    except (ConfigError, ChromeUnavailable) as error:
        findings.append(from_error("chromedriver", error, is_problem=isinstance(error, ConfigError)))
    return findings


def check_port(endpoint: str, error: ChromeUnavailable, chromes: Sequence[ChromeProcessInfo]) -> Finding:
    """Find out why no browser answers. ``chromes``: those that run."""
    _, port = parse_endpoint(endpoint)
    holder = process_on_port(port) or ("another program" if is_listened_on(port) else "")
    if holder:
        return from_error("devtools port", ChromeUnavailable(f"{str(error).rstrip('.')} (held by {holder})."))
    for chrome in chromes:
        if chrome.value("remote-debugging-port") == str(port) and chrome.branded and not chrome.value("user-data-dir"):
            return error_finding(
                "devtools port",
                f"Chrome (process {chrome.pid}) was started with the port but on its default profile, where Chrome 136 "
                "and later ignore it.",
                f"Close that Chrome. {START}",
            )
    without = next((chrome for chrome in chromes if chrome.value("remote-debugging-port") is None), None)
    if without is not None:
        return warning(
            "devtools port",
            f"Nothing answers on {endpoint}; a Chrome (process {without.pid}) runs without the DevTools port.",
            f"{START} Your everyday Chrome may stay open beside it.",
        )
    return warning("devtools port", f"Nothing answers on {endpoint}: Chrome is not running.", START)


def check_answer(browser: BrowserInfo, endpoint: str) -> Finding:
    """Tell of a browser that answers. ``endpoint``: where it was looked for, HOST:PORT."""
    where = browser.websocket_url.removeprefix("ws://").partition("/")[0]
    host, port = parse_endpoint(endpoint)
    aside = ""
    if where.startswith("[::1]:") and host != "::1" and where.endswith(f":{port}"):
        aside = f" On {host} it does not listen: another program holds port {port} there, which does no harm."
    return ok("devtools port", f"{browser.product} answers on {where}.{aside}")


def check_consent(browser: ConsentBrowser, last: ConsentRecord) -> Finding:
    """Tell of a browser that asks its user first; it is not asked here. ``last``: the dialog before."""
    where = browser.websocket_url.removeprefix("ws://").partition("/")[0]
    if last.answer is Answer.REFUSED and not last.wanted:
        return from_error("devtools port", ConsentRefused(last.why_not()), is_problem=False)
    return ok(
        "devtools port",
        f"{browser.label} on {where} lets fluxcap in by your consent: `fluxcap run` asks for it; {ALLOW}.",
    )


def check_flags(chromes: Sequence[ChromeProcessInfo], holder: str, profile: Path | None) -> Finding:
    """Check the flags the browser on the port was started with.

    ``holder``: who listens there, as ``process_on_port`` says it; ``profile``: that of ``fluxcap chrome``.
    """
    chrome = next((one for one in chromes if f"{holder} ".startswith(f"process {one.pid} ")), None)
    if chrome is None:
        return ok("chrome flags", "How Chrome was started is not visible from here; it answers, which is enough.")
    address = chrome.value("remote-debugging-address")
    if address and address not in ("127.0.0.1", "localhost", "::1"):
        return error_finding(
            "chrome flags",
            f"Chrome (process {chrome.pid}) opens its DevTools port to other machines ({address}): anyone who can "
            "reach it can control that browser.",
            "Close it and start it without --remote-debugging-address.",
        )
    if "*" in (chrome.value("remote-allow-origins") or ""):
        return warning(
            "chrome flags",
            f"Chrome (process {chrome.pid}) lets every web page use its DevTools port (--remote-allow-origins=*).",
            "Start it without that flag: fluxcap does not need it.",
        )
    folder = chrome.value("user-data-dir")
    if not folder:
        return ok("chrome flags", f"Chrome (process {chrome.pid}) answers on its default profile.")
    same = ", as `fluxcap chrome` gives it" if profile and Path(folder) == profile else ""
    return ok("chrome flags", f"Chrome (process {chrome.pid}) has the profile {folder}{same}.")


def check_page(browser: BrowserInfo, platform: Platform, kept_offset_ms: int | None = None) -> list[Finding]:
    """The platform's tab, and over an attach of about a second what its sockets say.

    ``kept_offset_ms``: how far the platform's stamps were ahead of UTC in earlier runs.
    """
    host, port = parse_endpoint(browser.websocket_url.removeprefix("ws://").partition("/")[0])
    try:
        open_now = open_pages(host, port)
    except ChromeUnavailable as error:
        return [from_error("platform tab", error)]
    pages = [page for page in open_now if platform.is_page(page.url)]
    resembles = PlatformHints(platform).resembles_page
    alike = [lookalike(urlsplit(page.url).netloc.rpartition("@")[2]) for page in open_now if resembles(page.url)]
    if not pages:
        return alike or [no_tab()]
    tabs = [ok("platform tab", f"{len(pages)} open: {pages[0].url.partition('?')[0]}"), *alike]
    try:
        return [*tabs, *_listen(browser, platform, kept_offset_ms)]
    except BrowserGone as error:
        return [*tabs, from_error("platform socket", error)]


def _listen(browser: BrowserInfo, platform: Platform, kept_offset_ms: int | None) -> list[Finding]:
    feed = HistoryFeed(browser.websocket_url, platform)
    try:
        ahead_ms = feed.await_tick_ahead_ms(LISTEN_S)
        frames, logged_out = feed.frames, feed.logged_out
    finally:
        feed.close()
    if ahead_ms is None and logged_out:
        return [warning("platform socket", "The trading page is logged out of the platform.", "Log in on the page.")]
    if ahead_ms is None:
        mend = "Log in on the page and choose an asset whose price moves; reload the page if it does not."
        said = f"said {frames} things, but no tick," if frames else "said nothing"
        return [warning("platform socket", f"The platform {said} within {LISTEN_S:g} s.", mend)]
    socket = ok("platform socket", "Ticks arrive.")
    return [socket, check_platform_clock(ahead_ms, kept_offset_ms)]


def check_platform_clock(ahead_ms: float, kept_offset_ms: int | None = None) -> Finding:
    """``ahead_ms``: how far a tick's stamp was ahead of this machine's clock when it arrived."""
    step_ms = round(ahead_ms / STEP_MS) * STEP_MS
    if abs(ahead_ms - step_ms) > TOLERANCE_MS:
        return error_finding(
            "platform clock",
            f"Ticks are stamped {ahead_ms / 1_000:+.0f} s from this machine's clock, which fits no quarter of an hour.",
            "Set this machine's clock; nothing is published until they agree.",
        )
    stamped = f"Ticks are stamped {step_ms / 3_600_000:+g} h from UTC"
    if kept_offset_ms is None:
        return ok("platform clock", f"{stamped}, by this machine's clock alone; that is removed.")
    if step_ms != kept_offset_ms:
        return error_finding(
            "platform clock",
            f"{stamped} by this machine's clock, but {kept_offset_ms / 3_600_000:+g} h by earlier runs: one is wrong.",
            "Set this machine's clock (NTP). If it is right, reload the trading page once fluxcap runs: that tells the "
            "platform's own time.",
        )
    return ok("platform clock", f"{stamped}, as in earlier runs; that is removed.")


_NAMES = (
    *("chrome", "google-chrome", "google-chrome-stable", "chromium", "chromium-browser"),
    *("msedge", "microsoft-edge", "brave", "brave-browser", "opera", "vivaldi", "vivaldi-bin"),
    *("google chrome", "microsoft edge", "brave browser"),  # on macOS
)


class ChromeProcessInfo(msgspec.Struct, frozen=True):
    """A browser's own process, not one of its helpers."""

    pid: int
    name: str
    flags: tuple[str, ...]

    def value(self, flag: str) -> str | None:
        """Return the value of ``--flag=``; "" for a flag without a value, None if absent."""
        for given in self.flags:
            name, _, value = given.partition("=")
            if name == f"--{flag}":
                return value
        return None

    @property
    def branded(self) -> bool:
        """Chrome itself, which ignores the DevTools port on its default profile; Chromium does not."""
        return "chromium" not in self.name


def running_chromes(running: Iterable[ProcessInfo] | None = None) -> list[ChromeProcessInfo]:
    """All that can be seen, by process number. ``running``: the processes of this machine, if not as it says."""
    found = []
    for process in processes() if running is None else running:
        words = process.words
        if len(words) == 1:  # Chrome may write its command line again, with spaces
            words = tuple(words[0].split(" --")[:1]) + tuple(f"--{flag}" for flag in words[0].split(" --")[1:])
        name = PurePath(words[0].replace("\\", "/")).name.lower().removesuffix(".exe")
        if name in _NAMES and not any(word.startswith("--type=") for word in words):
            flags = tuple(word for word in words[1:] if word.startswith("--"))
            found.append(ChromeProcessInfo(process.pid, name, flags))
    return sorted(found, key=lambda process: process.pid)
