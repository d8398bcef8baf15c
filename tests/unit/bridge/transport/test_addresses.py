"""What may be bound, what can be connected to, and how IPv6 is written."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fluxcap.bridge.transport.addresses import (
    canonical_host,
    default_endpoints,
    in_address,
    is_ipv6,
    is_wildcard,
    parse_url,
    reachable_here,
    require_bindable,
    require_connectable,
    require_host,
)
from fluxcap.schemas.errors import ConfigError


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp://127.0.0.1:5556",
        "tcp://localhost:1",
        "tcp://trader-desk.lan:65535",
        "tcp://[::1]:5556",
        "tcp://[fe80::1%eth0]:5556",
        "tcp://eth0;192.168.1.5:5556",
        "ipc:///tmp/x",
        "inproc://x",
    ],
)
def test_where_somebody_can_be_may_be_connected_to(endpoint: str) -> None:
    require_connectable(endpoint)


@pytest.mark.parametrize(
    ("endpoint", "why"),
    [
        ("tcp://127.0.0.1:65536", "a port is a number from 1 to 65535"),
        ("tcp://127.0.0.1:70000", "a port is a number from 1 to 65535"),
        ("tcp://127.0.0.1:-1", "a port is a number"),
        ("tcp://127.0.0.1:0", "it names no port"),
        ("tcp://127.0.0.1:*", "it names no port"),
        ("tcp://127.0.0.1", "an IPv6 address|no host|it names no port|is neither|a port is"),
        ("tcp://0.0.0.0:5556", "all addresses of a server"),
        ("tcp://[::]:5556", "all addresses of a server"),
        ("tcp://[::ffff:0.0.0.0]:5556", "all addresses of a server"),
        ("tcp://*:5556", "all addresses of a server"),
        ("tcp://:5556", "it names no host"),
        ("tcp://[]:5556", "it names no host"),
        ("tcp://::1:5556", "an IPv6 address stands in brackets"),
        ("tcp://[::1]", "it names no port"),
        ("tcp://[1:2]:5556", "no IPv6 address"),
        ("tcp://999.1.1.1:5556", "neither a host name nor an address"),
        ("tcp://a b:5556", "neither a host name nor an address"),
        ("tcp://239.1.1.1:5556", "many machines"),
        ("tcp://255.255.255.255:5556", "many machines"),
        ("127.0.0.1:5556", "it is no endpoint"),
        ("tcp://", "it is no endpoint"),
        ("", "it is no endpoint"),
    ],
)
def test_where_nobody_can_be_is_refused_in_one_sentence(endpoint: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as refused:
        require_connectable(endpoint)

    assert str(refused.value).count(". ") == 0
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "endpoint",
    ["tcp://127.0.0.1:0", "tcp://*:5556", "tcp://0.0.0.0:*", "tcp://[::]:5556", "tcp://eth0:5556", "ipc://x"],
)
def test_what_a_server_can_bind_is_let_through(endpoint: str) -> None:
    require_bindable(endpoint)


@pytest.mark.parametrize(
    "endpoint",
    ["tcp://127.0.0.1:65536", "tcp://127.0.0.1:70000", "tcp://:5556", "tcp://::1:5556", "tcp://[x:y]:1", "tcp://a:b"],
)
def test_what_no_server_can_bind_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="cannot be used"):
        require_bindable(endpoint)


def test_ipv6_stands_in_brackets_before_a_port() -> None:
    assert default_endpoints("::1") == default_endpoints("[::1]") == ("tcp://[::1]:5556", "tcp://[::1]:5557")
    assert (in_address("::1"), in_address("[::1]"), in_address("desk")) == ("[::1]", "[::1]", "desk")
    assert is_ipv6("tcp://[::1]:5556")
    assert not is_ipv6("tcp://127.0.0.1:5556")


@pytest.mark.parametrize(
    ("spelling", "host"),
    [
        ("LocalHost", "localhost"),
        ("[0:0:0:0:0:0:0:1]", "::1"),
        ("::FFFF:192.168.1.5", "192.168.1.5"),
        ("192.168.1.5", "192.168.1.5"),
    ],
)
def test_a_host_has_one_spelling(spelling: str, host: str) -> None:
    assert canonical_host(spelling) == host


@pytest.mark.parametrize("host", ["*", "0.0.0.0", "::", "[::]", "0:0:0:0:0:0:0:0", "::ffff:0.0.0.0"])
def test_all_addresses_of_a_machine_are_known_by_every_spelling(host: str) -> None:
    assert is_wildcard(host)


@pytest.mark.parametrize(
    ("bound", "here"),
    [
        ("tcp://0.0.0.0:5556", "tcp://127.0.0.1:5556"),
        ("tcp://[::]:5556", "tcp://[::1]:5556"),
        ("tcp://[::ffff:0.0.0.0]:5556", "tcp://127.0.0.1:5556"),
        ("http://0.0.0.0:3001", "http://127.0.0.1:3001"),
        ("http://[::]:3001", "http://[::1]:3001"),
        ("tcp://192.168.1.5:5556", "tcp://192.168.1.5:5556"),
        ("ipc:///tmp/x", "ipc:///tmp/x"),
    ],
)
def test_this_machine_reaches_a_server_of_all_addresses_by_loopback(bound: str, here: str) -> None:
    assert reachable_here(bound) == here


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("desk", "http://desk:3001"),
        ("desk:8080", "http://desk:8080"),
        ("::1", "http://[::1]:3001"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
        ("https://desk", "https://desk"),
    ],
)
def test_an_http_address_is_taken_as_people_write_it(written: str, url: str) -> None:
    assert parse_url(written, 3001) == url


@pytest.mark.parametrize(
    "written", ["", "http://", "desk:70000", "desk:0", "0.0.0.0:3001", "[::]:3001", "ftp://desk", "http://:3001", "a b"]
)
def test_an_http_address_of_nobody_is_refused(written: str) -> None:
    with pytest.raises(ConfigError, match="http://HOST:PORT"):
        parse_url(written, 3001)


@pytest.mark.parametrize(("written", "host"), [("::1", "[::1]"), ("[::1]", "[::1]"), ("desk", "desk")])
def test_a_machine_is_named_without_a_port(written: str, host: str) -> None:
    assert require_host(written) == host


@pytest.mark.parametrize("written", ["", "desk:5556", "0.0.0.0", "::", "tcp://desk", "[desk"])
def test_no_machine_is_refused(written: str) -> None:
    with pytest.raises(ConfigError, match="is no machine to connect to"):
        require_host(written)


@pytest.mark.parametrize("check", [require_connectable, require_bindable, parse_url, require_host])
def test_a_long_address_is_shown_in_part(check: Callable[..., object]) -> None:
    arguments = ("tcp://" + "y" * 5_000 + ":x", 3001)[: 2 if check is parse_url else 1]

    with pytest.raises(ConfigError) as refused:
        check(*arguments)

    assert len(str(refused.value)) < 400
