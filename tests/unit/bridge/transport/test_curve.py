"""Keys: private to their owner, never overwritten, and refused when others may read them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import zmq.auth

from fluxcap.bridge.transport.curve import (
    CurveKeys,
    ServerCurve,
    client_keys,
    create_keys,
    load_client,
    load_keys,
    load_server,
    new_keys,
    server_keys,
    with_own_client,
)
from fluxcap.schemas.errors import ConfigError
from tests.support.systems import not_on_windows


def test_keys_that_were_written_are_read_back(tmp_path: Path) -> None:
    public, secret, *_ = create_keys(tmp_path)

    keys = load_keys(secret)

    assert len(keys.public) == len(keys.secret) == 40
    assert load_keys(public) == CurveKeys(keys.public)


@not_on_windows("files have no modes there")
def test_only_the_owner_may_read_the_secret(tmp_path: Path) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in create_keys(tmp_path / "keys")}

    assert modes["server.key_secret"] == modes["client.key_secret"] == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_zeromqs_own_reader_understands_the_files(tmp_path: Path) -> None:
    _, secret, *_ = create_keys(tmp_path)

    assert zmq.auth.load_certificate(secret) == (load_keys(secret).public, load_keys(secret).secret)


def test_keys_are_never_overwritten(tmp_path: Path) -> None:
    paths = create_keys(tmp_path)
    before = [path.read_bytes() for path in paths]

    with pytest.raises(ConfigError, match="never overwritten"):
        create_keys(tmp_path)

    assert [path.read_bytes() for path in paths] == before


@not_on_windows("files have no modes there")
def test_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    _, secret, *_ = create_keys(tmp_path)
    secret.chmod(0o644)

    with pytest.raises(ConfigError, match="chmod 600"):
        load_keys(secret)


@pytest.mark.parametrize("content", ["", "curve\n", 'curve\n    public-key = "short"\n', "\0\1\2"])
def test_a_file_without_a_key_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.key"
    path.write_text(content)

    with pytest.raises(ConfigError, match="no CURVE key"):
        load_keys(path)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fluxcap keys"):
        load_keys(tmp_path / "absent.key")


def test_a_server_and_a_client_need_their_secrets(tmp_path: Path) -> None:
    server_public, server_secret, client_public, client_secret = create_keys(tmp_path)

    assert load_server(server_secret).allowed is None
    assert load_client(client_secret, server_public).server_public == load_keys(server_public).public
    with pytest.raises(ConfigError, match="only a public key"):
        load_server(server_public)
    with pytest.raises(ConfigError, match="only a public key"):
        load_client(client_public, server_public)


def test_a_folder_of_public_files_is_the_list_of_who_may_come(tmp_path: Path) -> None:
    _, server_secret, client_public, _ = create_keys(tmp_path)
    (tmp_path / "allowed").mkdir()
    (tmp_path / "allowed" / "desk.key").write_bytes(client_public.read_bytes())

    assert load_server(server_secret, tmp_path / "allowed").allowed == {load_keys(client_public).public}


def test_an_empty_list_would_let_nobody_in(tmp_path: Path) -> None:
    _, server_secret, *_ = create_keys(tmp_path)
    (tmp_path / "allowed").mkdir()

    with pytest.raises(ConfigError, match="no client could connect"):
        load_server(server_secret, tmp_path / "allowed")


def test_a_secret_is_not_shown(tmp_path: Path) -> None:
    keys = new_keys()

    assert keys.secret.decode() not in repr(keys)


def test_a_servers_folder_lets_in_the_clients_whose_public_files_it_holds(tmp_path: Path) -> None:
    create_keys(tmp_path, ("server", "desk", "laptop"))
    (tmp_path / "laptop.key").unlink()

    curve = server_keys(tmp_path)

    assert curve.keys == load_keys(tmp_path / "server.key_secret")
    assert curve.allowed == {load_keys(tmp_path / "desk.key").public}


def test_a_servers_secret_file_lets_in_all_that_know_its_public_key(tmp_path: Path) -> None:
    create_keys(tmp_path)

    assert server_keys(tmp_path / "server.key_secret").allowed is None


def test_a_servers_folder_without_a_client_says_what_to_do(tmp_path: Path) -> None:
    create_keys(tmp_path, ("server",))

    with pytest.raises(ConfigError, match="no client could connect"):
        server_keys(tmp_path)


@pytest.mark.parametrize("named", [".", "desk.key_secret"])
def test_a_client_is_known_by_its_folder_or_by_its_file(tmp_path: Path, named: str) -> None:
    create_keys(tmp_path, ("server", "desk"))

    curve = client_keys(tmp_path / named)

    assert curve.keys == load_keys(tmp_path / "desk.key_secret")
    assert curve.server_public == load_keys(tmp_path / "server.key").public


def test_a_folder_of_several_clients_or_of_none_is_refused(tmp_path: Path) -> None:
    create_keys(tmp_path, ("server",))
    with pytest.raises(ConfigError, match="but has none"):
        client_keys(tmp_path)
    create_keys(tmp_path, ("desk", "laptop"))

    with pytest.raises(ConfigError, match=r"several: desk\.key_secret, laptop\.key_secret; name one"):
        client_keys(tmp_path)


def test_a_client_without_the_servers_public_file_is_refused(tmp_path: Path) -> None:
    create_keys(tmp_path, ("desk",))

    with pytest.raises(ConfigError, match=r"server\.key contains no CURVE key"):
        client_keys(tmp_path)


def test_a_servers_own_client_is_let_in_beside_the_others() -> None:
    keys, desk = new_keys(), new_keys()

    curve, own = with_own_client(ServerCurve(keys, frozenset([desk.public])))
    anybody, _ = with_own_client(ServerCurve(keys))

    assert curve is not None
    assert own is not None
    assert curve.allowed == {desk.public, own.keys.public}
    assert own.server_public == keys.public
    assert anybody == ServerCurve(keys)
    assert with_own_client(None) == (None, None)
