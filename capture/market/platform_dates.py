"""UTC by the platform's own ``Date`` headers, which owe nothing to this computer's clock. Pure.

A server says the time with each response, to the second. Two kinds count: the answer to a WebSocket handshake, which is
made for that moment, and two responses of the platform's hosts that no cache gave and that agree within two seconds.
A header tells the time at which it was written, so delivery only ever makes it late: UTC is that time or later, and of
witnesses that agree the latest one is the best. From then on the monotonic clock counts. One that may have waited to be
read (a computer with too much to do) tells two bounds: UTC lies between its time and that much later.

Two that contradict each other by more than half a minute are not both right: the one that was there first stands until
a second witness agrees with the new one.
"""

from __future__ import annotations

from collections import deque

AGREE_MS = 2_000
"""Dates of one server at one moment differ by a second, and by what the network adds."""
CONTRADICTION_MS = 30_000
WINDOW_MS = 600_000
"""The latest of the witnesses of so long: until then two quartzes part by less than a header's own second."""
REMEMBERED = 8
DATE_STEP_MS = 1_000
"""A header says whole seconds: UTC is up to so much later."""


class PlatformDates:
    """UTC by the headers seen so far.

    Attributes
    ----------
    zero_ms
        UTC (epoch ms) at which the monotonic clock was 0, up to ``DATE_STEP_MS`` too early; None while nothing counts.
    waited_ms
        By so much more UTC may be later than ``zero_ms`` says: no witness was read sooner.
    newest_mono_ms
        Arrival of the newest header that counts, by the monotonic clock.
    """

    def __init__(self) -> None:
        self.zero_ms: int | None = None
        self.waited_ms = 0
        self.newest_mono_ms = 0
        self._responses: deque[int] = deque(maxlen=REMEMBERED)
        """Zeros by single responses, which count in pairs."""
        self._witnesses: deque[tuple[int, int, int]] = deque(maxlen=REMEMBERED)
        """Arrivals of those that count, their zeros, and the latest zero that each allows."""
        self._contradicting: int | None = None

    def add(self, date_ms: int, mono_ms: int, *, is_handshake: bool, waited_ms: int = 0) -> bool:
        """Take a header that was read at ``mono_ms`` and had waited up to ``waited_ms``. Return whether it counts."""
        zero_ms = date_ms - mono_ms
        if not is_handshake:
            agreeing = [other for other in self._responses if abs(other - zero_ms) <= AGREE_MS]
            self._responses.append(zero_ms)
            if not agreeing:
                return False
            zero_ms = max(zero_ms, *agreeing)
        if self.zero_ms is not None and not (
            -CONTRADICTION_MS - waited_ms <= zero_ms - self.zero_ms <= CONTRADICTION_MS + self.waited_ms
        ):
            before, self._contradicting = self._contradicting, zero_ms
            if before is None or abs(before - zero_ms) > AGREE_MS:
                return False
            self._witnesses.clear()
        self._contradicting = None
        self._witnesses.append((mono_ms, zero_ms, zero_ms + waited_ms))
        valid = [(zero, latest) for at_ms, zero, latest in self._witnesses if mono_ms - at_ms <= WINDOW_MS]
        self.zero_ms = max(zero for zero, _ in valid)
        self.waited_ms = max(0, min(latest for _, latest in valid) - self.zero_ms)
        self.newest_mono_ms = mono_ms
        return True

    def utc_ms(self, mono_ms: int) -> int | None:
        """UTC at ``mono_ms``, up to ``DATE_STEP_MS`` too early; None while nothing counts."""
        return None if self.zero_ms is None else self.zero_ms + mono_ms

    def forget(self) -> None:
        """The monotonic clock stood still meanwhile (a sleeping computer): nothing can be counted from before."""
        self.zero_ms = self._contradicting = None
        self._responses.clear()
        self._witnesses.clear()
