"""An answer of server-sent events that never waits for ever for its reader."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fluxcap.bridge.http.serving import abort_of
from fluxcap.bridge.web.event_writer import encode_event

SLOW_S = 10.0
"""How long a reader may take nothing before it is dropped."""
LAST_S = 10.0
"""How much longer it may take to hear of it."""
DROPPED = "this reader took nothing for too long; come again, and nothing is lost"
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class EventStream(Response):
    """Sends what ``events`` gives until that ends, or the reader leaves, or is too slow.

    A reader that is too slow is told by a ``dropped`` event. If it does not take that either, the connection is cut.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes], slow_s: float = SLOW_S, last_s: float = LAST_S) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._events = events
        self._slow_s = slow_s
        self._last_s = last_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        sending = asyncio.ensure_future(self._send(scope, send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, leaving):
                task.cancel()
            outcomes = await asyncio.gather(sending, leaving, return_exceptions=True)
            await self._events.aclose()  # type: ignore[attr-defined]
        if isinstance(outcomes[0], Exception):
            raise outcomes[0]

    async def _send(self, scope: Scope, send: Send) -> None:
        async for chunk in self._events:
            try:
                # Not wait_for, which may swallow that this is cancelled.
                async with asyncio.timeout(self._slow_s):
                    await send(_body(chunk))
            except TimeoutError:
                await self._drop(scope, send)
                return
        await send(_body(b"", more=False))

    async def _drop(self, scope: Scope, send: Send) -> None:
        try:
            async with asyncio.timeout(self._last_s):
                await send(_body(encode_event("dropped", {"reason": DROPPED})))
                await send(_body(b"", more=False))
        except TimeoutError:
            abort_of(scope)()


def _body(chunk: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": chunk, "more_body": more}


async def _left(receive: Receive) -> None:
    with contextlib.suppress(Exception):
        while (await receive())["type"] != "http.disconnect":
            pass
