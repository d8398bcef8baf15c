"""Imports frames that other programs stored as JSON, and gives them out as a recording. No I/O but reading the file.

Two kinds of files. Collectors of Chrome's performance log write ``{"messages": [{"timestamp", "frame_type",
"request_id", "opcode", "payload"}, …]}``, or the same under ``websocket_messages``; time stamps in epoch seconds,
binary payloads in base64. Chrome's own export of its network panel, HAR, has ``_webSocketMessages`` at each socket's
entry. Nothing else of either file is looked at.

Collectors look at the log now and then, so most of their frames carry the moment of collecting, not of their arrival,
and the platform's clock could not be measured by them. So arrivals are reconstructed: each tick arrives as long after
its own stamp as the quickest of the file did, and everything else together with the tick after it. The header says so
(``Arrivals.RECONSTRUCTED``). A HAR file has the times of arrival.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path

import msgspec

from fluxcap.capture.chrome.events import ArrivalTime, FrameReceived, FrameSent, SocketId, SocketOpened
from fluxcap.capture.market.focus import Focus, FocusMode
from fluxcap.capture.platforms.base import History, Platform, RawTick, SocketDecoder
from fluxcap.capture.recording import records as recording
from fluxcap.capture.recording.recorder import Recorder
from fluxcap.schemas.errors import ConfigError

SIZE_MAX = 1024 * 1024 * 1024
MONO_ZERO_NS = 1_000_000_000
_MS = 1_000_000


class _Message(msgspec.Struct):
    timestamp: float
    request_id: str
    opcode: int
    payload: str
    frame_type: str = "received"
    url: str = ""


class _Captured(msgspec.Struct):
    messages: list[_Message] | None = None
    websocket_messages: list[_Message] | None = None


class _HarMessage(msgspec.Struct):
    time: float
    opcode: int
    data: str
    type: str = "receive"


class _HarRequest(msgspec.Struct):
    url: str = ""


class _HarEntry(msgspec.Struct):
    request: _HarRequest = msgspec.field(default_factory=_HarRequest)
    messages: list[_HarMessage] = msgspec.field(default_factory=list, name="_webSocketMessages")


class _HarLog(msgspec.Struct):
    entries: list[_HarEntry]


class _Har(msgspec.Struct):
    log: _HarLog


class _Kind(msgspec.Struct):
    log: msgspec.Raw = msgspec.Raw()


def is_json_frame_file(path: Path) -> bool:
    """Return whether the file is JSON rather than a recording."""
    try:
        with path.open("rb") as file:
            return file.read(64).lstrip()[:1] == b"{"
    except OSError:
        return False


class JsonFrameFile:
    """The frames as a recording. Raises ConfigError for a file that holds none.

    ``error`` is always "": a JSON file is read whole or not at all.
    """

    error = ""

    def __init__(self, path: Path, platform: Platform) -> None:
        self._platform = platform
        self._messages, self._is_timed = _read(path)
        self.read_bytes = self.size_bytes = path.stat().st_size
        self.header = recording.Header(
            fluxcap=version("fluxcap"),
            rules=recording.RULES,
            platform=platform.name,
            focus=Focus(FocusMode.ALL),
            arrivals=recording.Arrivals.MEASURED if self._is_timed else recording.Arrivals.RECONSTRUCTED,
            began_ms=round(self._messages[0].timestamp * 1_000) if self._messages else 0,
        )

    def blocks(self) -> Iterator[Sequence[recording.Record]]:
        """All records, redacted as a recording of one's own."""
        if not self._messages:
            return
        collected = _Collected()
        recorder = Recorder(self._platform, collected)
        arrivals_ms = self._arrivals_ms()
        for message, at_ms, next_ms in zip(self._messages, arrivals_ms, [*arrivals_ms[1:], None], strict=True):
            wall_ns = at_ms * _MS
            stamp = ArrivalTime(
                wall_ns, wall_ns - arrivals_ms[0] * _MS + MONO_ZERO_NS, next_ms is None or next_ms > at_ms
            )
            socket = SocketId("", message.request_id)
            if message.url:
                recorder.on_event(SocketOpened(socket, "", message.url), stamp)
            if message.frame_type == "sent":
                recorder.on_event(FrameSent(socket, "", message.opcode, message.payload, stamp), stamp)
            else:
                recorder.received(FrameReceived(socket, "", message.opcode, message.payload, stamp))
        yield collected.records

    def close(self) -> None:
        """Nothing is open."""

    def _arrivals_ms(self) -> list[int]:
        if self._is_timed:
            return _monotonic(round(message.timestamp * 1_000) for message in self._messages)
        stamps = list(self._newest_stamps())
        leads = [
            stamp - message.timestamp * 1_000 for stamp, message in zip(stamps, self._messages, strict=True) if stamp
        ]
        if not leads:
            return _monotonic(round(message.timestamp * 1_000) for message in self._messages)
        lead_ms = max(leads)
        newest_ms = round(max(stamps) - lead_ms)
        with_the_next = list(
            accumulate(
                (round(stamp - lead_ms) if stamp else 0 for stamp in reversed(stamps)),
                lambda following_ms, at_ms: at_ms or following_ms,
                initial=newest_ms,
            )
        )
        return _monotonic(reversed(with_the_next[1:]))

    def _newest_stamps(self) -> Iterator[int]:
        """Newest tick stamp (platform clock, ms) in each frame, 0 for none."""
        decoders: dict[str, SocketDecoder] = {}
        for message in self._messages:
            decoder = decoders.setdefault(message.request_id, self._platform.decoder())
            events = () if message.frame_type == "sent" else decoder.received(message.opcode, message.payload)
            yield max((_newest_ms(event) for event in events), default=0)


class _Collected:
    def __init__(self) -> None:
        self.records: list[recording.Record] = []

    def add(self, record: recording.Record) -> None:
        self.records.append(record)


def _newest_ms(event: object) -> int:
    if isinstance(event, RawTick):
        return event.raw_ts_ms
    if isinstance(event, History) and event.ticks:
        return event.ticks[-1][0]
    return 0


def _monotonic(times_ms: Iterable[int]) -> list[int]:
    return list(accumulate(times_ms, max))


def _read(path: Path) -> tuple[list[_Message], bool]:
    """The frames, and whether their times are those of their arrival."""
    try:
        if path.stat().st_size > SIZE_MAX:
            raise ConfigError(f"{path} is larger than {SIZE_MAX // 2**30} GB; split it.")
        data = path.read_bytes()
        if bytes(msgspec.json.decode(data, type=_Kind).log):
            return _har_messages(msgspec.json.decode(data, type=_Har).log.entries), True
        captured = msgspec.json.decode(data, type=_Captured, strict=False)
        messages = captured.messages if captured.messages is not None else captured.websocket_messages
        if messages is None:
            raise msgspec.ValidationError("Object has neither `messages` nor `websocket_messages`")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ConfigError(
            f"{path} holds no captured frames: {error}. Expected are messages with timestamp, request_id, opcode and "
            "payload, or Chrome's HAR with its WebSocket messages."
        ) from None
    return messages, False


def _har_messages(entries: Sequence[_HarEntry]) -> list[_Message]:
    """The frames of all sockets, in order of arrival."""
    found = [
        _Message(
            message.time,
            str(number),
            message.opcode,
            message.data,
            "sent" if message.type == "send" else "received",
            entry.request.url,
        )
        for number, entry in enumerate(entries)
        for message in entry.messages
    ]
    return sorted(found, key=lambda message: message.timestamp)
