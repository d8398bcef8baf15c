"""Find the browser: who answers on the DevTools port, and which port a profile's browser has opened.

A browser that lets programs in only by its user's consent (Chrome 144 and later, at
``chrome://inspect/#remote-debugging``) answers every HTTP path with an empty 404, on purpose: there the profile's
``DevToolsActivePort`` alone tells the address. Any WebSocket to it opens a dialog, and nothing here opens one.

Fails fast: ``probe`` takes at most a second in all, whatever the other side does, and its one error says what to do.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from fluxcap.bridge.transport.addresses import in_address, why_unreachable, without_brackets
from fluxcap.schemas.errors import ChromeUnavailable, ConfigError, ConsentRequired

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 9222
PORT_FILE = "DevToolsActivePort"
"""In the folder of a browser's profiles, not in one profile."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_MAX_ANSWER_BYTES = 4_000_000
_MAX_HEAD_BYTES = 65_536
_UNTOLD = 2**62
T = TypeVar("T")
_HOST_PORT = re.compile(r"(?:(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):)?(?P<port>[0-9]{1,5})")


class BrowserInfo(msgspec.Struct, frozen=True):
    """A browser's description of itself on ``/json/version``."""

    websocket_url: str
    """Browser-level DevTools WebSocket, reachable from here."""
    product: str
    """E.g. ``Chrome/156.0.8078.79``."""
    protocol_version: str
    user_agent: str


class ConsentBrowser(msgspec.Struct, frozen=True):
    """A browser that asks its user before it lets a program in."""

    label: str
    """Its name for people."""
    websocket_url: str
    """Browser-level DevTools WebSocket; connecting to it opens the dialog."""
    start: str
    """Tells this start of the browser from another."""


class _Version(msgspec.Struct, frozen=True):
    websocket_url: str = msgspec.field(name="webSocketDebuggerUrl")
    product: str = msgspec.field(name="Browser", default="")
    protocol_version: str = msgspec.field(name="Protocol-Version", default="")
    user_agent: str = msgspec.field(name="User-Agent", default="")


class PageInfo(msgspec.Struct, frozen=True):
    """A target of ``/json/list``."""

    id: str
    type: str
    url: str = ""
    title: str = ""


def parse_endpoint(text: str) -> tuple[str, int]:
    """``HOST:PORT``, ``[IPv6]:PORT`` or only ``PORT`` (then 127.0.0.1). Raises ConfigError."""
    match = _HOST_PORT.fullmatch(text.strip())
    port = int(match["port"]) if match else 0
    if match is None or not 0 < port < 65536:
        raise ConfigError(f"{text!r} is not HOST:PORT; write it like {DEFAULT_HOST}:{DEFAULT_PORT}.")
    host = without_brackets(match["host"] or DEFAULT_HOST)
    if reason := why_unreachable(host):
        raise ConfigError(
            f"{text!r} is not where Chrome can be: {reason}; write it like {DEFAULT_HOST}:{DEFAULT_PORT}."
        )
    return host, port


def probe(host: str = DEFAULT_HOST, port: int = DEFAULT_PORT, timeout_s: float = 1.0) -> BrowserInfo:
    """Ask who listens on the DevTools port; at most ``timeout_s`` seconds in all.

    Raises ChromeUnavailable: nobody listens, something else than Chrome answers, or the answer comes too late.
    """
    version = get_json(host, port, "/json/version", _Version, timeout_s)
    where = _address(host, port)
    if not version.websocket_url.startswith("ws://"):
        raise _something_else(where)
    path = "/" + version.websocket_url.removeprefix("ws://").partition("/")[2]
    return BrowserInfo(f"ws://{where}{path}", version.product, version.protocol_version, version.user_agent)


