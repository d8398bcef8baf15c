"""Addresses of pages and sockets: what of them may be kept. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit


def without_query(url: str) -> str:
    """An address without user, query and fragment, which may carry tokens. ``""`` for what is no address.

    Of ``data:`` and ``blob:`` only the scheme and origin remain.
    """
    if url.startswith("blob:"):
        return "blob:" + origin(url)
    try:
        parts = urlsplit(url)
        netloc = parts.netloc.rpartition("@")[2]
    except ValueError:
        return ""
    if not netloc and parts.scheme not in ("about", "chrome"):
        return f"{parts.scheme}:" if parts.scheme else ""
    return f"{parts.scheme}://{netloc}{parts.path}" if netloc else f"{parts.scheme}:{parts.path}"


def origin(url: str) -> str:
    """``scheme://host:port`` of an address, of a ``blob:`` the one inside; ``""`` when it has none."""
    try:
        parts = urlsplit(url.removeprefix("blob:"))
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else ""
