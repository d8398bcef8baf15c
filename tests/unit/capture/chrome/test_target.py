"""What of an address may be kept."""

from __future__ import annotations

import pytest

from fluxcap.capture.chrome.target import origin, without_query


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://host.test/path?token=1#x", "https://host.test/path"),
        ("wss://user:secret@host.test:8443/socket.io/?sid=1", "wss://host.test:8443/socket.io/"),
        ("https://[::1]:80/", "https://[::1]:80/"),
        ("https://[broken/", ""),
        ("blob:https://host.test/0b1c", "blob:https://host.test"),
        ("data:text/javascript,secret", "data:"),
        ("about:blank", "about:blank"),
        ("", ""),
        ("nonsense", ""),
    ],
)
def test_user_query_and_fragment_are_dropped(url: str, kept: str) -> None:
    assert without_query(url) == kept


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://u@host.test:1/x?y", "https://host.test:1"),
        ("blob:https://host.test/0b1c", "https://host.test"),
        ("data:text/javascript,1", ""),
        ("https://[broken", ""),
        ("", ""),
    ],
)
def test_origin_is_scheme_and_host(url: str, expected: str) -> None:
    assert origin(url) == expected
