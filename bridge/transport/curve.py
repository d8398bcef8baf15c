"""CURVE keys: making them, keeping them in files, and putting them on sockets.

A key pair is two files in the form that ZeroMQ's own tools read: ``<name>.key`` (public, to hand out) and
``<name>.key_secret`` (public and secret, mode 0600). A client needs the server's public file and a pair of its own. The
server lets in any client that knows its public key, or, given a folder of public files, only those.

``server_keys`` and ``client_keys`` take one path each, as the commands do: most of the time a folder.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec
import zmq

from fluxcap.bridge.system.files import others_may_read
from fluxcap.schemas.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

PUBLIC_ENDING = ".key"
SECRET_ENDING = ".key_secret"  # noqa: S105 - a file name
SERVER = "server"
"""Name of the server's pair within a folder of keys."""

_HEADER = "#   ZeroMQ CURVE {kind} certificate, made by fluxcap. {advice}\n\nmetadata\ncurve\n"


class CurveKeys(msgspec.Struct, frozen=True):
    """A key pair, Z85 text as bytes (40 each). ``secret`` is empty when only the public half is known."""

    public: bytes
    secret: bytes = b""

    def __repr__(self) -> str:
        return f"CurveKeys(public={self.public!r})"


class ServerCurve(msgspec.Struct, frozen=True):
    """A server's keys. ``allowed`` None allows every client that knows the server's public key."""

    keys: CurveKeys
    allowed: frozenset[bytes] | None = None

    def secure(self, socket: zmq.Socket[bytes]) -> None:
        """Make a socket speak CURVE as the server, before it is bound."""
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self.keys.secret)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self.keys.public)
        if self.allowed is not None:
            socket.setsockopt(zmq.ZAP_DOMAIN, b"fluxcap")


class ClientCurve(msgspec.Struct, frozen=True):
    """A client's keys; made by ``load_client``.

    Attributes
    ----------
    keys
        Its own pair.
    server_public
        The server's public key: 40 characters of Z85 as bytes.
    """

    keys: CurveKeys
    server_public: bytes

    def secure(self, socket: zmq.Socket[bytes]) -> None:
        """Make a socket speak CURVE as a client.

        Parameters
        ----------
        socket
            Not connected yet.
        """
        socket.setsockopt(zmq.CURVE_SECRETKEY, self.keys.secret)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self.keys.public)
        socket.setsockopt(zmq.CURVE_SERVERKEY, self.server_public)


def new_keys() -> CurveKeys:
    """A new random pair. Raises ConfigError where libzmq was built without CURVE."""
    try:
        return CurveKeys(*zmq.curve_keypair())
    except zmq.ZMQError as error:
        raise ConfigError(f"This libzmq has no CURVE: {error.strerror}.") from error


def create_keys(folder: Path, names: tuple[str, ...] = ("server", "client")) -> list[Path]:
    """Make a pair of key files per name. Returns the four (2 x names) paths.

    Raises ConfigError when one of the files is there already (keys are never overwritten) or cannot be written.
    """
    endings = (PUBLIC_ENDING, SECRET_ENDING)
    existing = [folder / (name + ending) for name in names for ending in endings if (folder / (name + ending)).exists()]
    if existing:
        raise ConfigError(f"{existing[0]} exists; keys are never overwritten. Name another folder.")
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in names:
            keys = new_keys()
            public = _HEADER.format(kind="public", advice="Hand it to the other side.")
            secret = _HEADER.format(kind="secret", advice="Keep it to yourself.")
            public_line, secret_line = (
                f'    {kind}-key = "{key.decode()}"\n'
                for kind, key in (("public", keys.public), ("secret", keys.secret))
            )
            paths += [folder / (name + PUBLIC_ENDING), folder / (name + SECRET_ENDING)]
            _write_new(paths[-2], public + public_line, 0o644)
            _write_new(paths[-1], secret + public_line + secret_line, 0o600)
    except OSError as error:
        raise ConfigError(f"Keys cannot be written to {folder}: {error}.") from error
    return paths


def _write_new(path: Path, text: str, mode: int) -> None:
    # Created with its mode, so that the secret is at no instant readable by others.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="ascii") as file:
        file.write(text)


def load_keys(path: Path) -> CurveKeys:
    """The pair in a secret file, or the public key in a public one.

    Raises ConfigError when the file is missing, holds no key, or is a secret that others may read.
    """
    from zmq.auth import load_certificate

    try:
        public, secret = load_certificate(path)
        is_open = others_may_read(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} contains no CURVE key: {error}. Make keys with `fluxcap keys`.") from error
    if any(key is not None and len(key) != 40 for key in (public, secret)):
        raise ConfigError(f"{path} contains no CURVE key: a key has 40 characters.")
    if secret is not None and is_open:
        raise ConfigError(f"{path} can be read by others; run `chmod 600 {path}`, or better make new keys.")
    return CurveKeys(public, secret or b"")


