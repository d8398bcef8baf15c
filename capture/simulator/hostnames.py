"""The simulated site under the platform's own host names, so that URL filters are met as in reality.

Chrome is told to find those names on the loopback port of the site. Plain HTTP is enough: the names are not preloaded
for HSTS (tried with Chromium 156). A service worker wants a secure origin besides, hence the second flag.
"""

from __future__ import annotations

PAGE_URL = "http://pocketoption.com/"
"""The page, for a Chrome started with ``platform_flags``. Its market socket is at ``ws://demo-api-eu.po.market``."""

_NAMES = ("pocketoption.com", "*.pocketoption.com", "*.po.market", "chat-po.site")


def platform_flags(port: int) -> tuple[str, ...]:
    """Command-line flags that make a Chrome find the platform's names at ``127.0.0.1:port``."""
    rules = ", ".join(f"MAP {name} 127.0.0.1:{port}" for name in _NAMES)
    return (
        f"--host-resolver-rules={rules}",
        f"--unsafely-treat-insecure-origin-as-secure={PAGE_URL.rstrip('/')}",
    )
