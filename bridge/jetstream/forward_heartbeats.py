"""What the log holds of each stream, told to who listens about once a second; nothing of it is stored. Coroutines."""

from __future__ import annotations

import time
from collections.abc import Mapping

import msgspec

from bridge.jetstream.forward_lane import ForwardLane, LaneState
from bridge.jetstream.log_writer import LogWriter
from bridge.jetstream.subjects import status_subject
from schemas.codec import encode
from schemas.types import StreamKey

BEAT_S = 1.0
HEARTBEATS_A_SECOND = 1_000
"""At most; with more streams each has its heartbeat less often than once a second."""


class ForwardHeartbeats:
    """Over one connection."""

    def __init__(self, writer: LogWriter, lanes: Mapping[StreamKey, ForwardLane]) -> None:
        self._writer = writer
        self._lanes = lanes
        self._next_s = 0.0

    async def beat(self) -> None:
        """Of every stream, if it is time. Raises LogUnavailable."""
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        self._next_s = now_s + max(BEAT_S, len(self._lanes) / HEARTBEATS_A_SECOND)
        for lane in self._lanes.values():
            have, store = lane.position, lane.store
            if lane.state is LaneState.OPEN and have.store_id == store.store_id:
                told = msgspec.structs.replace(
                    store,
                    latest_sequence=have.latest_sequence,
                    latest_ts_ms=have.latest_ts_ms,
                    latest_revision=have.latest_revision,
                    first_sequence=have.first_sequence,
                    server_time_ms=time.time_ns() // 1_000_000,
                )
                await self._writer.send_unstored(status_subject(lane.key), encode(told))
