"""Sends alerts to wherever they are read: one thread and one bounded queue for each address, by the library apprise.

Whoever posts never waits. An address that does not answer is tried again with growing pauses, keeps nothing from the
others, and loses its oldest messages when too many wait. Addresses hold passwords and tokens: they stand in no log, no
status and no error, where only their scheme and their position are told.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from fluxcap.capture.alerts.words import Message
from fluxcap.capture.runtime import log
from fluxcap.capture.runtime.settings import scheme_of
from fluxcap.schemas.errors import ConfigError

WHAT_TO_INSTALL = "Alerts need an extra; install it with: pip install 'fluxcap[alerts]'"
TIMEOUT_S = 30.0
"""Beyond it an address is given up on for now."""
WAITING_MAX = 32
"""Messages that wait for one address; the oldest go first."""
RETRY_S = (5.0, 15.0, 60.0, 300.0)
"""Pauses after failures; the last one goes on."""
GIVE_UP_S = 43_200.0
"""A message that could not be sent for half a day is news no more."""
STOP_S = 0.3
_STATUS_CODE = re.compile(r"\berror=(\d{3})\b")
_TALKATIVE = ("apprise", "urllib3", "requests", "requests_oauthlib", "oauthlib")
"""Libraries whose own log may hold addresses."""

Deliver = Callable[[Message], str]
"""Sends one message; returns "" or, in a few words without an address, why not."""


class AddressStatus(msgspec.Struct, frozen=True):
    """One address, as ``status`` shows it: ``telegram://****``. ``error``: why the newest try failed, "" otherwise."""

    address: str
    sent: int
    lost: int
    waiting: int
    error: str


def require_apprise() -> None:
    """Raises ConfigError where the extra is not installed."""
    try:
        import apprise  # noqa: F401
    except ImportError:
        raise ConfigError(WHAT_TO_INSTALL) from None


def apprise_delivery(address: str, position: int) -> Deliver:
    """Return what sends to an address. Raises ConfigError, which names the address by its position from 1 alone."""
    require_apprise()
    import apprise

    for name in _TALKATIVE:
        logger = logging.getLogger(name)
        logger.propagate = False
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
    asset = apprise.AppriseAsset(
        app_id="fluxcap",
        app_desc="Candles from the trading page in your own Chrome",
        app_url="",
        image_url_mask="",  # else receivers fetch pictures from apprise's repository
        image_url_logo="",
        image_path_mask=False,
        interpret_emojis=False,
        interpret_escapes=False,
        service_timeout=TIMEOUT_S,
        storage_mode="memory",
    )
    try:
        service = apprise.Apprise.instantiate(address, asset=asset)
    except Exception:  # whatever it says, it may hold the address
        service = None
    if service is None:
        raise ConfigError(
            f"Address {position} of alerts ({scheme_of(address)}) is none that apprise understands; see its list of "
            "services."
        )
    one = apprise.Apprise(asset=asset)
    one.add(service)

    def deliver(message: Message) -> str:
        kind = apprise.NotifyType.SUCCESS if message.is_good else apprise.NotifyType.WARNING
        result = one.notify(message.body, message.title, kind, apprise.NotifyFormat.TEXT)
        return "" if result else _failure(result)

    return deliver


def _failure(result: object) -> str:
    """Say why in our own words: of the library's only a status code is taken."""
    for service in getattr(result, "results", ()):
        for attempt in getattr(service, "attempts", ()):
            for entry in getattr(attempt, "logs", ()):
                code = _STATUS_CODE.search(str(getattr(entry, "message", "")))
                if code is not None:
                    return f"refused with status {code[1]}"
    return "not reachable, or refused"


