"""Knows which page opened a socket, and whether one whose address nobody saw may count there. Pure.

In: events of the browser. A socket that was open before the attach has no address that anybody knows. On the
platform's own pages it counts all the same. On a mirror it does not: the mirror's name may have changed hands, and only
a socket to the platform's own hosts proves that it is one.
"""

from __future__ import annotations

from fluxcap.capture.chrome.events import ChromeEvent, SocketOpened, TabAttached, TabChanged, TabGone
from fluxcap.capture.platforms.base import PlatformHints

UNSEEN_SOCKET = "wss://unseen.invalid/"
"""Stands for the address of a socket that does not count, since nobody saw its address. No platform's pattern fits."""


class WatchedPages:
    """The addresses of the tabs, frames and workers that are watched."""

    def __init__(self, hints: PlatformHints) -> None:
        self._is_mirror = hints.is_mirror
        self._urls: dict[str, str] = {}

    def on_event(self, event: ChromeEvent) -> None:
        """Follow the tabs; other events are none of its business."""
        if isinstance(event, TabAttached | TabChanged):
            self._urls[event.target_id] = event.url.removeprefix("blob:")
        elif isinstance(event, TabGone):
            self._urls.pop(event.target_id, None)

    def url(self, target_id: str) -> str:
        """Return the address of a tab, frame or worker; ``""`` where it is not known."""
        return self._urls.get(target_id, "")

    def socket_url(self, event: SocketOpened) -> str:
        """Return the address of a socket as it counts: ``""`` for one that nobody saw, on a page where that may be."""
        return UNSEEN_SOCKET if not event.url and self._is_of_mirror(event.target_id) else event.url

    def _is_of_mirror(self, target_id: str) -> bool:
        """A worker whose script has no address of its own may be any page's."""
        url = self.url(target_id)
        return self._is_mirror(url) or (not url.startswith("http") and any(map(self._is_mirror, self._urls.values())))
