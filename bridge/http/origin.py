"""Keeps foreign pages out of the local server: an ASGI wrapper over HTTP and WebSocket alike.

Any page that is open in the trader's Chrome can send requests to this machine. So a request must be addressed to us by
one of our own names (or else a foreign name that resolves to this machine would do), and must not come from a page of
another origin. Nor may another page show ours in a frame, or load our answers as scripts or images.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from fluxcap.bridge.transport.addresses import canonical_host

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

LOCAL_NAMES = ("127.0.0.1", "localhost", "::1")
_ANSWER_HEADERS = (
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"same-origin"),
)
_DECIDING = ("host", "origin", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest")
_REFUSAL = b'{"error": "This address is for pages of its own only."}'


class OriginGuard:
    """Refuses with 403 what ``refusal`` names a reason for, and forbids other pages to embed the rest.

    A request with two Host or two Origin headers is refused, too.

    names: host names under which the server may be addressed, beside the address a connection came in on.
    origins: foreign origins that may use it all the same, such as ``http://localhost:5000``.
    """

    def __init__(self, app: App, names: Iterable[str], origins: Iterable[str] = ()) -> None:
        self._app = app
        self._names = frozenset(names)
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        names = self._names | {str((scope.get("server") or ("", 0))[0])}
        headers = _headers(scope)
        if headers is None or refusal(headers, names, self._origins):
            await _refuse(scope, send)
        elif scope["type"] == "websocket":
            await self._app(scope, receive, send)
        else:
            await self._app(scope, receive, _with_headers(send))


def refusal(headers: dict[str, str], names: Iterable[str], origins: Iterable[str] = ()) -> str:
    """Return the reason to refuse a request, or "". ``headers``: names in lower case."""
    if not origin_allowed(headers.get("host", ""), headers.get("origin"), names, origins):
        return "origin"
    if "origin" in headers:
        return ""
    # Requests without an Origin: images, scripts, links. A link in another page may lead here; nothing else may.
    site = headers.get("sec-fetch-site", "none")
    is_link = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return "" if site in ("none", "same-origin") or is_link else "site"


def origin_allowed(host: str, origin: str | None, names: Iterable[str], origins: Iterable[str] = ()) -> bool:
    """Return whether a request was addressed to us by one of our names and comes from no foreign page."""
    try:
        if canonical_host(urlsplit(f"//{host}").hostname or "") not in set(map(canonical_host, names)):
            return False
        if origin is None or origin in set(origins):
            return True
        parts = urlsplit(origin)
        return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()
    except ValueError:
        return False


def _headers(scope: Scope) -> dict[str, str] | None:
    """The headers by name in lower case; None where one that decides stands twice: nobody could say which counts."""
    pairs = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
    names = [name for name, _ in pairs]
    return None if any(names.count(name) > 1 for name in _DECIDING) else dict(pairs)


def _with_headers(send: Send) -> Send:
    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *_ANSWER_HEADERS]
        await send(message)

    return sending


async def _refuse(scope: Scope, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": "foreign origin"})
        return
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(_REFUSAL)).encode())]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": _REFUSAL})