def find(
    host: str, port: int, profile: Path | None = None, *, profile_leads: bool = False, timeout_s: float = 1.0
) -> BrowserInfo:
    """Ask on the port, and on the one that the browser of a profile has opened; the first that answers.

    Where another program holds a port on 127.0.0.1, Chrome opens it on ::1 alone, so that is asked too.
    ``profile_leads``: the profile's browser first. Profiles count on this machine alone. Raises ChromeUnavailable: what
    ``probe`` says of the port.
    """
    written = active_port(profile) if profile is not None and host in _LOOPBACK else None
    if written is None or (written[0] == port and not profile_leads):
        return _probe_both(host, port, timeout_s)
    if profile_leads:
        with contextlib.suppress(ChromeUnavailable):
            return _probe_profile(host, written, timeout_s)
        return _probe_both(host, port, timeout_s)
    try:
        return _probe_both(host, port, timeout_s)
    except ChromeUnavailable as error:
        with contextlib.suppress(ChromeUnavailable):
            return _probe_profile(host, written, timeout_s)
        raise error from None


def _probe_both(host: str, port: int, timeout_s: float) -> BrowserInfo:
    try:
        return probe(host, port, timeout_s)
    except ChromeUnavailable as error:
        if host in (DEFAULT_HOST, "localhost"):
            try:
                return probe("::1", port, timeout_s)
            except ConsentRequired as better:
                raise better from None
            except ChromeUnavailable:
                pass
        raise error from None


def _probe_profile(host: str, written: tuple[int, str], timeout_s: float) -> BrowserInfo:
    """The browser that wrote the file, not another that has its port by now."""
    failure = ChromeUnavailable(f"Another browser answers on port {written[0]} now.")
    for address in (host, "::1") if host == DEFAULT_HOST else (host,):
        try:
            info = probe(address, written[0], timeout_s)
        except ChromeUnavailable as error:
            failure = error
        else:
            if info.websocket_url.endswith(written[1]):
                return info
    raise failure


def find_by_consent(profiles: Mapping[str, Path], timeout_s: float = 1.0) -> BrowserInfo | ConsentBrowser:
    """Look for the running browser of a profile, the one started last; no dialog is opened.

    ``profiles``: folders of profiles, by the browsers' names for people. Raises ChromeUnavailable: none of them runs
    with remote debugging allowed.
    """
    for label, folder in sorted(profiles.items(), key=lambda one: _written(one[1])[0], reverse=True):
        _, port, path = _written(folder)
        for host in (DEFAULT_HOST, "::1") if path else ():
            try:
                info = probe(host, port, timeout_s)
            except ConsentRequired:
                started_ns, port_now, path = _written(folder)  # anew: it may have been an earlier start's
                if port_now == port:
                    return ConsentBrowser(label, f"ws://{_address(host, port)}{path}", f"{port}{path} {started_ns}")
            except ChromeUnavailable:
                continue
            else:
                if info.websocket_url.endswith(path):
                    return info
    where = next(iter(profiles.values())) if len(profiles) == 1 else None
    raise ChromeUnavailable(
        f"No browser {f'of the profile {where} ' if where else ''}allows remote debugging; open "
        "chrome://inspect/#remote-debugging in it and tick “Allow remote debugging for this browser instance”."
    )


def _written(folder: Path) -> tuple[int, int, str]:
    """Return when a browser wrote its port file (epoch ns), and port and path in it; zeros and "" without one.

    People name a profile inside the folder (``Default``) as often as the folder itself.
    """
    for place in (folder, folder.parent):
        address = active_port(place)
        if address is not None:
            with contextlib.suppress(OSError):
                return (place / PORT_FILE).stat().st_mtime_ns, *address
    return 0, 0, ""


def open_pages(host: str = DEFAULT_HOST, port: int = DEFAULT_PORT, timeout_s: float = 1.0) -> list[PageInfo]:
    """The tabs that are open, the one used last first. Raises ChromeUnavailable as ``probe`` does."""
    targets = get_json(host, port, "/json/list", list[PageInfo], timeout_s)
    return [target for target in targets if target.type == "page"]


def active_port(profile_dir: Path) -> tuple[int, str] | None:
    """Port and WebSocket path that the browser of a profile has written to ``DevToolsActivePort``.

    None when the file is absent or not yet whole. The file outlives a killed browser: probe the port.
    """
    try:
        lines = (profile_dir / PORT_FILE).read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return None
    if len(lines) < 2 or not re.fullmatch(r"[0-9]{1,5}", lines[0]) or not lines[1].startswith("/devtools/"):
        return None
    port = int(lines[0])
    return (port, lines[1]) if 0 < port < 65536 else None