class _Lane:
    """The way to one address."""

    def __init__(self, address: str, position: int, deliver: Deliver, pauses_s: Sequence[float]) -> None:
        self.name = scheme_of(address)
        self._position = position
        self._deliver = deliver
        self._pauses_s = pauses_s
        self._queue: deque[tuple[float, Message]] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._sent = self._lost = self._failures = 0
        self._error = ""
        self.thread = threading.Thread(target=self._run, name=f"fluxcap-alerts-{position}", daemon=True)

    def post(self, message: Message) -> None:
        with self._changed:
            if len(self._queue) >= WAITING_MAX:
                self._drop()
            self._queue.append((time.monotonic(), message))
            self._changed.notify_all()

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def status(self) -> AddressStatus:
        with self._changed:
            return AddressStatus(self.name, self._sent, self._lost, len(self._queue), self._error)

    def _drop(self) -> None:
        self._queue.popleft()
        self._lost += 1
        log.warn("alert.dropped", address=self.name, number=self._position)

    def _run(self) -> None:
        while (message := self._next()) is not None:
            try:
                error = self._deliver(message[1])
            except Exception as failure:
                error = f"failed: {type(failure).__name__}"  # its text may hold the address
            self._done(message, error)

    def _next(self) -> tuple[float, Message] | None:
        """Wait for a message, and after a failure for its pause; None when it is time to stop."""
        with self._changed:
            if self._failures:
                pause_s = self._pauses_s[min(self._failures, len(self._pauses_s)) - 1]
                self._changed.wait_for(lambda: self._stopping, pause_s)
            while self._queue and time.monotonic() - self._queue[0][0] > GIVE_UP_S:
                self._drop()
            self._changed.wait_for(lambda: self._stopping or bool(self._queue))
            return self._queue[0] if self._queue and not (self._stopping and self._failures) else None

    def _done(self, message: tuple[float, Message], error: str) -> None:
        with self._changed:
            if error:
                if not self._failures:
                    log.warn("alert.send_failed", address=self.name, number=self._position, reason=error)
                self._failures += 1
            else:
                if self._failures:
                    log.event("alert.send_recovered", address=self.name, number=self._position)
                self._failures = 0
                self._sent += 1
                if self._queue and self._queue[0] is message:  # it may have been dropped meanwhile
                    self._queue.popleft()
            self._error = error


class AlertSender:
    """See the module.

    Parameters
    ----------
    addresses
        As apprise takes them.
    delivery
        Makes what sends to an address, of it and its position from 1. Raises ConfigError.
    pauses_s
        After failures.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        delivery: Callable[[str, int], Deliver] = apprise_delivery,
        pauses_s: Sequence[float] = RETRY_S,
    ) -> None:
        self._lanes = [
            _Lane(address, position, delivery(address, position), pauses_s)
            for position, address in enumerate(addresses, 1)
        ]

    def start(self) -> None:
        for lane in self._lanes:
            lane.thread.start()

    def post(self, message: Message) -> None:
        """Send a message to every address. Returns at once."""
        for lane in self._lanes:
            lane.post(message)

    def view(self) -> tuple[AddressStatus, ...]:
        """Return the state of each address."""
        return tuple(lane.status() for lane in self._lanes)

    def stop(self) -> None:
        """Send what waits, for a moment at most; what cannot be sent by then is not."""
        for lane in self._lanes:
            lane.stop()
        by_s = time.monotonic() + STOP_S
        for lane in self._lanes:
            if lane.thread.is_alive():
                lane.thread.join(max(0.0, by_s - time.monotonic()))


def send_test_message(
    addresses: Sequence[str], source: str, delivery: Callable[[str, int], Deliver] = apprise_delivery
) -> list[tuple[str, str]]:
    """Send a message to each address, one after the other; returns each one's name and "", or why it was not taken.

    Raises ConfigError for an address that is none.
    """
    text = Message(
        f"fluxcap {source}: a test", "Alerts arrive here. This one was asked for with `fluxcap alerts test`.", True
    )
    ways = [(scheme_of(address), delivery(address, number)) for number, address in enumerate(addresses, 1)]
    return [(name, deliver(text)) for name, deliver in ways]
