"""Which requests a local server may answer."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from fluxcap.bridge.http.origin import OriginGuard, Receive, Scope, Send, origin_allowed, refusal

NAMES = ("127.0.0.1", "localhost", "::1")
HERE = "127.0.0.1:3001"


@pytest.mark.parametrize("host", [HERE, "localhost:3001", "[::1]:3001", "LOCALHOST:3001"])
def test_our_own_names_are_answered(host: str) -> None:
    assert refusal({"host": host}, NAMES) == ""


@pytest.mark.parametrize(
    "host", ["", "evil.example", "127.0.0.1.evil.example", "evil.example:3001", "[", "localhost@x"]
)
def test_a_foreign_name_that_resolves_to_us_is_refused(host: str) -> None:
    assert refusal({"host": host}, NAMES)


@pytest.mark.parametrize(
    ("name", "host"),
    [("::1", "[0:0:0:0:0:0:0:1]:3001"), ("::ffff:192.168.1.5", "192.168.1.5:3001"), ("fd00::5", "[FD00::5]:3001")],
)
def test_an_address_of_ours_is_known_by_every_spelling(name: str, host: str) -> None:
    assert refusal({"host": host}, [name]) == ""
    assert refusal({"host": host, "origin": f"http://{host}"}, [name]) == ""


async def status_of(kind: str, headers: list[tuple[bytes, bytes]]) -> object:
    """What the guard answers: the status, or the code with which a WebSocket is closed; "let in" beyond it."""
    answers: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        answers.append("let in")

    async def send(message: MutableMapping[str, Any]) -> None:
        answers.append(message.get("status", message.get("code")))

    async def receive() -> MutableMapping[str, Any]:
        raise AssertionError("nothing is read")

    await OriginGuard(app, NAMES)({"type": kind, "headers": headers, "server": ("127.0.0.1", 3001)}, receive, send)
    return answers[0]


@pytest.mark.parametrize(("kind", "refused"), [("http", 403), ("websocket", 1008)])
@pytest.mark.parametrize("twice", [b"Host", b"host", b"Origin", b"Sec-Fetch-Site"])
def test_a_header_that_decides_and_stands_twice_is_refused(kind: str, refused: int, twice: bytes) -> None:
    here = HERE.encode()
    headers = [(b"host", here), (b"origin", b"http://" + here), (b"sec-fetch-site", b"same-origin")]
    same = dict(headers)[twice.lower()]

    assert asyncio.run(status_of(kind, headers)) == "let in"
    assert asyncio.run(status_of(kind, [*headers, (twice, same)])) == refused


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://127.0.0.1:9999",
        "http://localhost:3001",
        "file://127.0.0.1:3001",
        "http://[",
    ],
)
def test_a_page_of_another_origin_is_refused(origin: str) -> None:
    assert refusal({"host": HERE, "origin": origin}, NAMES)


def test_our_own_page_is_answered() -> None:
    assert refusal({"host": HERE, "origin": f"http://{HERE}"}, NAMES) == ""


def test_an_origin_that_the_user_allowed_is_answered() -> None:
    assert origin_allowed(HERE, "http://localhost:5000", NAMES, ["http://localhost:5000"])
    assert not origin_allowed(HERE, "http://localhost:5001", NAMES, ["http://localhost:5000"])


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_an_image_or_script_of_another_page_is_refused_though_it_has_no_origin(site: str) -> None:
    headers = {"host": HERE, "sec-fetch-site": site, "sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"}

    assert refusal(headers, NAMES)


def test_a_link_in_another_page_may_lead_here_but_a_frame_may_not() -> None:
    link = {"host": HERE, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}

    assert refusal(link, NAMES) == ""
    assert refusal({**link, "sec-fetch-dest": "iframe"}, NAMES)
