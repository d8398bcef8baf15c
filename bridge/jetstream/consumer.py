"""Messages of a subject, or of many, in the order of their positions, from a position on: none missing, none twice.

A pull consumer of the server's, made for us and deleted by it when we go. It gives what was asked for and no more, so
that a slow reader costs nobody memory: what it has not asked for stays in JetStream. When the server has lost the
consumer (it was restarted, say), another is made at the next position.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from fluxcap.bridge.jetstream.stream import JetStreamApi, StoredMessage
from fluxcap.schemas.errors import NatsUnavailable

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

CHUNK_MESSAGES = 2_000
CHUNK_BYTES = 4 * 1024 * 1024
"""Most that is asked for at once, and so most that waits in memory. A message alone may be larger."""
PULL_S = 30
HEARTBEAT_S = 1.0
"""While a question is open and nothing comes, the server says so this often."""
FORGOTTEN_AFTER_S = 30
ENDED = "The connection to NATS ended."
AFTER_A_LOSS_S = 0.05
_LARGEST = 17 * 1024 * 1024
_NS = 1_000_000_000
_FINISHED = frozenset({"404", "408"})
_NO_CONSUMER = 10014


class _ConsumerLost(Exception):
    """The consumer is no more, or has passed something over. Never leaves this module."""


class PullConsumer:
    """Reads messages of a JetStream stream in order; see the module. For one task at a time; ``close`` it.

    ``most``: messages requested at once. ``newest_only``: begin with the newest message of each subject, in place of a
    position, and leave all payloads out.

    Attributes
    ----------
    next_position
        Position of the next message to return.
    pending
        Number of messages the server had beyond the last one returned.
    """

    def __init__(
        self,
        access: JetStreamApi,
        subject_filter: str,
        from_position: int,
        most: int = CHUNK_MESSAGES,
        *,
        newest_only: bool = False,
    ) -> None:
        self.next_position = max(from_position, 1)
        self.pending = 0
        self._access = access
        self._filter = subject_filter
        self._newest_only = newest_only
        self._batch_size = max(1, min(most, CHUNK_MESSAGES))
        self._consumer = ""
        self._subscription: Subscription | None = None
        self._arrived: deque[Msg] = deque()
        self._activity = asyncio.Event()
        self._requested = 0
        self._received = 0
        self._silent_s = 0.0
        self._consumer_sequence = 0
        self._chunk_bytes = CHUNK_BYTES

    async def open(self) -> None:
        """Make the consumer; ``read`` does it by itself. Raises NatsUnavailable, NatsError."""
        await self._delete_consumer()
        begin: dict[str, Any] = {"deliver_policy": "by_start_sequence", "opt_start_seq": self.next_position}
        if self._newest_only:
            begin = {"deliver_policy": "last_per_subject", "headers_only": True}
        config = begin | {
            "filter_subject": self._filter,
            "ack_policy": "none",
            "replay_policy": "instant",
            "inactive_threshold": FORGOTTEN_AFTER_S * _NS,
            "mem_storage": True,
            "num_replicas": 1,
        }
        stream = self._access.stream
        made = await self._access.request(f"CONSUMER.CREATE.{stream}", {"stream_name": stream, "config": config})
        self._consumer = made["name"]
        self.pending = made["num_pending"]
        self._subscription = await self._subscribe()
        self._consumer_sequence = 0

    async def read(self, wait_s: float | None = None) -> list[StoredMessage]:
        """The next messages, as many as have come, oldest first; waits up to ``wait_s`` for the first, then gives none.

        Raises NatsUnavailable, NatsError.
        """
        end_s = None if wait_s is None else asyncio.get_running_loop().time() + wait_s
        while True:
            try:
                if not self._consumer:
                    await self.open()
                messages = await self._read(end_s)
            except _ConsumerLost:
                await self._delete_consumer()
                await asyncio.sleep(AFTER_A_LOSS_S)
                continue
            if messages or (end_s is not None and asyncio.get_running_loop().time() >= end_s):
                return messages

    async def recount(self) -> None:
        """For when nothing comes although messages are ``pending``: some may have been purged since they were counted.
        A server (2.9, say) then has a consumer of many subjects pass over what is left of the others, too; one that
        has nothing more for us is therefore recreated, and counts from 1.

        Raises NatsUnavailable, NatsError.
        """
        what = f"CONSUMER.INFO.{self._access.stream}.{self._consumer}"
        found = await self._access.request(what, {}, absent=_NO_CONSUMER) if self._consumer else None
        if not self._arrived and (found is None or found["num_pending"] == 0):
            await self.open()

    async def close(self) -> None:
        """Let the server forget the consumer. Idempotent."""
        await self._delete_consumer()

    async def _read(self, end_s: float | None) -> list[StoredMessage]:
        if not self._arrived:
            if self._requested <= 0:
                await self._request_next()
            self._activity.clear()
            await self._wait(end_s)
        messages: list[StoredMessage] = []
        while self._arrived:
            try:
                message = self._check_sequence(self._arrived.popleft())
            except _ConsumerLost:
                if not messages:
                    raise
                await self._delete_consumer()  # what came before it is good, and is not given again
                break
            if message is not None:
                messages.append(message)
        return messages

    async def _wait(self, end_s: float | None) -> None:
        """Wait until something arrives.

        When the server has been silent for a while, the consumer counts as lost. Only time spent waiting counts,
        however short the single waits are.
        """
        loop, believed_s = asyncio.get_running_loop(), 3 * HEARTBEAT_S
        begin_s = loop.time()
        patience_s = believed_s - self._silent_s
        if end_s is not None:
            patience_s = min(patience_s, end_s - begin_s)
        try:
            await asyncio.wait_for(self._activity.wait(), max(0.0, patience_s))
        except TimeoutError:
            self._silent_s += loop.time() - begin_s
            if self._silent_s >= believed_s:
                raise _ConsumerLost from None

    async def _request_next(self) -> None:
        self._requested, self._received, self._silent_s = self._batch_size, 0, 0.0
        question = {
            "batch": self._batch_size,
            "max_bytes": self._chunk_bytes,
            "expires": PULL_S * _NS,
            "idle_heartbeat": int(HEARTBEAT_S * _NS),
        }
        inbox = self._subscription.subject if self._subscription is not None else ""
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._access.stream}.{self._consumer}"
        await self._publish(subject, msgspec.json.encode(question), inbox)

    async def _subscribe(self) -> Subscription:
        from nats import errors

        client = self._access.client
        try:
            return await client.subscribe(client.new_inbox(), cb=self._on_message)
        except (errors.Error, OSError):
            raise NatsUnavailable(ENDED) from None

    async def _publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        from nats import errors

        try:
            await self._access.client.publish(subject, payload, reply)
        except (errors.Error, OSError):
            raise NatsUnavailable(ENDED) from None

    async def _on_message(self, message: Msg) -> None:
        self._arrived.append(message)
        self._silent_s = 0.0
        self._activity.set()

    def _check_sequence(self, message: Msg) -> StoredMessage | None:
        """A message of JetStream, or None for a word of the server's."""
        headers = message.headers or {}
        status = headers.get("Status")
        if status is not None and not message.reply.startswith("$JS.ACK."):
            self._hear(status, headers.get("Description", ""))
            return None
        position, consumer_sequence, self.pending = _numbers(message.reply)
        if consumer_sequence != self._consumer_sequence + 1:
            self._arrived.clear()
            raise _ConsumerLost
        self._consumer_sequence = consumer_sequence
        self._requested -= 1
        self._received += 1
        self._chunk_bytes = CHUNK_BYTES
        self.next_position = position + 1
        return StoredMessage(position, message.subject, headers, message.data)

    def _hear(self, status: str, description: str) -> None:
        if status in _FINISHED:
            self._requested = 0
        elif status == "409":
            self._requested = 0
            if "MaxBytes" in description:
                # What is next does not fit into what is left of the chunk; into a whole one it does, or is very large.
                self._chunk_bytes = CHUNK_BYTES if self._received else _LARGEST
            elif "Leadership" not in description:
                raise _ConsumerLost
        elif status == "503":
            raise _ConsumerLost

    async def _delete_consumer(self) -> None:
        subscription, self._subscription = self._subscription, None
        consumer, self._consumer = self._consumer, ""
        self._arrived.clear()
        self._requested = 0
        with contextlib.suppress(Exception):  # nats-py's own, when the connection has ended
            if subscription is not None:
                await subscription.unsubscribe()
            if consumer:
                await self._publish(f"$JS.API.CONSUMER.DELETE.{self._access.stream}.{consumer}", b"")


def _numbers(reply: str) -> tuple[int, int, int]:
    """Position in JetStream, number within the consumer, messages still to come: from ``$JS.ACK.….`` of two forms."""
    tokens = reply.split(".")
    start = 5 if len(tokens) == 9 else 7
    try:
        return int(tokens[start]), int(tokens[start + 1]), int(tokens[start + 3])
    except (ValueError, IndexError):
        raise _ConsumerLost from None
