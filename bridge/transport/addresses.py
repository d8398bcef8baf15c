"""Addresses of machines and sockets: the defaults, what may be bound and connected to, IPv4 and IPv6. Pure.

An IPv6 address stands in brackets wherever a port may follow, ``tcp://[::1]:5556``, and bare where it is alone. A host
name stands for its IPv4 address, as it always did: libzmq tries one address of a name, and that had better be the one
that most programs bind.
"""

from __future__ import annotations

import re

from fluxcap.schemas.errors import ConfigError

MAX_PORT = 65_535
_HOST_NAME = re.compile(r"(?=.{1,253}$)[^\s\[\]:/?#@%;*]+")
_SHOWN = 120
"""Characters of a wrong address that are shown."""


def in_address(host: str) -> str:
    """A host as it stands before ``:PORT``: IPv6 in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def default_endpoints(host: str = "127.0.0.1") -> tuple[str, str]:
    """The two addresses of a machine whose server listens on the default ports. ``host``: IPv6 bare or in brackets."""
    name = in_address(host)
    return f"tcp://{name}:5556", f"tcp://{name}:5557"


DEFAULT_PUB, DEFAULT_REP = default_endpoints()


def without_brackets(host: str) -> str:
    """``[::1]`` → ``::1``; anything else as it is."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def canonical_host(host: str) -> str:
    """One spelling for one host: lower case, IPv6 in its short form, IPv4 within IPv6 as IPv4."""
    from ipaddress import IPv6Address, ip_address  # here and below: whoever imports the client need not wait for it

    try:
        address = ip_address(without_brackets(host))
    except ValueError:
        return host.lower()
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def is_wildcard(host: str) -> bool:
    """Return whether a host means "all addresses of this machine", which only a server can use."""
    return host == "*" or canonical_host(host) in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


def is_ipv6(endpoint: str) -> bool:
    """Return whether an endpoint names an IPv6 address."""
    return endpoint.startswith("tcp://[")


def why_unreachable(host: str) -> str:
    """Return why nobody can be reached at a host, or ``""``. IPv6 without brackets."""
    if not host:
        return "it names no host"
    if is_wildcard(host):
        return f"{host} stands for all addresses of a server; name one of them, such as 127.0.0.1"
    from ipaddress import ip_address

    try:
        address = ip_address(host)
    except ValueError:
        last = host.rstrip(".").rpartition(".")[2]
        is_name = _HOST_NAME.fullmatch(host) is not None and not last.isdigit()
        return "" if is_name else f"{host[:_SHOWN]!r} is neither a host name nor an address"
    if address.is_multicast or str(address) == "255.255.255.255":
        return f"{host} stands for many machines"
    return ""


def require_bindable(endpoint: str) -> None:
    """Raises ConfigError for a TCP endpoint that no server can bind; the rest is libzmq's to say."""
    if endpoint.startswith("tcp://"):
        host, port = _split(endpoint)
        if port != "*":
            _port(endpoint, port, 0)
        if not host:
            raise _wrong(endpoint, "it names no host")
        if host != "*" and ":" in host:
            _require_ipv6(endpoint, host)


def require_connectable(endpoint: str) -> None:
    """Raises ConfigError for an endpoint that no client can reach."""
    transport, separator, rest = endpoint.partition("://")
    if not separator or not transport or not rest:
        raise _wrong(endpoint, "it is no endpoint")
    if transport != "tcp":
        return
    host, port = _split(endpoint.rpartition(";")[2] if ";" in endpoint else endpoint)  # libzmq's SOURCE;TARGET
    if port in ("", "0", "*"):
        raise _wrong(endpoint, "it names no port")
    _port(endpoint, port, 1)
    if ":" in host:
        _require_ipv6(endpoint, host)
    if reason := why_unreachable(host.partition("%")[0]):
        raise _wrong(endpoint, reason)


def parse_url(text: str, default_port: int) -> str:
    """An HTTP address as people write it, ``HOST``, ``HOST:PORT`` or a URL, as a URL without a path.

    Raises ConfigError for one at which nobody can be reached.
    """
    from urllib.parse import urlsplit

    written = text.strip()
    bare = in_address(written) if _is_ipv6_literal(written) else written
    whole = bare if "://" in bare else f"http://{bare}"
    try:
        parts = urlsplit(whole)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _wrong(text, f"a port is a number from 1 to {MAX_PORT}", "http://HOST:PORT") from None
    reason = why_unreachable(host.partition("%")[0])
    if parts.scheme not in ("http", "https"):
        reason = "it is no HTTP address"
    elif port == 0:
        reason = "it names no port"
    if reason:
        raise _wrong(text, reason, "http://HOST:PORT")
    if port is None and "://" not in written:
        return f"{parts.scheme}://{in_address(host)}:{default_port}"
    return whole.rstrip("/")


def require_host(text: str) -> str:
    """A machine's name or address, IPv6 with or without brackets, as it stands before ``:PORT``. Raises ConfigError."""
    host = without_brackets(text.strip())
    reason = why_unreachable(host.partition("%")[0])
    if reason:
        raise ConfigError(
            f"{text[:_SHOWN]!r} is no machine to connect to: {reason}. Write its name or its address alone."
        )
    return in_address(host)


def reachable_here(address: str) -> str:
    """The address at which this machine reaches what is bound there: a wildcard becomes loopback."""
    transport, separator, rest = address.partition("://")
    host, colon, port = rest.rpartition(":")
    if not separator or not colon or not is_wildcard(without_brackets(host)):
        return address
    return f"{transport}://{'[::1]' if host.startswith('[::') and 'ffff' not in host else '127.0.0.1'}:{port}"


def _split(endpoint: str) -> tuple[str, str]:
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    if host.startswith("[") and not host.endswith("]"):  # tcp://[::1] without a port
        return without_brackets(f"{host}:{port}"), ""
    if ":" in host and not host.startswith("["):
        raise _wrong(endpoint, "an IPv6 address stands in brackets", "tcp://[::1]:PORT")
    return without_brackets(host), port


def _port(endpoint: str, text: str, least: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= MAX_PORT):
        raise _wrong(endpoint, f"a port is a number from {least} to {MAX_PORT}")
    return int(text)


def _require_ipv6(endpoint: str, host: str) -> None:
    if not _is_ipv6_literal(host.partition("%")[0]):
        raise _wrong(endpoint, f"{host[:_SHOWN]!r} is no IPv6 address")


def _is_ipv6_literal(text: str) -> bool:
    from ipaddress import IPv6Address

    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _wrong(address: str, reason: str, form: str = "tcp://HOST:PORT") -> ConfigError:
    return ConfigError(f"{address[:_SHOWN]!r} cannot be used: {reason}; write {form}.")
