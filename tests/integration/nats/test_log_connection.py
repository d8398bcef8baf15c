"""Getting in to a real nats-server: each kind of credentials, right and wrong, and TLS or nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import nkeys
import pytest

from fluxcap.bridge.jetstream.address import parse_address
from fluxcap.bridge.jetstream.connection import open_connection
from fluxcap.bridge.jetstream.event_loop import EventLoopThread
from fluxcap.schemas.errors import ConfigError, NatsRejected, NatsUnavailable
from tests.support.nats.nats_rig import NatsServer, certificate
from tests.support.ports import lasting_port

Servers = Callable[..., NatsServer]
SECRET = "s3cret-of-the-desk"


def enter(url: str, credentials: Path | None = None) -> bool:
    """Connect and leave; whether the server had us in."""
    with EventLoopThread("connection") as loop:
        client = loop.run(open_connection(parse_address(url, credentials), "test"), 30)
        try:
            return bool(client.is_connected)
        finally:
            loop.run(client.close(), 30)


def seed_file(folder: Path, name: str, raw: bytes) -> tuple[Path, str]:
    """A file with an NKey seed, and its public key."""
    seed = nkeys.encode_seed(raw, nkeys.PREFIX_BYTE_USER)
    path = folder / name
    path.write_bytes(seed)
    return path, nkeys.from_seed(bytearray(seed)).public_key.decode()


def test_a_server_on_ipv6_is_reached(tmp_path: Path):
    server = NatsServer(tmp_path, host="::1").start()
    try:
        assert enter(server.url)
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("config", "right", "wrong"),
    [
        (
            f'user: "desk", password: "{SECRET}"',
            f'user = "desk"\npassword = "{SECRET}"',
            'user = "desk"\npassword = "x"',
        ),
        (f'token: "{SECRET}"', f'token = "{SECRET}"', 'token = "x"'),
    ],
)
def test_password_and_token(
    nats_server: Servers, tmp_path: Path, caplog: pytest.LogCaptureFixture, config: str, right: str, wrong: str
):
    caplog.set_level(logging.DEBUG)
    server = nats_server(f"authorization {{ {config} }}")
    file = tmp_path / "credentials.toml"
    file.write_text(right)
    assert enter(server.url, file)

    file.write_text(wrong)
    with pytest.raises(NatsRejected, match="rejected the credentials"):
        enter(server.url, file)
    with pytest.raises(NatsRejected):
        enter(server.url)

    assert SECRET not in caplog.text


def test_an_nkey_signs_and_is_never_sent(nats_server: Servers, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    right, public = seed_file(tmp_path, "right.nk", bytes(range(32)))
    wrong, _ = seed_file(tmp_path, "wrong.nk", bytes(32))
    server = nats_server(f"authorization {{ users: [ {{ nkey: {public} }} ] }}")

    assert enter(server.url, right)
    with pytest.raises(NatsRejected):
        enter(server.url, wrong)

    assert right.read_text() not in caplog.text


def test_a_seed_that_is_none_is_told_without_it(nats_server: Servers, tmp_path: Path):
    seed, _ = seed_file(tmp_path, "seed", bytes(range(32)))
    broken = seed.read_text()[:-1] + ("A" if seed.read_text()[-1] != "A" else "B")
    seed.write_text(broken[:20] + "A" * 38)
    toml = tmp_path / "c.toml"
    toml.write_text('nkey = "missing"\n')

    with pytest.raises(ConfigError, match="holds no valid NKey seed") as refused:
        enter(nats_server().url, seed)
    with pytest.raises(ConfigError, match="cannot be read"):
        enter("nats://127.0.0.1:1", toml)

    assert broken[:10] not in str(refused.value)


def test_tls_with_a_certificate_we_trust_and_not_with_another(nats_server: Servers, tmp_path: Path):
    cert, key = certificate(tmp_path)
    server = nats_server(f'tls {{ cert_file: "{cert}", key_file: "{key}" }}\nauthorization {{ token: "{SECRET}" }}')
    trusting, doubting = tmp_path / "trusting.toml", tmp_path / "doubting.toml"
    trusting.write_text(f'token = "{SECRET}"\nca = "{cert.name}"\n')
    doubting.write_text(f'token = "{SECRET}"\n')

    assert enter(server.url.replace("nats://", "tls://"), trusting)
    with pytest.raises(NatsRejected, match="No TLS"):
        enter(server.url.replace("nats://", "tls://"), doubting)


def test_nothing_is_said_to_a_server_without_tls_when_tls_was_asked_for(nats_server: Servers, tmp_path: Path):
    file = tmp_path / "credentials.toml"
    file.write_text(f'token = "{SECRET}"\n')
    server = nats_server("trace: true, debug: true")

    with pytest.raises(NatsRejected, match="offers no TLS"):
        enter(server.url.replace("nats://", "tls://"), file)

    assert SECRET not in server.log
    assert "[CONNECT" not in server.log


def test_any_server_of_a_cluster_will_do_and_none_is_told(nats_server: Servers):
    server = nats_server()
    dead = lasting_port()

    assert enter(f"nats://127.0.0.1:{dead},{server.url}")
    with pytest.raises(NatsUnavailable, match="is it running"):
        enter(f"nats://127.0.0.1:{dead}")


def test_the_end_of_a_connection_is_told_once(nats_server: Servers):
    server = nats_server()
    told: list[int] = []
    with EventLoopThread("connection") as loop:
        client = loop.run(open_connection(parse_address(server.url), "test", lambda: told.append(1)), 30)
        server.kill()
        loop.run(client.close(), 30)
        with pytest.raises(NatsUnavailable):
            loop.run(open_connection(parse_address(server.url), "test", lambda: told.append(2)), 30)

    assert told == [1]
