"""One connection to JetStream: TLS, credentials from a file, a word when it is lost. Coroutines; see event_loop.py.

A lost connection is not made again here, and nothing that waited for it is sent again: what was under way is
unresolved, and whoever opened it opens another and asks JetStream what it has.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluxcap.bridge.jetstream.address import NatsAddress
from fluxcap.schemas.errors import ConfigError, NatsRejected, NatsUnavailable

if TYPE_CHECKING:
    from nats.aio.client import Client

_log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 3.0
CLOSE_TIMEOUT_S = 0.5
PING_S = 5
"""A server that vanished without a word is noticed after two of these."""
WHAT_TO_INSTALL = 'NATS needs an extra; install it with: pip install "fluxcap[nats]"'


def require_nats() -> None:
    """Raises ConfigError where the extra is not installed."""
    try:
        import nats.aio.client  # noqa: F401
    except ImportError:
        raise ConfigError(WHAT_TO_INSTALL) from None


async def open_connection(
    address: NatsAddress,
    name: str,
    on_lost: Callable[[], None] = lambda: None,
    on_error: Callable[[Exception], None] = lambda error: None,
    **options: Any,
) -> Client:
    """A connection to any of the servers, nats-py's own object.

    Parameters
    ----------
    address
        Where, and who we are.
    name
        What the server's monitoring calls us.
    on_lost
        Called once, on the loop, when a connection that was made has ended, ``close`` included.
    on_error
        Called, on the loop, with each error that is no answer to anything; a refused permission arrives only so.
    options
        Further ones of nats-py's ``connect``.

    Raises ConfigError (the extra is missing, a file cannot be used), NatsRejected (credentials, TLS), NatsUnavailable.
    """
    require_nats()
    from nats import errors

    client = _make_client(address.needs_tls)
    failures: list[Exception] = []
    made = False

    async def note_error(error: Exception) -> None:
        failures.append(error)
        del failures[:-4]
        _log.debug("NATS: %s", error)
        on_error(error)

    async def on_close() -> None:
        if made:
            on_lost()

    keywords = _identity(address) | options
    try:
        await client.connect(
            list(address.servers),
            name=name,
            error_cb=note_error,
            closed_cb=on_close,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=CONNECT_TIMEOUT_S,  # type: ignore[arg-type]  # seconds, as it is used
            ping_interval=PING_S,
            max_outstanding_pings=1,
            **keywords,
        )
    except (errors.Error, OSError, TimeoutError) as error:
        await close_connection(client)
        raise _translate_error(address, error, failures) from None
    except BaseException:
        await close_connection(client)
        raise
    made = True
    return client


def _make_client(needs_tls: bool) -> Client:
    """nats-py greets a server that offers no TLS in the clear, whatever was asked for; this one does not.

    It also reads headers sooner: nats-py (2.16) looks at each letter of their names, half the cost of a message.
    """
    from nats.aio.client import Client
    from nats.errors import SecureConnWantedError

    class StrictClient(Client):
        def _connect_command(self) -> bytes:
            if needs_tls and not self._server_info.get("tls_required"):
                raise SecureConnWantedError
            return super()._connect_command()

        @staticmethod
        def _parse_header_lines(raw: bytes) -> dict[str, str]:
            return header_lines(raw)

    return StrictClient()


def header_lines(raw: bytes) -> dict[str, str]:
    """Lines ``Name: value`` as a dict; what is no such line is passed over."""
    found = {}
    for line in raw.decode("utf-8", "replace").split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            found[name] = value.strip(" \t\r\n\v\f")
    return found


def _identity(address: NatsAddress) -> dict[str, Any]:
    """Keywords for nats-py. Raises ConfigError."""
    who = address.credentials
    keywords: dict[str, Any] = {}
    if who.user:
        keywords |= {"user": who.user, "password": who.password}
    if who.token:
        keywords["token"] = who.token
    for name, path in (("nkeys_seed", who.nkey), ("user_credentials", who.creds)):
        if path is not None:
            _require_nkeys(path)
            keywords[name] = str(path)
    if who.ca or who.cert:
        try:
            context = ssl.create_default_context(cafile=who.ca)
            if who.cert is not None:
                context.load_cert_chain(who.cert, who.key)
        except (OSError, ValueError) as error:
            raise ConfigError(f"The TLS files for NATS cannot be used: {error.__class__.__name__}.") from None
        keywords["tls"] = context
    return keywords


def _require_nkeys(path: Path) -> None:
    try:
        import nkeys
    except ImportError:
        raise ConfigError(WHAT_TO_INSTALL) from None
    try:
        lines = path.read_bytes().split()
        seed = next(line for line in lines if line.startswith(b"SU") and len(line) == 58)
        if nkeys.crc16_checksum((raw := base64.b32decode(seed + b"=" * (-len(seed) % 8)))[:-2]) != raw[-2:]:
            raise ValueError
    except OSError as error:
        raise ConfigError(f"The credentials {path} cannot be read: {error.strerror}.") from None
    except (StopIteration, ValueError):
        raise ConfigError(f"{path} holds no valid NKey seed of a user.") from None


async def close_connection(client: Client) -> None:
    """Close a connection in any state, within half a second.

    nats-py's own ``close`` can wait forever: for a failed TLS handshake, or for a server that stopped reading.
    """
    with contextlib.suppress(Exception):
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await client.close()
            return
    # The farewell of TLS would be waited for, half a minute: the socket goes without.
    writer = getattr(getattr(client, "_transport", None), "_io_writer", None)
    if writer is not None:
        writer.transport.abort()


def _translate_error(
    address: NatsAddress, error: BaseException, failures: list[Exception]
) -> NatsRejected | NatsUnavailable:
    """An error of nats-py in our words. Only what it is goes into the text, never what was sent."""
    from nats import errors

    if isinstance(error, errors.NoServersError) and failures:
        error = failures[-1]  # what kept the last of the servers from answering
    if isinstance(error, errors.SecureConnWantedError):
        return NatsRejected(f"The NATS server at {address} offers no TLS, which is required here.")
    if isinstance(error, ssl.SSLError):
        return NatsRejected(f"No TLS with the NATS server at {address}: {getattr(error, 'reason', None) or 'refused'}.")
    text = str(error).lower()
    if isinstance(error, errors.AuthorizationError) or "authorization" in text or "authentication" in text:
        return NatsRejected(f"The NATS server at {address} rejected the credentials; check the file of credentials.")
    return NatsUnavailable(f"No NATS server answers at {address}; is it running?")
