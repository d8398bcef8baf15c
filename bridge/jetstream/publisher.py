"""Puts messages on JetStream, any number under way at once, each with its own answer. Coroutines.

nats-py's own ``publish_async`` never ends for a message that the server refuses (2.16: the error is raised where nobody
waits), so the answers are taken here.
"""

from __future__ import annotations

import asyncio
import enum
from typing import TYPE_CHECKING, Any

import msgspec

from fluxcap.schemas.errors import NatsError, NatsRejected, NatsUnavailable

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

ACK_TIMEOUT_S = 5.0


class PublishError(enum.Enum):
    """The reason why JetStream rejected a message."""

    OUT_OF_ORDER = "its subject has another last message than expected"
    TOO_LARGE = "it is larger than JetStream allows"
    FULL = "the JetStream stream is full"
    NO_STREAM = "no JetStream stream takes this subject; fluxcap forward --setup makes it"
    OTHER = "JetStream rejected it"


class Ack(msgspec.Struct, frozen=True):
    """The result of publishing a message: its position, or the reason why it was rejected.

    ``duplicate``: a message with its id exists; its content is not known.
    """

    stream_position: int = 0
    duplicate: bool = False
    error: PublishError | None = None
    text: str = ""


class _Error(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _Reply(msgspec.Struct):
    seq: int = 0
    duplicate: bool = False
    error: _Error | None = None


_PUBLISH_ERRORS = {
    10071: PublishError.OUT_OF_ORDER,  # wrong last sequence
    10054: PublishError.TOO_LARGE,  # message size exceeds maximum allowed
    10077: PublishError.FULL,  # maximum messages, or bytes, exceeded
    10023: PublishError.FULL,  # insufficient resources
    10047: PublishError.FULL,  # insufficient storage resources
    10060: PublishError.NO_STREAM,  # expected stream does not match
}
_decode = msgspec.json.Decoder(_Reply).decode


class _InFlight(msgspec.Struct, frozen=True, eq=False):
    subject: str
    at_s: float
    ack: asyncio.Future[Ack]


class AsyncPublisher:
    """Over one connection; ends with it. ``open`` first."""

    def __init__(self, client: Client, ack_timeout_s: float = ACK_TIMEOUT_S) -> None:
        self._client = client
        self._ack_timeout_s = ack_timeout_s
        self._inbox = client.new_inbox()
        self._sent: dict[str, _InFlight] = {}
        """What is not answered yet, the oldest first, by where the answer goes."""
        self._watch: asyncio.TimerHandle | None = None
        self._number = 0

    async def open(self) -> None:
        """Raises NatsUnavailable."""
        from nats import errors

        try:
            await self._client.subscribe(f"{self._inbox}.*", cb=self._on_reply)
        except (errors.Error, OSError) as error:
            raise NatsUnavailable(_ended(error)) from None

    async def publish(self, subject: str, payload: bytes, headers: dict[str, str]) -> Ack:
        """Publish a message and wait for the answer.

        Raises NatsUnavailable without an answer: then the message may or may not be stored; NatsRejected when this user
        may not publish there.
        """
        from nats import errors

        if len(payload) + 1_024 > self._client.max_payload:
            return Ack(error=PublishError.TOO_LARGE, text=f"the server takes {self._client.max_payload} bytes")
        self._number += 1
        reply = f"{self._inbox}.{self._number}"
        loop = asyncio.get_running_loop()
        self._sent[reply] = sent = _InFlight(subject, loop.time(), loop.create_future())
        if self._watch is None:
            self._check_timeouts(loop)
        try:
            await self._client.publish(subject, payload, reply=reply, headers=headers)
            return await sent.ack
        except (errors.Error, OSError) as error:
            raise NatsUnavailable(_ended(error)) from None
        finally:
            del self._sent[reply]

    def _check_timeouts(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give up messages that wait for too long. One timer for all: one for each costs a fifth of the rate."""
        late_s = loop.time() - self._ack_timeout_s
        for sent in self._sent.values():
            if sent.at_s > late_s:
                break
            self._fail(sent, NatsUnavailable(f"JetStream did not answer within {self._ack_timeout_s:g} s."))
        self._watch = loop.call_later(self._ack_timeout_s / 5, self._check_timeouts, loop) if self._sent else None

    async def send_unstored(self, subject: str, payload: bytes) -> None:
        """Plain NATS: whoever listens gets it, nothing is kept, nothing is answered. Raises NatsUnavailable."""
        from nats import errors

        try:
            await self._client.publish(subject, payload)
        except (errors.Error, OSError) as error:
            raise NatsUnavailable(_ended(error)) from None

    def on_disconnected(self) -> None:
        """The connection has ended: nothing is answered any more."""
        if self._watch is not None:
            self._watch.cancel()
        for sent in self._sent.values():
            self._fail(sent, NatsUnavailable("The connection to NATS ended."))

    def on_server_error(self, error: Exception) -> None:
        """Handle an asynchronous error of the server.

        A message this user may not publish is dropped by the server and reported only here, with its subject in small
        letters, as nats-py gives it.
        """
        text = str(error).removeprefix("nats: ")
        if "permissions violation" not in text.lower():
            return
        for sent in self._sent.values():
            if f'"{sent.subject.lower()}"' in text.lower():
                self._fail(sent, NatsRejected(f"The NATS user may not do that ({text})."))

    @staticmethod
    def _fail(sent: _InFlight, why: NatsError) -> None:
        if not sent.ack.done():
            sent.ack.set_exception(why)

    async def _on_reply(self, message: Msg) -> None:
        sent = self._sent.get(message.subject)
        if sent is not None and not sent.ack.done():
            sent.ack.set_result(ack_of(message.data, message.headers))


def ack_of(data: bytes, headers: dict[str, Any] | None = None) -> Ack:
    """Parse a server's answer to a published message."""
    if headers and headers.get("Status") == "503":
        return Ack(error=PublishError.NO_STREAM, text="no JetStream stream has this subject")
    try:
        reply = _decode(data)
    except msgspec.DecodeError:
        return Ack(error=PublishError.OTHER, text="an answer that cannot be read")
    if reply.error is not None:
        return Ack(error=_PUBLISH_ERRORS.get(reply.error.err_code, PublishError.OTHER), text=reply.error.description)
    return Ack(reply.seq, reply.duplicate)


def _ended(error: Exception) -> str:
    return f"The connection to NATS ended ({type(error).__name__})."
