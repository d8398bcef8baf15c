"""Plays a recording back into a market. Pure but for what the caller hands in: records in, decisions out.

``Playback`` gives each record to a ``Market`` as the pipeline gave the original, so the same candles come out whatever
the speed. ``replayer.py`` does the rest: files, store, wire and pace.
"""

from __future__ import annotations

import binascii
import contextlib
from collections.abc import Callable, Sequence

import msgspec

from fluxcap.capture.chrome.events import ArrivalTime
from fluxcap.capture.market.clock import Trust
from fluxcap.capture.market.feeds import GapReason
from fluxcap.capture.market.market import Market
from fluxcap.capture.platforms.socketio import BINARY, TEXT
from fluxcap.capture.recording import records as recording
from fluxcap.capture.recording.records import BinaryFrame, RawFrame, RedactedFrame, TextFrame
from fluxcap.schemas.errors import ConfigError

_REASONS = {reason.value: reason for reason in GapReason}


class PlaybackStats(msgspec.Struct):
    """Progress of a replay. ``withheld``: frames recorded without their content."""

    records: int = 0
    frames: int = 0
    withheld: int = 0
    sockets: int = 0
    first_ms: int = 0
    """Wall clock of the first record, UTC epoch milliseconds."""
    last_ms: int = 0


class Playback:
    """See the module. ``keep_focus``: leave out the recorded changes of the focus, because another one was asked for.

    Attributes
    ----------
    mono_ns, wall_ns
        The recording's clocks at the record played last.
    """

    def __init__(self, market: Market, *, keep_focus: bool = False) -> None:
        self._market = market
        self._keep_focus = keep_focus
        self.mono_ns = 0
        self.wall_ns = 0
        self._records = self._frames = self._withheld = 0
        self._sockets: set[int] = set()
        self._pages: dict[int, str] = {}
        """Addresses of the tabs, by number."""
        self._first_ns = 0

    @property
    def played(self) -> PlaybackStats:
        """The progress so far."""
        return PlaybackStats(
            records=self._records,
            frames=self._frames,
            withheld=self._withheld,
            sockets=len(self._sockets),
            first_ms=self._first_ns // 1_000_000,
            last_ms=self.wall_ns // 1_000_000,
        )

    def play(self, records: Sequence[recording.Record], on_update: Callable[[], None]) -> None:
        """Give records to the market. ``on_update`` is called after one that led to candles, and takes them."""
        # Millions of them a day: what is looked up once here is looked up once.
        market, received, advance_time = self._market, self._market.received, self._market.advance_time
        wall_ns, mono_ns, frames = self.wall_ns, self.mono_ns, 0
        if records and not self._first_ns:
            self._first_ns = wall_ns + records[0].mono_ns + records[0].skew_ns
        update = market.pending
        sealed, revised = update.sealed, update.revised
        for record in records:
            mono_ns += record.mono_ns
            wall_ns += record.mono_ns + record.skew_ns
            if type(record) is BinaryFrame:
                frames += 1
                at = ArrivalTime(wall_ns, mono_ns, record.drained)
                received(record.socket, BINARY, str(binascii.b2a_base64(record.payload, newline=False), "ascii"), at)
            elif type(record) is TextFrame:
                frames += 1
                at = ArrivalTime(wall_ns, mono_ns, record.drained)
                received(record.socket, TEXT, record.payload, at)
            else:
                at = ArrivalTime(wall_ns, mono_ns, _may_time_pass(record))
                self._apply_control_record(record, at)
                update = market.pending
                sealed, revised = update.sealed, update.revised
            if at.drained:
                advance_time(at)
            if sealed or revised:
                on_update()
                update = market.pending
                sealed, revised = update.sealed, update.revised
        self.wall_ns, self.mono_ns = wall_ns, mono_ns
        self._records += len(records)
        self._frames += frames

    def _apply_control_record(self, record: recording.Record, at: ArrivalTime) -> None:
        market = self._market
        match record:
            case RedactedFrame():
                self._frames += 1
                self._withheld += 1
                market.received_withheld(record.socket)
            case RawFrame():
                self._frames += 1
                market.received(record.socket, record.opcode, record.payload, at)
            case recording.SentFrame():
                self._frames += 1
                market.sent(record.socket, record.opcode, record.payload, at)
            case recording.SocketOpened():
                self._sockets.add(record.socket)
                market.socket_opened(record.socket, "")  # only the platform's are recorded
                market.note_account(record.socket, record.url, self._pages.get(record.tab, ""))
            case recording.TabAttached():
                self._pages[record.tab] = record.url
            case recording.SocketLost():
                market.on_socket_closed(record.socket, _REASONS.get(record.reason, GapReason.SOCKET_CLOSED), at)
            case recording.FocusChanged() if not self._keep_focus:
                market.set_focus(record.focus, is_checked=False)
            case recording.ActiveAssetLabel():
                market.on_active_asset_label(record.label)
            case recording.PlatformDate():
                market.on_platform_date(record.date_ms, at, record.socket or None)
            case recording.ClockTrusted():
                with contextlib.suppress(ConfigError):  # refused then, too
                    market.trust_clock(Trust(record.word), at)
            case recording.RestoredWaiting():
                market.restore_waiting(record.span)
            case recording.Restored():
                for from_ms, to_ms in record.lost:
                    market.restore_loss(record.symbol, from_ms, to_ms)
                for from_ms, to_ms, reason in record.gaps:
                    known = _REASONS.get(reason, GapReason.DAEMON_DOWN)
                    market.restore_gap(record.symbol, from_ms, to_ms, known)
                market.restore(record.symbol, record.ticks, record.from_ms, record.to_ms)
                if record.told_before:
                    market.drain()
            case _:
                pass  # recorded for the reader's sake


def _may_time_pass(record: recording.Record) -> bool:
    """Return whether all that had arrived before was taken in with this record."""
    if isinstance(record, RawFrame | RedactedFrame):
        return record.drained
    return isinstance(record, recording.TimeAdvanced)
