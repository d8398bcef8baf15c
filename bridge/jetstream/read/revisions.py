"""The revisions of a stream that JetStream has, to put into pages and to serve. Coroutines.

A page is only right when every revision up to the newest message is known. They stand between the batches, anywhere
after the candles that they correct; so they are looked for once and kept. Where they stand close together JetStream is
read, where they are rare they are searched for, many at once: both take few turns, also when JetStream is far away.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from fluxcap.bridge.jetstream.consumer import PullConsumer
from fluxcap.bridge.jetstream.read.search import bisect_first, bisect_steps
from fluxcap.bridge.jetstream.stream import (
    JetStreamApi,
    StoredMessage,
    decode_message,
    position_of_message,
    with_payload,
)
from fluxcap.schemas.candles import RevisionPage, joined_rows
from fluxcap.schemas.errors import NatsUnavailable
from fluxcap.schemas.types import CANDLE_DTYPE, CandleArray, CandleRevision

REVISION_DTYPE = np.dtype([("revision", "<u8"), ("sequence", "<u8"), ("candle", CANDLE_DTYPE)])
READ_ANYWAY = 1_000
"""So many messages are read for however few revisions,"""
READ_A_REVISION = 32
"""and so many for each: to find one among them takes about six questions, which cost the server as much."""
SEARCHED_AT_ONCE = 500
"""Revisions; what was found is kept should the time run out with the next ones."""
READ_S = 5.0
"""How long JetStream may say nothing while it is known to have more."""


class RevisionIndex:
    """Those of one store on a subject. They have holes where the store pruned some while NATS was unavailable."""

    def __init__(self, api: JetStreamApi, subject: str, store_id: str) -> None:
        self._api = api
        self._subject = subject
        self._store_id = store_id
        self._parts: list[npt.NDArray[Any]] = [np.empty(0, REVISION_DTYPE)]
        self._latest = 0
        """The newest revision that is known of."""
        self._next_position = 1
        """All before it is known."""

    async def load_until(self, last: StoredMessage) -> None:
        """All up to ``last``, the stream's newest message. Raises NatsUnavailable, NatsError."""
        if self._latest_in(last) > self._latest and not await self._read(last):
            await self._search(last)
        self._next_position = max(self._next_position, last.position + 1)

    def apply_to(self, start: int, candles: CandleArray) -> CandleArray:
        """Candles with dense sequences from ``start``, as their newest revisions have them."""
        rows = self._rows()
        rows = rows[(rows["sequence"] >= start) & (rows["sequence"] < start + len(candles))]
        if len(rows):
            candles = candles.copy()
            # Of several revisions of one candle the last stays: NumPy assigns in order.
            candles[rows["sequence"].astype(np.int64) - start] = rows["candle"]
        return candles

    def page(self, after: int | None, limit: int) -> RevisionPage:
        """As ``StoreReader.revisions``; ends where there is a hole, and goes on behind it."""
        rows = self._rows()
        rows = rows[np.searchsorted(rows["revision"], np.uint64(after or 0), side="right") :]
        found = rows[: max(limit, 0)]
        jumps = np.flatnonzero(np.diff(found["revision"]) != 1)
        found = found[: jumps[0] + 1] if len(jumps) else found
        start = int(rows["revision"][0]) if len(rows) else (after or 0) + 1
        sequences = np.ascontiguousarray(found["sequence"], np.uint64)
        return RevisionPage(start, sequences, np.ascontiguousarray(found["candle"]), len(found) < len(rows))

    def _latest_in(self, message: StoredMessage) -> int:
        """The newest revision with this message."""
        position = position_of_message(message)
        return position.latest_revision if position.store_id == self._store_id else 0

    def _says(self, revision: int, message: StoredMessage) -> bool:
        return self._latest_in(message) >= revision

    async def _read(self, last: StoredMessage) -> bool:
        """False when it would be much for so few."""
        reader = PullConsumer(self._api, self._subject, self._next_position)
        try:
            await reader.open()
            if reader.pending > max(READ_ANYWAY, READ_A_REVISION * (self._latest_in(last) - self._latest)):
                return False
            while reader.next_position <= last.position:
                messages = await reader.read(READ_S)
                if not messages:
                    raise NatsUnavailable("JetStream did not return the messages.")
                for message in messages:
                    if message.position <= last.position:
                        self._add(message)
        finally:
            await reader.close()
        return True

    async def _search(self, last: StoredMessage) -> None:
        api, subject, latest = self._api, self._subject, self._latest_in(last)
        while self._latest < latest:
            low, end = self._next_position, last
            if latest - self._latest > SEARCHED_AT_ONCE:
                end = await bisect_first(api, subject, low, last, partial(self._says, self._latest + SEARCHED_AT_ONCE))
            for message in await bisect_steps(api, subject, low, end, self._latest_in, self._latest):
                self._add(await with_payload(api, message))

    def _add(self, message: StoredMessage) -> None:
        """A message before which all is known, but for those that say nothing new."""
        latest = self._latest_in(message)
        if latest > self._latest:
            revision = decode_message(message)
            if isinstance(revision, CandleRevision):
                rows = np.empty(len(revision.candles), REVISION_DTYPE)
                rows["revision"] = np.arange(revision.start_revision, revision.start_revision + len(rows))
                rows["sequence"], rows["candle"] = revision.sequences, revision.candles
                self._parts.append(rows[rows["revision"] > self._latest])
            self._latest = latest
        self._next_position = max(self._next_position, message.position + 1)

    def _rows(self) -> npt.NDArray[Any]:
        if len(self._parts) > 1:
            self._parts = [joined_rows(self._parts)]
        return self._parts[0]
