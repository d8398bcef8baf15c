"""Matches addresses of a platform by patterns of hosts or of whole addresses. Pure.

``*.example.com`` and ``127.0.0.1:8080`` match hosts; ``https://example.com/trade/*`` matches scheme, host and path,
each by itself, so that no path of another site can look like ours. Queries never count.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from fluxcap.schemas.errors import ConfigError

PAGES = ("http", "https")
SOCKETS = ("ws", "wss")


class AddressPatterns:
    """Patterns for addresses of some schemes.

    Parameters
    ----------
    patterns
        Hosts (``*.example.com``, ``127.0.0.1:8080``) or whole addresses (``https://example.com/trade/*``).
    schemes
        ``PAGES`` or ``SOCKETS``.

    Raises
    ------
    ConfigError
        For a pattern of another scheme, or one that would match every host.
    """

    def __init__(self, patterns: Sequence[str], schemes: Collection[str]) -> None:
        self._schemes = frozenset(schemes)
        self._patterns = [_parts(pattern.strip(), self._schemes) for pattern in patterns]

    def match(self, url: str) -> bool:
        """Return whether an address fits one of the patterns; its query does not count.

        Parameters
        ----------
        url
            The address, whole.

        Returns
        -------
        bool
            False also for what is no address.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            return False
        if host is None or parts.scheme not in self._schemes:
            return False
        names = (host, f"{host}:{port}") if port else (host,)
        return any(
            fnmatchcase(parts.scheme, scheme)
            and any(fnmatchcase(name, host_pattern) for name in names)
            and fnmatchcase(parts.path or "/", path)
            for scheme, host_pattern, path in self._patterns
        )


def hosts_of(typed: Sequence[str]) -> tuple[str, ...]:
    """Host patterns as people type them: ``https://mirror.example/`` means ``mirror.example``."""
    return tuple((text.partition("://")[2] or text).strip().partition("/")[0] for text in typed)


def _parts(pattern: str, schemes: Collection[str]) -> tuple[str, str, str]:
    """Patterns for scheme, host and path."""
    scheme, found, rest = pattern.partition("://")
    if not found:
        scheme, rest = "*", pattern
    host, slash, path = rest.partition("/")
    if scheme != "*" and scheme not in schemes:
        raise ConfigError(
            f"{pattern!r} begins with {scheme}://; it must begin with one of {', '.join(sorted(schemes))}."
        )
    if not any(sign.isalnum() for sign in host):
        raise ConfigError(f"{pattern!r} names no host; write it like https://example.com/* or *.example.com.")
    return scheme, host.lower(), f"/{path}" if slash else "*"
