"""What a server's answer to a message means, and its silence."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from fluxcap.bridge.jetstream.publisher import Ack, AsyncPublisher, PublishError, ack_of
from fluxcap.schemas.errors import NatsRejected, NatsUnavailable

DENIED = 'nats: permissions violation for publish to "{}"'


class Client:
    """A connection to a server that answers when it is told to. ``last_error``: as nats-py keeps it."""

    max_payload = 1_000_000
    last_error: Exception | None = None

    def __init__(self) -> None:
        self.replies: list[str] = []
        self.sent = asyncio.Semaphore(0)
        self._on_reply: Callable[[Any], Awaitable[None]] | None = None

    def new_inbox(self) -> str:
        return "_INBOX.x"

    async def subscribe(self, subject: str, cb: Callable[[Any], Awaitable[None]]) -> None:
        self._on_reply = cb

    async def publish(self, subject: str, payload: bytes, reply: str, headers: dict[str, str]) -> None:
        self.replies.append(reply)
        self.sent.release()

    async def answer(self, number: int) -> None:
        assert self._on_reply is not None
        await self._on_reply(SimpleNamespace(subject=self.replies[number], data=b'{"seq":7}', headers=None))


def test_a_stored_message_has_its_position():
    assert ack_of(b'{"stream":"FLUX","seq":7}') == Ack(7)
    assert ack_of(b'{"stream":"FLUX","seq":7,"duplicate":true}') == Ack(7, duplicate=True)


@pytest.mark.parametrize(
    ("code", "refusal"),
    [
        (10071, PublishError.OUT_OF_ORDER),
        (10054, PublishError.TOO_LARGE),
        (10077, PublishError.FULL),
        (10060, PublishError.NO_STREAM),
        (1, PublishError.OTHER),
    ],
)
def test_a_refusal_is_told_by_its_code(code: int, refusal: PublishError):
    error = {"code": 400, "err_code": code, "description": "why"}

    assert ack_of(json.dumps({"error": error, "stream": "FLUX", "seq": 0}).encode()) == Ack(error=refusal, text="why")


def test_silence_of_all_is_a_missing_stream():
    assert ack_of(b"", {"Status": "503"}).error is PublishError.NO_STREAM


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"seq":"x"}'])
def test_an_answer_that_cannot_be_read_is_no_success(data: bytes):
    assert ack_of(data).error is PublishError.OTHER


def test_a_message_that_is_not_answered_is_in_doubt_whatever_else_the_user_may_not_do():
    async def work() -> None:
        client = Client()
        writer = AsyncPublisher(client, ack_timeout_s=0.01)  # type: ignore[arg-type]
        await writer.open()
        client.last_error = denied = Exception(DENIED.format("flux.status.desk.eurusd.1m"))
        writer.on_server_error(denied)
        await writer.publish("flux.candles.DESK.EURUSD.1m", b"x", {})

    with pytest.raises(NatsUnavailable, match="did not answer"):
        asyncio.run(work())


def test_a_message_that_the_user_may_not_send_fails_at_once_and_no_other():
    async def work() -> tuple[Ack | BaseException, Ack | BaseException]:
        client = Client()
        writer = AsyncPublisher(client, ack_timeout_s=60)  # type: ignore[arg-type]
        await writer.open()
        denied, allowed = [
            asyncio.create_task(writer.publish(f"flux.candles.{source}.EURUSD.1m", b"x", {})) for source in "AB"
        ]
        for _ in range(2):
            await client.sent.acquire()
        writer.on_server_error(Exception(DENIED.format("flux.candles.a.eurusd.1m")))
        await asyncio.wait({denied})
        await client.answer(1)
        results = await asyncio.gather(denied, allowed, return_exceptions=True)
        writer.on_disconnected()
        return results[0], results[1]

    denied, allowed = asyncio.run(work())

    assert isinstance(denied, NatsRejected)
    assert "may not do that" in str(denied)
    assert allowed == Ack(7)
