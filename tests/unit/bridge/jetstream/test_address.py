"""Addresses of the log and files of credentials; a secret is never part of a text."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxcap.bridge.jetstream.address import Credentials, parse_address, read_credentials
from fluxcap.schemas.errors import ConfigError

SECRET = "s3cret"
SEED = "SUAJWKVAGN5ICDZW5RUOHPS2OYG2PALM2QIDSHYTRNYGHVTTA2GUMM6ONI"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "credentials"


def test_addresses_of_a_cluster_are_completed():
    assert parse_address("nats://a:1, b,tls://[::1]").servers == ("nats://a:1", "nats://b:4222", "tls://[::1]:4222")


@pytest.mark.parametrize(
    "text", ["", " , ", "http://a", "nats://", "nats://a:x", "nats://a:99999", "nats://a/path", "ws://a"]
)
def test_what_is_no_address_is_refused(text: str):
    with pytest.raises(ConfigError):
        parse_address(text)


def test_credentials_in_an_address_are_refused_and_not_repeated():
    with pytest.raises(ConfigError, match="file of credentials") as refused:
        parse_address(f"nats://desk:{SECRET}@a")

    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (f'user = "desk"\npassword = "{SECRET}"', Credentials(user="desk", password=SECRET)),
        (f'token = "{SECRET}"', Credentials(token=SECRET)),
    ],
)
def test_toml_is_read_and_never_shown(file: Path, content: str, expected: Credentials):
    file.write_text(content)

    found = read_credentials(file)

    assert found == expected
    assert SECRET not in repr(found)
    assert SECRET not in repr(parse_address("a", file))


def test_files_are_told_by_what_is_in_them(file: Path):
    file.write_text(f" {SEED}\n")
    assert read_credentials(file) == Credentials(nkey=file)
    file.write_text("-----BEGIN NATS USER JWT-----\nx\n")
    assert read_credentials(file) == Credentials(creds=file)
    file.write_text('nkey = "seed"\nca = "ca.pem"\n')
    assert read_credentials(file) == Credentials(nkey=file.parent / "seed", ca=file.parent / "ca.pem")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        f'password = "{SECRET}"'.encode(),
        f'user = {SECRET}"'.encode(),
        f'pass = "{SECRET}"'.encode(),
        b'user = 1\npassword = "x"',
        b"\xff",
        b"a=" + b"[" * 5_000,
    ],
)
def test_a_file_that_is_none_is_told_without_its_content(file: Path, content: bytes):
    file.write_bytes(content)

    with pytest.raises(ConfigError) as refused:
        read_credentials(file)

    assert SECRET not in str(refused.value)
    assert SECRET not in str(refused.value.__context__ if not refused.value.__suppress_context__ else "")


def test_a_missing_file_is_told(file: Path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_credentials(file)


@pytest.mark.parametrize(
    ("servers", "content", "needed"),
    [
        ("nats://127.0.0.1", f'token = "{SECRET}"', False),
        ("nats://localhost", f'token = "{SECRET}"', False),
        ("nats://desk.example", f'token = "{SECRET}"', True),
        ("nats://127.0.0.1,nats://desk.example", f'user = "a"\npassword = "{SECRET}"', True),
        ("nats://desk.example", SEED, False),
        ("tls://127.0.0.1", SEED, True),
        ("nats://127.0.0.1", 'ca = "ca.pem"', True),
    ],
)
def test_a_password_never_leaves_the_machine_in_the_clear(file: Path, servers: str, content: str, needed: bool):
    file.write_text(content)

    assert parse_address(servers, file).needs_tls is needed


@pytest.mark.parametrize(
    "server", ["nats://0.0.0.0:4222", "nats://[::]:4222", "nats://a:0", "nats://a:70000", "nats://:1"]
)
def test_a_server_that_nobody_can_reach_is_refused(server: str) -> None:
    with pytest.raises(ConfigError, match="nats://HOST:PORT"):
        parse_address(server)
