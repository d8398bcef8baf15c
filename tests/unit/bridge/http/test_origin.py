"""Which requests a local server may answer."""

from __future__ import annotations

import pytest

from fluxcap.bridge.http.origin import origin_allowed, refusal

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
