"""Addresses of NATS servers, and credentials from a file.

Credentials never stand on a command line or in an address, for both are seen and kept by others. A file of credentials
is one of three, recognised by what is in it:

- a ``.creds`` file, as NATS' tools make them (a JWT and its seed);
- an NKey seed, ``SU…``, alone in the file;
- TOML with ``user``, ``password``, ``token``, files ``nkey`` and ``creds``, and ``ca``, ``cert`` and ``key`` for TLS;
  relative paths are taken from the folder of the file.

Nothing read from such a file is ever part of a message or of ``repr``.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import msgspec

from fluxcap.bridge.transport.addresses import in_address, why_unreachable
from fluxcap.schemas.errors import ConfigError

DEFAULT_PORT = 4222
_SEED = re.compile(rb"\s*SU[A-Z2-7]{56}\s*")
_FIELDS = ("user", "password", "token", "nkey", "creds", "ca", "cert", "key")
_FILES = ("nkey", "creds", "ca", "cert", "key")


class Credentials(msgspec.Struct, frozen=True):
    """Credentials and TLS files for NATS. Texts are secret, paths are not."""

    user: str = ""
    password: str = ""
    token: str = ""
    nkey: Path | None = None
    """File with an NKey seed."""
    creds: Path | None = None
    ca: Path | None = None
    """Certificates to trust in place of the system's."""
    cert: Path | None = None
    key: Path | None = None

    def __repr__(self) -> str:
        given = [name for name in _FIELDS if getattr(self, name)]
        return f"Credentials({', '.join(given)})"

    @property
    def is_plaintext(self) -> bool:
        """Return whether the credentials are sent unencrypted where there is no TLS. An NKey only signs."""
        return bool(self.password or self.token)


class NatsAddress(msgspec.Struct, frozen=True):
    """Addresses of one NATS cluster, such as ``nats://127.0.0.1:4222``, in ``servers``."""

    servers: tuple[str, ...]
    credentials: Credentials = Credentials()

    def __str__(self) -> str:
        return ",".join(self.servers)

    @property
    def needs_tls(self) -> bool:
        """Return whether a server without TLS is refused.

        True with ``tls://`` or certificates, and when a password or token would leave this machine unencrypted.
        """
        parts = [urlsplit(server) for server in self.servers]
        asked = any(part.scheme == "tls" for part in parts) or self.credentials.ca or self.credentials.cert
        return bool(asked) or (self.credentials.is_plaintext and not all(map(_is_here, parts)))


def parse_address(servers: str, credentials: Path | None = None) -> NatsAddress:
    """JetStream at ``servers`` (``nats://HOST:PORT``, several of one cluster with commas), with a file of credentials.

    Raises ConfigError; its text never repeats what may be secret.
    """
    found = tuple(_server(text.strip()) for text in servers.split(",") if text.strip())
    if not found:
        raise ConfigError("No address of a NATS server is given; write nats://HOST:PORT.")
    return NatsAddress(found, read_credentials(credentials) if credentials is not None else Credentials())


def _server(text: str) -> str:
    try:
        parts = urlsplit(text if "://" in text else f"nats://{text}")
        host, port = parts.hostname, DEFAULT_PORT if parts.port is None else parts.port
    except ValueError:
        raise ConfigError("An address of a NATS server cannot be read; write nats://HOST:PORT.") from None
    if "@" in text:
        raise ConfigError(
            "Credentials must not be in an address, where others can see them: name a file of credentials instead."
        )
    if parts.scheme not in ("nats", "tls") or not host or parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigError(f"{text!r} is no address of a NATS server; write nats://HOST:PORT or tls://HOST:PORT.")
    if reason := why_unreachable(host.partition("%")[0]) or ("" if port else "it names no port"):
        raise ConfigError(f"{text!r} is no address of a NATS server: {reason}; write nats://HOST:PORT.")
    return f"{parts.scheme}://{in_address(host)}:{port}"


def _is_here(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_credentials(path: Path) -> Credentials:
    """Read a file of credentials; see the module. Raises ConfigError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"The credentials {path} cannot be read: {error.strerror}.") from None
    if b"BEGIN NATS USER JWT" in content:
        return Credentials(creds=path)
    if _SEED.fullmatch(content):
        return Credentials(nkey=path)
    try:
        table = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError):  # its text may hold a secret
        raise ConfigError(f"{path} is neither a .creds file, nor an NKey seed, nor TOML.") from None
    unknown = sorted(set(table) - set(_FIELDS))
    if unknown or not table or not all(isinstance(value, str) and value for value in table.values()):
        what = f"unknown {', '.join(unknown)}" if unknown else "each must be a text that is not empty"
        raise ConfigError(f"{path}: {what}; it may hold {', '.join(_FIELDS)}.")
    if ("user" in table) != ("password" in table) or ("cert" in table) != ("key" in table):
        raise ConfigError(f"{path}: give user and password together, and cert and key together.")
    return Credentials(**{name: path.parent / value if name in _FILES else value for name, value in table.items()})
