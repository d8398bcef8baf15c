"""Which addresses are a platform's."""

from __future__ import annotations

import pytest

from fluxcap.capture.platforms.addresses import PAGES, SOCKETS, AddressPatterns, hosts_of
from fluxcap.schemas.errors import ConfigError


@pytest.mark.parametrize(
    ("pattern", "url", "ours"),
    [
        ("example.com", "https://example.com/any/path?q=1", True),
        ("example.com", "https://www.example.com/", False),
        ("*.example.com", "https://www.example.com/", True),
        ("*.example.com", "https://example.com.evil.test/", False),
        ("127.0.0.1:8080", "http://127.0.0.1:8080/", True),
        ("127.0.0.1:8080", "http://127.0.0.1:8081/", False),
        ("127.0.0.1", "http://127.0.0.1:8081/", True),
        ("https://example.com/trade/*", "https://example.com/trade/BTC", True),
        ("https://example.com/trade/*", "https://example.com/", False),
        ("https://example.com/trade/*", "http://example.com/trade/BTC", False),
        ("https://example.com/*", "https://evil.test/?https://example.com/", False),
        ("https://example.com/*", "https://evil.test/https://example.com/", False),
        ("https://example.com/*", "https://example.com@evil.test/", False),
        ("https://example.com", "https://example.com", True),
        ("EXAMPLE.com", "https://example.COM/", True),
        ("example.com", "ftp://example.com/", False),
        ("example.com", "https://[bad/", False),
        ("example.com", "https://example.com:99999/", False),
        ("example.com", "about:blank", False),
    ],
)
def test_scheme_host_and_path_are_matched_each_by_itself(pattern: str, url: str, ours: bool):
    assert AddressPatterns([pattern], PAGES).match(url) is ours


def test_a_pattern_of_another_scheme_is_refused():
    with pytest.raises(ConfigError, match=r"'https://example.com' begins with https://; it must begin with one of ws"):
        AddressPatterns(["https://example.com"], SOCKETS)


@pytest.mark.parametrize("pattern", ["*", "", "https://*/trade", "*:*/x", "*.*"])
def test_a_pattern_that_matches_every_host_is_refused(pattern: str):
    with pytest.raises(ConfigError, match="names no host"):
        AddressPatterns([pattern], PAGES)


def test_hosts_are_understood_as_people_paste_them():
    assert hosts_of(["https://mirror.example/en/", "*.mirror.example", "127.0.0.1:80/"]) == (
        "mirror.example",
        "*.mirror.example",
        "127.0.0.1:80",
    )
