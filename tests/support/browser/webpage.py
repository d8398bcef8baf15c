"""A page in a real Chromium, driven by Selenium, for the tests of what people see. Pictures go to ``artifacts/``.

``FLUXCAP_ARTIFACTS`` names another folder for them. The driver is the installed one, never a downloaded one.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import pytest
from selenium import webdriver
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    StaleElementReferenceException,
)
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.chromium import remote_connection
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.client_config import ClientConfig
from selenium.webdriver.remote.webelement import WebElement

from tests.support.browser.chromium import HEADLESS_FLAGS, chromium_executable
from tests.support.paths import ROOT
from tests.support.patience import PATIENCE_S, pause_s

CANNOT_BE_CLICKED_YET = (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    StaleElementReferenceException,
)
"""A menu that unfolds, or is drawn anew: the same click is right a moment later."""

ARTIFACTS = Path(os.environ.get("FLUXCAP_ARTIFACTS", ROOT / "artifacts"))
T = TypeVar("T")


class WebPage:
    """One browser with one page. Widgets are found by their ``data-test``."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> WebPage:
        self.driver.get_log("performance")
        self.driver.get(url)
        self.wait(lambda: self.script("return document.readyState") == "complete", "the page")
        return self

    def script(self, code: str, *arguments: Any) -> Any:
        return self.driver.execute_script(code, *arguments)

    def find(self, name: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, f'[data-test="{name}"]')

    def text(self, name: str) -> str:
        return str(self.script(f"return document.querySelector('[data-test=\"{name}\"]')?.innerText ?? ''"))

    def shown(self, name: str) -> bool:
        return bool(self.script(f"return !!document.querySelector('[data-test=\"{name}\"]')?.offsetParent"))

    def click(self, name: str) -> None:
        self.click_on(lambda: self.find(name))

    def click_text(self, within: str, text: str) -> None:
        """The button of that text within a widget."""
        self.click_on(lambda: self.find(within).find_element(By.XPATH, f'.//button[contains(., "{text}")]'))

    def click_on(self, find: Callable[[], WebElement]) -> None:
        def clicked() -> bool:
            try:
                find().click()
            except CANNOT_BE_CLICKED_YET:
                return False
            return True

        self.wait(clicked, "a click")

    def chart(self) -> dict[str, Any]:
        """What the chart holds and shows."""
        facts = self.script("return document.querySelector('.plot')?.fluxcap?.facts()")
        return dict(facts or {})

    def wait_chart(self, holds: Callable[[dict[str, Any]], Any], what: str) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            facts = self.chart()
            return facts if facts and holds(facts) else None

        return self.wait(found, what)

    def wait_text(self, name: str, words: str) -> str:
        """Until a widget says so."""
        return self.wait(lambda: self.text(name) if words in self.text(name) else None, f"{words!r} in {name}")

    def wait(self, found: Callable[[], T | None], what: str) -> T:
        begin_s = time.monotonic()
        while (waited_s := time.monotonic() - begin_s) < PATIENCE_S:
            value = found()
            if value:
                return value
            time.sleep(pause_s(waited_s))
        self.picture("failed")
        raise AssertionError(f"{what} did not come within {PATIENCE_S:g} s")

    def picture(self, name: str) -> None:
        """Keep a picture of the page."""
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(ARTIFACTS / f"{name}.png"))

    def complaints(self) -> list[str]:
        """What the console holds of warnings and errors."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def foreign_requests(self) -> list[str]:
        """Addresses beyond this machine that the page asked for since ``open``."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        urls = [
            event["params"]["request"]["url"] if "request" in event["params"] else event["params"].get("url", "")
            for event in events
            if event["method"] in ("Network.requestWillBeSent", "Network.webSocketCreated")
        ]
        local = ("http://127.0.0.1:", "ws://127.0.0.1:", "http://localhost:", "data:", "blob:", "chrome:", "about:")
        return [url for url in urls if url and not url.startswith(local)]

    def accessibility_faults(self) -> list[str]:
        """What axe-core finds against WCAG 2.1, levels A and AA: rule, and where."""
        self.script("if (!window.axe) (0, eval)(arguments[0])", axe_core())
        found = self.driver.execute_async_script(
            "const [tags, done] = arguments; axe.run(document, {runOnly: tags, resultTypes: ['violations']})"
            ".then(({violations}) => done(violations.flatMap(({id, nodes}) =>"
            " nodes.map(({target, failureSummary}) => `${id}: ${target.join(' ')}: ${failureSummary}`))))",
            ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"],
        )
        return list(found)

    def wide(self) -> tuple[int, int]:
        """Width of the content and of the window."""
        width, window = self.script("return [document.documentElement.scrollWidth, window.innerWidth]")
        return int(width), int(window)


@cache
def axe_core() -> str:
    """The code of axe-core, as its package brings it."""
    package = importlib.util.find_spec("axe_core_python")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).with_name("axe.min.js").read_text("utf-8")


def _patient_chrome(options: webdriver.ChromeOptions, service: Service) -> webdriver.Chrome:
    """Selenium gives every command two minutes, its first one too, and no way to ask for more."""
    patient = mock.patch.object(
        remote_connection, "ClientConfig", lambda **settings: ClientConfig(**{**settings, "timeout": PATIENCE_S})
    )
    with patient:
        driver = webdriver.Chrome(options=options, service=service)
    driver.set_script_timeout(PATIENCE_S)
    return driver


@contextmanager
def web_page(profile: Path, size: str = "1280,800") -> Iterator[WebPage]:
    """A new headless browser; skips the test where there is none."""
    chromium, chromedriver = chromium_executable(), shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip("no Chromium with its chromedriver on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*HEADLESS_FLAGS, f"--window-size={size}", f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = _patient_chrome(options, Service(chromedriver))
    try:
        yield WebPage(driver)
    finally:
        driver.quit()
