"""The trading page as a person uses it: read the favourites, choose an asset, choose a timeframe. Selenium.

Ticks never come this way. The driver sees the platform's tab alone (``cdp_proxy.py``): other tabs are not attached,
none is closed or brought to the front, and hidden tabs work as well as visible ones because clicks are made in the page
itself. ``detach`` leaves Chrome and the tab as they are.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from difflib import get_close_matches
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

import httpx
import msgspec
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from urllib3.exceptions import HTTPError

from fluxcap.bridge.system.processes import detached
from fluxcap.capture.collect.cdp_proxy import GateAddress
from fluxcap.schemas.errors import (
    ChromeUnavailable,
    CommandFailed,
    ConfigError,
    FluxcapError,
    PageUnavailable,
    UnknownAsset,
)

SELECTORS: Final = {
    "favourites bar": "#js-assets-favorites-slider",
    "favourite": ".assets-favorites-item",
    "favourite's click area": ".assets-favorites-item__line",
    "favourite's label": ".assets-favorites-item__label",
    "favourite's payout": ".payout__number",
    "active favourite": ".assets-favorites-item--active, .assets-favorites-item.active",
    "name of the asset shown": ".current-symbol",
    "timeframe menu": "a.items__link--chart-type",
    "timeframe entries": ".list-timeframes a, .drop-down-modal a, .drop-down-modal li",
}
"""What is looked for on the page, under the name that an error gives it. The platform's class names change now and
then: this is the one place to follow them."""

TIMEFRAMES: Final = ("M1", "M5", "M15", "H1", "H4")
FIND_TIMEOUT_S = 5.0
GATE_TIMEOUT_S = 10.0
_POLL_S = 0.1
_DRIVERS = ("/usr/bin/chromedriver", "/usr/lib/chromium/chromedriver", "/opt/homebrew/bin/chromedriver")
"""The usual places; Windows has none."""
_GET_DRIVER = {
    "linux": "install it (Debian: chromium-driver)",
    "darwin": "install it (brew install --cask chromedriver)",
}
_DOWNLOAD = "download the one of your browser's version from https://googlechromelabs.github.io/chrome-for-testing/"

_FAVOURITES_JS = """
const [bar, item, label, payout, active] = arguments;
const found = document.querySelector(bar);
if (!found) return null;
const text = (node) => node ? node.textContent.trim() : "";
return [...found.querySelectorAll(item)].map((one) => ({
  label: text(one.querySelector(label)),
  payout: text(one.querySelector(payout)),
  active: one.matches(active),
}));
"""
_CLICK_JS = """
const [selector, outer, inner, text] = arguments;
const wanted = (node) => !text || (inner ? node.querySelector(inner)?.textContent : node.textContent)?.trim() === text;
const all = [...document.querySelectorAll(outer || selector)].filter(wanted);
const found = all.find((one) => !all.some((other) => one !== other && one.contains(other))); // a click bubbles up only
const target = found && outer ? found.querySelector(selector) : found;
if (!target) return false;
target.scrollIntoView({block: "nearest", inline: "nearest"});
target.click();
return true;
"""
_TEXT_JS = "return document.querySelector(arguments[0])?.textContent.trim() ?? null;"

_DRIVER_GONE = (WebDriverException, HTTPError, HTTPException, OSError)
"""What Selenium lets through: its own errors, and those of its HTTP connection to chromedriver."""
T = TypeVar("T")


class Favourite(msgspec.Struct, frozen=True):
    """An entry of the favourites bar. ``payout`` in percent, None when the page shows no number."""

    label: str
    payout: int | None
    active: bool


class TradingPage:
    """One tab of the platform. As a context manager it detaches at the end."""

    def __init__(self, driver: Chrome, screenshot: Path | None = None) -> None:
        self._driver = driver
        self._screenshot = screenshot

    @classmethod
    def attach(
        cls,
        gate: GateAddress,
        *,
        chromedriver: Path | None = None,
        screenshot: Path | None = None,
    ) -> TradingPage:
        """Attach to the platform's tab of a running Chrome; of several, the active one.

        ``gate``: shows the driver that tab alone. ``screenshot``: a PNG of the page is written there whenever something
        is missing on it.

        Raises ChromeUnavailable: no browser, or no chromedriver that fits it; PageUnavailable: no such tab is open.
        """
        if not _tabs(gate):
            raise PageUnavailable("No tab of the platform is open in Chrome; open the trading page and try again.")
        path = chromedriver or find_chromedriver()
        options = ChromeOptions()
        options.page_load_strategy = "none"
        options.unhandled_prompt_behavior = "ignore"  # a dialog is the trader's to answer
        options.debugger_address = gate.endpoint
        try:
            # Out of Ctrl-C's reach: chromedriver has to live until the page is put back.
            how = detached()
            how["creation_flags"] = how.pop("creationflags", 0)  # as Selenium spells it
            driver = Chrome(options=options, service=ChromeService(str(path), popen_kw=how))
        except _DRIVER_GONE as error:
            raise ChromeUnavailable(f"{path} cannot attach to Chrome: {_first_line(error)}.") from None
        return cls(driver, screenshot)

    def favourites(self) -> list[Favourite]:
        """The favourites bar, left to right, those out of sight included. Raises PageUnavailable."""
        names = ("favourites bar", "favourite", "favourite's label", "favourite's payout", "active favourite")
        rows = self._until("favourites bar", lambda: self._run(_FAVOURITES_JS, *(SELECTORS[name] for name in names)))
        return [Favourite(row["label"], _percent(row["payout"]), row["active"]) for row in rows]

    def choose_asset(self, label: str) -> None:
        """Click the favourite of this label (``EUR/USD OTC``). That the page has changed shows in its frames.

        Raises UnknownAsset when no favourite has it, PageUnavailable when the bar is missing.
        """
        labels = [favourite.label for favourite in self.favourites()]
        if label not in labels:
            raise UnknownAsset(label, tuple(get_close_matches(label, labels, n=3, cutoff=0.4)))
        self._click("favourite's click area", within="favourite", told_by="favourite's label", text=label)

    def choose_timeframe(self, timeframe: str) -> None:
        """Choose ``M1``, ``M5``, ``M15``, ``H1`` or ``H4`` from the menu. Raises ConfigError, PageUnavailable."""
        if timeframe not in TIMEFRAMES:
            raise ConfigError(f"{timeframe!r} is not a timeframe of the page; choose from {', '.join(TIMEFRAMES)}.")
        self._click("timeframe menu")
        self._click("timeframe entries", text=timeframe)

    def active_asset(self) -> str | None:
        """Label of the asset that is shown, as far as the page tells. Prefer what the frames say."""
        shown = self._run(_TEXT_JS, SELECTORS["name of the asset shown"])
        if shown:
            return str(shown)
        return next((favourite.label for favourite in self.favourites() if favourite.active), None)

    def save_screenshot(self, path: Path) -> None:
        """Write what the tab shows as a PNG. Raises CommandFailed."""
        try:
            self._driver.save_screenshot(str(path))
        except _DRIVER_GONE as error:
            raise CommandFailed(f"No screenshot of the page: {_first_line(error)}.") from None

    def detach(self) -> None:
        """End the driver; Chrome and the tab stay as they are. Does nothing the second time."""
        self._driver.quit()  # never close(): that would close the trader's tab (the gate would refuse it)

    def __enter__(self) -> TradingPage:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.detach()

    def _click(self, what: str, *, within: str = "", told_by: str = "", text: str = "") -> None:
        selectors = [SELECTORS[name] if name else "" for name in (what, within, told_by)]
        looked_for = f"{what} {text!r}" if text else what
        self._until(looked_for, lambda: self._run(_CLICK_JS, *selectors, text) or None, selectors[0])

    def _until(self, what: str, look: Callable[[], T | None], selector: str = "") -> T:
        """Look again until it is there: the page may still be loading."""
        deadline = time.monotonic() + FIND_TIMEOUT_S
        while (found := look()) is None:
            if time.monotonic() >= deadline:
                raise self._missing(what, selector or SELECTORS[what])
            time.sleep(_POLL_S)
        return found

    def _missing(self, what: str, selector: str) -> FluxcapError:
        note = ""
        if self._screenshot is not None:
            try:
                self.save_screenshot(self._screenshot)
                note = f" A picture of the page is in {self._screenshot}."
            except CommandFailed as error:
                note = f" {error}"
        return PageUnavailable(f"The page has no {what} ({selector}); is it the trading page, and loaded?{note}")

    def _run(self, script: str, *arguments: Any) -> Any:
        try:
            return self._driver.execute_script(script, *arguments)
        except _DRIVER_GONE as error:
            raise PageUnavailable(f"The trading page cannot be reached any more: {_first_line(error)}.") from None


def find_chromedriver() -> Path:
    """The chromedriver that is installed: ``FLUXCAP_CHROMEDRIVER``, PATH, the usual places. Nothing is downloaded.

    Raises ConfigError when ``FLUXCAP_CHROMEDRIVER`` names no program, ChromeUnavailable when there is none.
    """
    configured = os.environ.get("FLUXCAP_CHROMEDRIVER")
    if configured:
        if not shutil.which(configured):
            raise ConfigError(f"FLUXCAP_CHROMEDRIVER names {configured!r}, which is no program; give its full path.")
        return Path(str(shutil.which(configured)))
    for candidate in ("chromedriver", *(() if sys.platform == "win32" else _DRIVERS)):
        if found := shutil.which(candidate):
            return Path(found)
    advice = _GET_DRIVER.get(sys.platform, _DOWNLOAD)
    raise ChromeUnavailable(f"No chromedriver found; {advice}, or set FLUXCAP_CHROMEDRIVER to its full path.")


def _tabs(gate: GateAddress) -> list[dict[str, Any]]:
    """Return the tabs that the gate shows. Raises ChromeUnavailable."""
    port = gate.endpoint.rpartition(":")[2]
    try:
        answer = httpx.get(
            f"http://127.0.0.1:{port}/json/list",
            headers={"Host": gate.endpoint},
            trust_env=False,
            timeout=GATE_TIMEOUT_S,
        )
    except httpx.HTTPError as error:
        raise ChromeUnavailable(f"The way to Chrome is closed: {error}.") from None
    if not answer.is_success:
        raise ChromeUnavailable(answer.text)
    return list(answer.json())


def _percent(text: str) -> int | None:
    """``+92`` → 92."""
    digits = text.strip().removeprefix("+").removesuffix("%").strip()
    return int(digits) if digits.isdecimal() else None


def _first_line(error: BaseException) -> str:
    text = str(getattr(error, "msg", None) or error)
    return text.strip().splitlines()[0].rstrip(".") if text.strip() else type(error).__name__
