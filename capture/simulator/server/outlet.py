"""The way from a session to its socket, with the valve that lets a fault hold or swallow what is sent."""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass, field

MAX_WAITING_BYTES = 256 * 1024 * 1024
"""A reader this far behind is cut off, so that a stopped browser cannot fill the memory."""


class FlowState(enum.Enum):
    """A mode of delivery of frames to market sockets."""

    OPEN = "open"
    HELD = "held"
    """Kept back, in order, until the valve opens."""
    SILENT = "silent"
    """Lost."""
    SILENT_WITH_PINGS = "silent_with_pings"
    """Lost, but for the pings."""


@dataclass(slots=True)
class FlowControl:
    """One for all sockets of a kind."""

    flow: FlowState = FlowState.OPEN


@dataclass(slots=True)
class FrameWriter:
    """Frames to one socket. ``queue`` collects, ``flush`` sends what was collected in one write."""

    transport: asyncio.Transport
    valve: FlowControl
    _batch: list[bytes] = field(default_factory=list)
    _held: list[bytes] = field(default_factory=list)

    def queue(self, frames: bytes) -> bool:
        """Take frames for the next flush; False if they are lost."""
        flow = self.valve.flow
        if flow is FlowState.OPEN:
            self._batch.append(frames)
        elif flow is FlowState.HELD:
            self._held.append(frames)
        else:
            return False
        return True

    def flush(self) -> None:
        """Send what was collected."""
        if self._batch and not self.transport.is_closing():
            self.transport.write(b"".join(self._batch))
            if self.transport.get_write_buffer_size() > MAX_WAITING_BYTES:
                self.transport.abort()
        self._batch.clear()

    def send(self, frames: bytes) -> bool:
        """Send at once, after what was collected before; False if it is lost."""
        taken = self.queue(frames)
        self.flush()
        return taken

    def send_ping(self, frame: bytes) -> None:
        """As ``send``, but the pings go through a silence that lets them."""
        if self.valve.flow is FlowState.SILENT_WITH_PINGS:
            self.transport.write(frame)
        else:
            self.send(frame)

    def release(self) -> None:
        """Send what was held."""
        self._batch.extend(self._held)
        self._held.clear()
        self.flush()
