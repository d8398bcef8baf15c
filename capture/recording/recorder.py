"""Turns what the pipeline takes in into records: numbers the sockets, redacts the frames. On the pipeline's thread.

In: browser events and time marks with their stamps, in the order in which the market gets them. Out: records, to a
``RecordingWriter``. A disk that takes no more ends the recording, once, and never the capture.
"""

from __future__ import annotations

import binascii
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from fluxcap.capture.chrome.events import (
    ActiveAssetLabel,
    ArrivalTime,
    ChromeEvent,
    FrameReceived,
    FrameSent,
    PlatformDate,
    SocketClosed,
    SocketId,
    SocketOpened,
    TabAttached,
    TabGone,
)
from fluxcap.capture.market.clock import ClockPrior, Trust
from fluxcap.capture.market.feeds import GapReason
from fluxcap.capture.market.focus import Focus
from fluxcap.capture.market.market import MarketTimeouts, WaitingSpan
from fluxcap.capture.platforms.base import Keep, Platform, Redaction
from fluxcap.capture.platforms.registry import GENERIC, whole_table
from fluxcap.capture.platforms.socketio import BINARY, TEXT
from fluxcap.capture.recording import records as recording
from fluxcap.capture.recording.file import RecordingWriter
from fluxcap.capture.recording.records import FORMAT, RULES, Header
from fluxcap.capture.runtime import log
from fluxcap.capture.runtime.settings import Settings
from fluxcap.schemas.errors import FluxcapError


class RecordWriter(Protocol):
    """A destination of records."""

    def add(self, record: recording.Record) -> None: ...


class RecorderStats(msgspec.Struct):
    """Progress of a recording. ``withheld``: frames recorded without their content."""

    frames: int = 0
    withheld: int = 0
    sockets: int = 0


class Recorder:
    """See the module. ``counts`` says how much so far, ``error`` why it has ended ("" while it goes on)."""

    def __init__(self, platform: Platform, writer: RecordWriter) -> None:
        self._platform = platform
        self._writer = writer
        self._sockets: dict[SocketId, tuple[int, Redaction] | None] = {}
        """Open sockets: number and redaction; None for those that are not the platform's."""
        self._tabs: dict[str, int] = {}
        self._tabs_seen = 0
        self._mono_ns = self._skew_ns = 0
        self._implied: ArrivalTime | None = None
        """A drained frame was recorded with this stamp: a replay lets time pass up to it already."""
        self.counts = RecorderStats()
        self.error = ""

    # --- what the pipeline tells ----------------------------------------------------------------------------------

    def received(self, event: FrameReceived) -> None:
        """A frame, before the market gets it."""
        stamp = event.stamp
        known = self._known(event.socket, stamp)
        if known is None:
            return
        number, redaction = known
        self.counts.frames += 1
        kept = redaction.received(event.opcode, event.payload)
        at = self._at(stamp)
        if kept.keep is Keep.CONTENT:
            self._add(_frame(*at, number, stamp.drained, event.opcode, kept.payload))
        else:
            self.counts.withheld += 1
            self._add(recording.RedactedFrame(*at, number, stamp.drained, kept.keep is Keep.TALK))
        if stamp.drained:
            self._implied = stamp

    def on_event(self, event: ChromeEvent, stamp: ArrivalTime) -> None:
        """Any other event of the browser."""
        if isinstance(event, FrameSent):
            self._sent(event)
        elif isinstance(event, SocketOpened):
            self._opened(event.socket, event.url, event.target_id, stamp)
        elif isinstance(event, TabAttached):
            self._tabs_seen += 1
            self._tabs[event.target_id] = self._tabs_seen
            self._add(recording.TabAttached(*self._at(stamp), self._tabs_seen, event.kind, strip_url(event.url)))
        elif isinstance(event, ActiveAssetLabel):
            self._add(recording.ActiveAssetLabel(*self._at(stamp), event.label))
        elif isinstance(event, PlatformDate):
            self._date(event)
        elif isinstance(event, TabGone) and event.target_id in self._tabs:
            self._add(recording.TabGone(*self._at(stamp), self._tabs.pop(event.target_id), event.reason.value))

    def on_socket_lost(self, event: SocketClosed, reason: GapReason, stamp: ArrivalTime) -> None:
        """A socket ended, and this is what the market receives."""
        known = self._sockets.pop(event.socket, None)
        if known is not None:
            self._add(recording.SocketLost(*self._at(stamp), known[0], reason.value))

    def on_time_advanced(self, stamp: ArrivalTime) -> None:
        """Time may pass up to here."""
        if self._implied != stamp:
            self._add(recording.TimeAdvanced(*self._at(stamp)))

    def browser(self, attached: bool, text: str, stamp: ArrivalTime) -> None:
        """The browser was attached to, or lost."""
        self._add(recording.BrowserState(*self._at(stamp), attached, text))

    def trust(self, word: Trust, stamp: ArrivalTime) -> None:
        """The user said which clock to trust."""
        self._add(recording.ClockTrusted(*self._at(stamp), word.value))

    def restored_waiting(self, span: WaitingSpan, stamp: ArrivalTime) -> None:
        """Record what an earlier run had received while its clock was in question."""
        self._add(recording.RestoredWaiting(*self._at(stamp), span))

    def focus(self, focus: Focus, stamp: ArrivalTime) -> None:
        """The focus was changed."""
        self._add(recording.FocusChanged(*self._at(stamp), focus))

    def restored(
        self,
        symbol: str,
        ticks: Iterable[tuple[int, float]],
        from_ms: int,
        to_ms: int,
        *,
        told_before: bool,
        lost: Sequence[tuple[int, int]] = (),
        gaps: Sequence[tuple[int, int, GapReason]] = (),
        stamp: ArrivalTime,
    ) -> None:
        """Record the state an earlier run left, as the market restores it."""
        gap_rows = [(gap_from_ms, gap_to_ms, reason.value) for gap_from_ms, gap_to_ms, reason in gaps]
        mono_ns, skew_ns = self._at(stamp)
        record = recording.Restored(
            mono_ns, skew_ns, symbol, list(ticks), from_ms, to_ms, told_before, list(lost), gap_rows
        )
        self._add(record)

    # --- within ---------------------------------------------------------------------------------------------------

    def _sent(self, event: FrameSent) -> None:
        known = self._known(event.socket, event.stamp)
        if known is None:
            return
        kept = known[1].sent(event.opcode, event.payload)
        if kept.keep is Keep.CONTENT:
            self.counts.frames += 1
            self._add(recording.SentFrame(*self._at(event.stamp), known[0], event.opcode, kept.payload))

    def _date(self, event: PlatformDate) -> None:
        number = 0
        if event.socket is not None:
            known = self._known(event.socket, event.stamp)
            if known is None:
                return
            number = known[0]
        self._add(recording.PlatformDate(*self._at(event.stamp), event.date_ms, number))

    def _known(self, socket: SocketId, stamp: ArrivalTime) -> tuple[int, Redaction] | None:
        if socket not in self._sockets:
            self._opened(socket, "", "", stamp)
        return self._sockets[socket]

    def _opened(self, socket: SocketId, url: str, target_id: str, stamp: ArrivalTime) -> None:
        if socket in self._sockets:
            return
        if url and not self._platform.is_socket(url):
            self._sockets[socket] = None
            return
        self.counts.sockets += 1
        number = self.counts.sockets
        self._sockets[socket] = number, self._platform.redaction()
        self._add(recording.SocketOpened(*self._at(stamp), number, strip_url(url), self._tabs.get(target_id, 0)))

    def _at(self, stamp: ArrivalTime) -> tuple[int, int]:
        """The stamp as the record's two clocks, counted from the record before."""
        skew_ns = stamp.wall_ns - stamp.mono_ns
        at = stamp.mono_ns - self._mono_ns, skew_ns - self._skew_ns
        self._mono_ns, self._skew_ns = stamp.mono_ns, skew_ns
        return at

    def _add(self, record: recording.Record) -> None:
        self._implied = None
        if self.error:
            return
        try:
            self._writer.add(record)
        except FluxcapError as error:
            self.error = str(error)
            log.warn("recording.stopped_by_error", reason=self.error)


