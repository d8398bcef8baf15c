"""How to look for the browser that the settings name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from capture.chrome.endpoint import BrowserInfo, find, parse_endpoint
from capture.chrome.launch import default_profile
from capture.settings import Settings


def browser_finder(settings: Settings) -> Callable[[], BrowserInfo]:
    """How to look for the browser. Raises ConfigError.

    A profile that was named leads: its browser may come back on another port. With neither profile nor address named,
    the one that ``fluxcap chrome`` uses is looked at when nothing answers on the usual port.
    """
    host, port = parse_endpoint(settings.chrome)
    if settings.chrome_profile is not None:
        return partial(find, host, port, settings.chrome_profile, profile_leads=True)
    return partial(find, host, port, None if "chrome" in settings.model_fields_set else default_profile())