def load_server(secret_file: Path, allowed_folder: Path | None = None) -> ServerCurve:
    """A server's keys, and the clients it lets in: those with a public file in the folder (None: all). ConfigError."""
    keys = load_keys(secret_file)
    if not keys.secret:
        raise ConfigError(f"{secret_file} holds only a public key; the server needs its {SECRET_ENDING} file.")
    if allowed_folder is None:
        return ServerCurve(keys)
    allowed = frozenset(load_keys(path).public for path in sorted(allowed_folder.glob(f"*{PUBLIC_ENDING}")))
    if not allowed:
        raise ConfigError(f"{allowed_folder} holds no {PUBLIC_ENDING} file, so no client could connect.")
    return ServerCurve(keys, allowed)


def load_client(secret_file: Path, server_public_file: Path) -> ClientCurve:
    """Load a client's keys and its server's public key, as ``fluxcap keys`` makes them.

    Parameters
    ----------
    secret_file
        The client's ``….key_secret``, which nobody else may be able to read.
    server_public_file
        The server's ``….key``.

    Returns
    -------
    ClientCurve
        For ``curve`` of ``LiveClient`` and the other functions.

    Raises
    ------
    ConfigError
        When a file is missing, holds no key or only a public one, or the secret can be read by others.
    """
    keys = load_keys(secret_file)
    if not keys.secret:
        raise ConfigError(f"{secret_file} holds only a public key; the client needs its {SECRET_ENDING} file.")
    return ClientCurve(keys, load_keys(server_public_file).public)


def server_keys(path: Path) -> ServerCurve:
    """A server's keys by one path.

    A folder: its ``server.key_secret``, and of the clients only those whose public files lie in the folder too. A
    secret file: that pair, and every client that knows its public key. Raises ConfigError.
    """
    if not path.is_dir():
        return load_server(path)
    secret_file = path / (SERVER + SECRET_ENDING)
    keys = load_server(secret_file).keys
    clients = frozenset(load_keys(file).public for file in path.glob(f"*{PUBLIC_ENDING}")) - {keys.public}
    if not clients:
        raise ConfigError(
            f"{path} holds no client's {PUBLIC_ENDING} file, so no client could connect. Put the public files of the "
            f"allowed clients there, or name {secret_file} to allow every client that knows the server's public key."
        )
    return ServerCurve(keys, clients)


def client_keys(path: Path) -> ClientCurve:
    """Read a client's keys from one path.

    The path is a folder with ``server.key`` and one client's secret file, or a secret file with ``server.key`` beside
    it. Raises ConfigError.

    """
    if not path.is_dir():
        return load_client(path, path.parent / (SERVER + PUBLIC_ENDING))
    found = sorted(file for file in path.glob(f"*{SECRET_ENDING}") if file.stem != SERVER)
    if len(found) != 1:
        reason = f"several: {', '.join(file.name for file in found)}; name one of them" if found else "none"
        raise ConfigError(f"{path} should hold one client's {SECRET_ENDING} file and {SERVER}.key, but has {reason}.")
    return load_client(found[0], path / (SERVER + PUBLIC_ENDING))


def with_own_client(curve: ServerCurve | None) -> tuple[ServerCurve | None, ClientCurve | None]:
    """The same, with keys made on the spot for a client within the server's own process, which is let in too."""
    if curve is None:
        return None, None
    own = new_keys()
    allowed = None if curve.allowed is None else curve.allowed | {own.public}
    return ServerCurve(curve.keys, allowed), ClientCurve(own, curve.keys.public)


class _AllowList:
    def __init__(self, allowed: frozenset[bytes]) -> None:
        self._allowed = allowed

    def callback(self, domain: str, key: bytes) -> bool:
        return key in self._allowed


@contextlib.contextmanager
def gatekeeper(context: zmq.Context[zmq.Socket[bytes]], curve: ServerCurve | None) -> Iterator[None]:
    """Turn away clients that are not on the allow-list, while held. A thread of its own, one per context.

    Nothing to do without a list: then libzmq itself turns away who does not know the server's public key.
    """
    if curve is None or curve.allowed is None:
        yield
        return
    from zmq.auth.thread import ThreadAuthenticator  # brings asyncio; a client needs neither

    authenticator = ThreadAuthenticator(context)
    authenticator.start()
    try:
        authenticator.configure_curve_callback(domain="fluxcap", credentials_provider=_AllowList(curve.allowed))
        yield
    finally:
        authenticator.stop()