def _frame(
    mono_ns: int, skew_ns: int, socket: int, drained: bool, opcode: int, payload: str
) -> recording.TextFrame | recording.BinaryFrame | recording.RawFrame:
    """The frame in its smallest form that gives back every character."""
    if opcode == TEXT:
        return recording.TextFrame(mono_ns, skew_ns, socket, drained, payload)
    if opcode == BINARY:
        try:
            data = binascii.a2b_base64(payload)
        except (binascii.Error, ValueError):
            pass
        else:
            if binascii.b2a_base64(data, newline=False).decode() == payload:
                return recording.BinaryFrame(mono_ns, skew_ns, socket, drained, data)
    return recording.RawFrame(mono_ns, skew_ns, socket, drained, opcode, payload)


def strip_url(url: str) -> str:
    """Scheme, host and path; without user, query and fragment. "" for what is no address."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return ""
    if not parts.scheme or not host:
        return ""
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path}"


def open_recorder(
    path: Path,
    settings: Settings,
    platform: Platform,
    focus: Focus,
    published: Mapping[str, int] | None = None,
    prior: ClockPrior = ClockPrior(),  # noqa: B008  frozen
    *,
    force: bool = False,
) -> tuple[Recorder, RecordingWriter]:
    """Make the file. ``published``: newest candle of each asset in the store, UTC ms. ``prior``: of the clock.

    Raises ConfigError, FluxcapError.
    """
    table = described_table(settings, platform)
    header = Header(
        format=FORMAT,
        fluxcap=version("fluxcap"),
        rules=RULES,
        platform=settings.platform if table is not None else platform.name,
        source=settings.source,
        interval=settings.interval,
        focus=focus,
        times=market_times(settings),
        began_ms=time.time_ns() // 1_000_000,
        published=dict(published or {}),
        prior=prior,
        table=msgspec.UNSET if table is None else table,
    )
    writer = RecordingWriter(path, header, force=force)
    return Recorder(platform, writer), writer


def described_table(settings: Settings, platform: Platform) -> dict[str, Any] | None:
    """Return the table that describes the platform, whole; None for a plug-in, whose table is its own."""
    return whole_table(settings.platform, settings.platforms) if platform.name == GENERIC else None


def market_times(settings: Settings) -> MarketTimeouts:
    """The waits of the candle rules as they are set."""
    return MarketTimeouts(settings.allowed_lateness_ms, settings.idle_timeout_ms, settings.history_wait_ms)


def arrival_now() -> ArrivalTime:
    """Now, by both clocks, with nothing waiting."""
    return ArrivalTime(time.time_ns(), time.monotonic_ns())
