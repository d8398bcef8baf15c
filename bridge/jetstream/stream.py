"""Requests to a JetStream stream: its state, single messages, and messages in order. Coroutines.

A *position* is the number that JetStream gives a message, one numbering for all subjects of its stream. Requests go
to the stream's leader, so that what they tell is what was agreed on.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from fluxcap.bridge.jetstream.connection import header_lines
from fluxcap.bridge.jetstream.subjects import ALL_SUBJECTS, STREAM_NAME, Position, position_of
from fluxcap.schemas.codec import decode
from fluxcap.schemas.errors import CodecError, NatsError, NatsUnavailable
from fluxcap.schemas.types import Message

if TYPE_CHECKING:
    from nats.aio.client import Client

REQUEST_TIMEOUT_S = 2.0
_NO_MESSAGE, _NO_STREAM, _NO_JETSTREAM = 10037, 10059, (10039, 10076)


class StoredMessage(msgspec.Struct, frozen=True, eq=False):
    """One message: ``position`` in JetStream, its subject, headers (possibly empty), and the wire's envelope.

    The payload is empty where only headers were asked for.
    """

    position: int
    subject: str
    headers: Mapping[str, str]
    payload: bytes


def decode_message(message: StoredMessage) -> Message | None:
    """Decode a message; None for an invalid envelope."""
    try:
        return decode(message.payload).message
    except CodecError:
        return None


def position_of_message(message: StoredMessage) -> Position:
    """Return the stream's position in a message's headers; all 0 for a foreign message."""
    try:
        return position_of(message.headers)
    except CodecError:
        return Position()


async def with_payload(api: JetStreamApi, message: StoredMessage) -> StoredMessage:
    """A message with its payload, if it is still there. Raises NatsUnavailable, NatsError."""
    return message if message.payload else await api.at(message.position) or message


class StreamInfo(msgspec.Struct, frozen=True):
    """The state of a JetStream stream. ``created``: distinguishes it from a later one of the same name."""

    created: str
    messages: int
    first_position: int
    last_position: int
    subjects: int
    keeps_per_subject: bool
    """Whether it forgets the oldest of a subject on its own, beside the oldest of all."""

    @property
    def is_whole(self) -> bool:
        """Return whether it still has every message that was ever put there."""
        return self.messages == self.last_position


class JetStreamApi:
    """Requests to one JetStream stream over one connection.

    Every method raises NatsUnavailable (no answer) or NatsError (no such stream).
    """

    def __init__(self, client: Client, stream: str = STREAM_NAME, timeout_s: float = REQUEST_TIMEOUT_S) -> None:
        self.client = client
        self.stream = stream
        self._timeout_s = timeout_s

    async def state(self) -> StreamInfo:
        """Return the stream's state."""
        answer = await self.request(f"STREAM.INFO.{self.stream}", {})
        state, config = answer["state"], answer["config"]
        return StreamInfo(
            answer["created"],
            state["messages"],
            state["first_seq"],
            state["last_seq"],
            state.get("num_subjects", 0),
            config.get("max_msgs_per_subject", -1) > 0,
        )

    async def last(self, subject: str) -> StoredMessage | None:
        """The newest message of a subject."""
        return await self._message({"last_by_subj": subject})

    async def next(self, subject: str, position: int) -> StoredMessage | None:
        """The first message of a subject at a position or after it."""
        return await self._message({"seq": max(position, 1), "next_by_subj": subject})

    async def at(self, position: int) -> StoredMessage | None:
        """The message at a position; None where there is none, or none any more."""
        return await self._message({"seq": position}) if position > 0 else None

    async def subjects(self, subject_filter: str = ALL_SUBJECTS) -> list[str]:
        """Every subject that has messages."""
        found: list[str] = []
        while True:
            question = {"subjects_filter": subject_filter, "offset": len(found)}
            answer = await self.request(f"STREAM.INFO.{self.stream}", question)
            page = answer["state"].get("subjects") or {}
            found += page
            if not page or len(found) >= answer.get("total", 0):
                return sorted(found)

    async def _message(self, question: dict[str, Any]) -> StoredMessage | None:
        answer = await self.request(f"STREAM.MSG.GET.{self.stream}", question, absent=_NO_MESSAGE)
        if answer is None:
            return None
        found = answer["message"]
        headers = header_lines(base64.b64decode(found.get("hdrs") or ""))
        return StoredMessage(found["seq"], found["subject"], headers, base64.b64decode(found.get("data") or ""))

    async def request(self, what: str, question: dict[str, Any], absent: int | None = None) -> Any:
        """One question of JetStream's own API, its JSON answer; None when the error is ``absent``."""
        from nats import errors

        try:
            reply = await self.client.request(f"$JS.API.{what}", msgspec.json.encode(question), self._timeout_s)
        except (TimeoutError, errors.NoRespondersError, errors.TimeoutError):
            raise NatsUnavailable(self._silence()) from None
        except (errors.Error, OSError) as error:
            raise NatsUnavailable(f"The connection to NATS ended ({type(error).__name__}).") from None
        answer = msgspec.json.decode(reply.data)
        refusal = answer.get("error")
        if refusal is None:
            return answer
        code = refusal.get("err_code")
        if absent is not None and code == absent:
            return None
        if code == _NO_STREAM:
            raise NatsError(f"There is no stream {self.stream} in JetStream yet; fluxcap forward --setup makes it.")
        if code in _NO_JETSTREAM:
            raise NatsUnavailable("JetStream is not enabled on that NATS server, or not for this user.")
        raise NatsUnavailable(f"JetStream answered: {refusal.get('description', 'an error')}.")

    def _silence(self) -> str:
        return (
            f"JetStream does not answer for the stream {self.stream}: it is off, has no leader, or rejects this user."
        )