def get_json(host: str, port: int, path: str, answer_type: type[T], timeout_s: float) -> T:
    """GET a JSON value from the DevTools port within ``timeout_s``; the ChromeUnavailable it raises says why not."""
    where = _address(host, port)
    try:
        status, head, body = _get(host, port, path, time.monotonic() + timeout_s)
        if status != 200:
            raise _refusal(host, where, status, head, body)
        return msgspec.json.decode(body, type=answer_type)
    except TimeoutError:
        raise ChromeUnavailable(
            f"Chrome did not answer on {where} within {timeout_s:g} s; it may be starting, frozen or on another host."
        ) from None
    except (http.client.HTTPException, ValueError, RecursionError, ConnectionResetError, BrokenPipeError):
        raise _something_else(where) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ChromeUnavailable(
            f"Nothing answers on {where} ({reason}); start Chrome with `fluxcap chrome --port {port}`."
        ) from None


def _get(host: str, port: int, path: str, deadline: float) -> tuple[int, bytes, bytes]:
    """GET with one deadline (monotonic seconds) over connecting, sending and every read: status, head, body."""
    with _connect(host, port, deadline) as sock:
        request = f"GET {path} HTTP/1.1\r\nHost: {_address(host, port)}\r\nConnection: close\r\n\r\n"
        sock.sendall(request.encode("ascii"))
        answer = bytearray()
        size = 0
        while len(answer) < _MAX_ANSWER_BYTES:
            sock.settimeout(_left(deadline))
            chunk = sock.recv(16_384)
            answer += chunk
            size = size or _size(answer)
            if not chunk or len(answer) >= size > 0:
                break
    return _parse(bytes(answer))


def _connect(host: str, port: int, deadline: float) -> socket.socket:
    """Try each address of the host within the one deadline (``localhost`` may be two)."""
    failure: OSError = ConnectionRefusedError("no address")
    for _family, _type, _proto, _name, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        try:
            return socket.create_connection((str(address[0]), port), _left(deadline))
        except TimeoutError:
            raise
        except OSError as error:
            failure = error
    raise failure


def _size(answer: bytearray) -> int:
    """Return the length of the answer in bytes, as its header announces: Chrome keeps the connection open.

    0 while the header is incomplete, ``_UNTOLD`` where it has no length. Raises HTTPException for an invalid header.
    """
    end = answer.find(b"\r\n\r\n", 0, _MAX_HEAD_BYTES)
    if end < 0:
        if len(answer) >= _MAX_HEAD_BYTES:
            raise http.client.HTTPException
        return 0
    length = re.search(rb"(?mi)^content-length:\s*([0-9]{1,9})\s*$", answer[: end + 2])
    return end + 4 + int(length[1]) if length else _UNTOLD


def _parse(answer: bytes) -> tuple[int, bytes, bytes]:
    match = re.match(rb"HTTP/1\.[01] ([0-9]{3})", answer)
    if match is None:
        raise http.client.BadStatusLine(repr(answer[:40]))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(match[1]), head, body


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _address(host: str, port: int) -> str:
    return f"{in_address(host)}:{port}"


def _refusal(host: str, where: str, status: int, head: bytes, body: bytes) -> ChromeUnavailable:
    """Say who answers with an error (each answer as seen with Chromium 156)."""
    if status == 404 and not body and b"Content-Length:0" in head:  # no space: nobody else writes it so
        return ConsentRequired(
            f"A browser on {where} lets programs in only by your consent; `fluxcap run --consent` asks for it."
        )
    if status == 500 and b"not an IP address or localhost" in body:
        return ChromeUnavailable(
            f"Chrome on {where} answers to no host name; write its IP address in place of {host} in `--chrome`."
        )
    return _something_else(where)


def _something_else(where: str) -> ChromeUnavailable:
    return ChromeUnavailable(
        f"Something other than Chrome answers on {where}; start Chrome on another port with `fluxcap chrome --port` "
        "and name it with `--chrome HOST:PORT`."
    )
