"""Records of a recording: the market's inputs in order, with both clocks. Values only; file.py reads and writes them.

A recording keeps everything that decides a candle: which sockets there were, the market frames they carried, when the
others spoke, when messages were all taken in (``drained``) and when time passed without one, the focus, and what an
earlier run had left. Played back into a ``Market`` it gives the same candles to the bit. Tabs and browser are there for
the reader's sake. Nothing of the trader's is in it: see platforms/redaction.py.
"""

from __future__ import annotations

import enum
from typing import Any, TypeAlias

import msgspec

from fluxcap.capture.market.clock import ClockPrior
from fluxcap.capture.market.focus import Focus
from fluxcap.capture.market.market import MarketTimeouts, WaitingSpan

RULES = 2
"""Rises when the same recording gives other candles, revisions or gaps than before. 1: up to version 0.1."""
FORMAT = 2
"""Rises when an older fluxcap could not understand a recording. New fields of the header do not make it rise."""


class Arrivals(enum.StrEnum):
    """The origin of a recording's arrival times."""

    MEASURED = "measured"
    RECONSTRUCTED = "reconstructed"
    """Worked out from the ticks' own stamps: the import of frames that were all stored at one moment."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The origin of a recording, and the settings with which a replay gives the same candles."""

    format: int = 1
    """Format 2 may hold what was seen and said of the time, and ``prior``."""
    fluxcap: str = ""
    """Version that wrote it."""
    rules: int | msgspec.UnsetType = msgspec.UNSET
    """The candle rules of the fluxcap that wrote it (``RULES``); a recording of version 0.1 does not say."""
    platform: str = ""
    source: str = "POCKETOPTION"
    interval: str = "1m"
    focus: Focus = Focus()
    """While following, its symbols are what the page had shown in earlier runs, the newest first."""
    times: MarketTimeouts = MarketTimeouts()
    arrivals: Arrivals = Arrivals.MEASURED
    began_ms: int = 0
    """Wall clock at the begin, UTC epoch milliseconds."""
    published: dict[str, int] = {}
    """Start (UTC ms) of the newest candle that the store had of each asset when the recording began."""
    prior: ClockPrior | msgspec.UnsetType = msgspec.UNSET
    """What earlier runs knew of the platform's clock; a recording of format 1 says nothing of it."""
    table: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    """The settings' table of a platform that they describe: a replay reads its frames without those settings."""


class _Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    mono_ns: int
    """Monotonic clock, counted from the record before."""
    skew_ns: int
    """Wall clock, counted from the record before, less ``mono_ns``: nearly 0 unless the wall clock was stepped."""


class TextFrame(_Record, frozen=True, array_like=True, gc=False, tag=0):
    """A text frame the page received. ``socket``: its number in this recording."""

    socket: int
    drained: bool
    payload: str


class BinaryFrame(_Record, frozen=True, array_like=True, gc=False, tag=1):
    """A binary frame the page received."""

    socket: int
    drained: bool
    payload: bytes


class RawFrame(_Record, frozen=True, array_like=True, gc=False, tag=2):
    """A frame the page received that is neither, or binary with a base64 of its own."""

    socket: int
    drained: bool
    opcode: int
    payload: str


class RedactedFrame(_Record, frozen=True, array_like=True, gc=False, tag=3):
    """A frame came of which nothing may be kept. ``talks``: it was neither ping nor greeting."""

    socket: int
    drained: bool
    talks: bool


class SentFrame(_Record, frozen=True, array_like=True, gc=False, tag=4):
    """A frame the page sent."""

    socket: int
    opcode: int
    payload: str


class SocketOpened(_Record, frozen=True, array_like=True, gc=False, tag=5):
    """A socket of the platform. ``url`` "": it was open before the attach. ``tab``: number of its tab, 0: unknown."""

    socket: int
    url: str
    tab: int


class SocketLost(_Record, frozen=True, array_like=True, gc=False, tag=6):
    """A socket ended. ``reason``: a ``GapReason``."""

    socket: int
    reason: str


class TimeAdvanced(_Record, frozen=True, array_like=True, gc=False, tag=7):
    """All that had arrived before was taken in: time may pass."""


class FocusChanged(_Record, frozen=True, array_like=True, gc=False, tag=8):
    """The focus was changed."""

    focus: Focus


class TabAttached(_Record, frozen=True, array_like=True, gc=False, tag=9):
    """From here on the frames of a tab, frame or worker arrive."""

    tab: int
    kind: str
    url: str


class TabGone(_Record, frozen=True, array_like=True, gc=False, tag=10):
    tab: int
    reason: str


class BrowserState(_Record, frozen=True, array_like=True, gc=False, tag=11):
    """The browser was attached to, or lost. ``told``: what it is, or why it is gone."""

    attached: bool
    told: str


class Restored(_Record, frozen=True, array_like=True, gc=False, tag=12):
    """Ticks of an asset received by an earlier run, as ``Market.restore`` takes them.

    ``told_before``: the gaps behind them are in the store already. ``lost``: ranges (UTC ms) for
    ``Market.restore_loss``. ``gaps``: begin, end and reason (a ``GapReason``) for ``Market.restore_gap``. Both are
    applied before the ticks.
    """

    symbol: str
    ticks: list[tuple[int, float]]
    from_ms: int
    to_ms: int
    told_before: bool
    lost: list[tuple[int, int]] = []
    gaps: list[tuple[int, int, str]] = []


class EndOfRecording(_Record, frozen=True, array_like=True, gc=False, tag=13):
    """The recording was ended on purpose. ``records``: how many came before."""

    records: int


class ActiveAssetLabel(_Record, frozen=True, array_like=True, gc=False, tag=14):
    """A page was asked what it shows, since no frame had named it; ``label`` as people read it."""

    label: str


class PlatformDate(_Record, frozen=True, array_like=True, gc=False, tag=15):
    """A response of the platform's said in its ``Date`` header that it was ``date_ms`` (UTC).

    ``socket``: number of the WebSocket whose handshake it answered, 0 for another response.
    """

    date_ms: int
    socket: int


class ClockTrusted(_Record, frozen=True, array_like=True, gc=False, tag=16):
    """The user said which clock to trust, a ``Trust``."""

    word: str


class RestoredWaiting(_Record, frozen=True, array_like=True, gc=False, tag=17):
    """Ticks received by an earlier run while its clock was in question, as ``Market.restore_waiting`` takes them."""

    span: WaitingSpan


Record: TypeAlias = (
    TextFrame
    | BinaryFrame
    | RawFrame
    | RedactedFrame
    | SentFrame
    | SocketOpened
    | SocketLost
    | TimeAdvanced
    | FocusChanged
    | TabAttached
    | TabGone
    | BrowserState
    | Restored
    | EndOfRecording
    | ActiveAssetLabel
    | PlatformDate
    | ClockTrusted
    | RestoredWaiting
)
