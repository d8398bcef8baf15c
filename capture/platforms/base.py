"""The interface of a trading platform plug-in, and the values it makes.

A platform knows its pages' and sockets' addresses and turns the frames of one socket into market events. It is pure: no
socket, no clock. Times are the platform's own (``raw_ts_ms``); fluxcap measures and removes the offset.

A plug-in is a class with ``Platform``'s methods, announced under the entry point group ``fluxcap.platforms`` and made
with the extra hosts that its user allows; ``registry.py`` says how.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias

import msgspec

from fluxcap.schemas.types import Candle


class RawTick(msgspec.Struct, frozen=True, gc=False):
    """One price as it came: UNIX milliseconds of the platform's clock."""

    symbol: str
    raw_ts_ms: int
    price: float


RAW_TICKS_PERIOD_MS = 60_000
"""Up to this period a history's ticks are known to be raw (recorded at 60 s)."""


class History(msgspec.Struct, frozen=True):
    """An asset's past, as the platform sent it to the page.

    Ticks are ``(raw_ts_ms, price)``, ascending. Candles are ascending, of length ``period_ms``, with ``ts_ms`` on the
    platform's clock.
    """

    symbol: str
    period_ms: int
    ticks: tuple[tuple[int, float], ...] = ()
    candles: tuple[Candle, ...] = ()

    @property
    def has_raw_ticks(self) -> bool:
        """True if its ticks are all there were, so that candles may be made of them."""
        return self.period_ms <= RAW_TICKS_PERIOD_MS


class Asset(msgspec.Struct, frozen=True):
    """One row of the platform's asset table."""

    symbol: str
    name: str
    kind: str = ""
    payout: int = 0
    is_otc: bool = False
    active: bool = True


class Assets(msgspec.Struct, frozen=True):
    """The asset table, whole."""

    assets: tuple[Asset, ...]


class ActiveAsset(msgspec.Struct, frozen=True):
    """The page turned to an asset. ``period_ms`` 0 when not told."""

    symbol: str
    period_ms: int = 0


class Favourites(msgspec.Struct, frozen=True):
    """The symbols of the trader's favourites bar, in order."""

    symbols: tuple[str, ...]


class Greeting(msgspec.Struct, frozen=True):
    """A socket introduced itself: it says something at least every ``ping_interval_ms``."""

    ping_interval_ms: int


MarketEvent: TypeAlias = RawTick | History | Assets | ActiveAsset | Favourites | Greeting


class SocketDecoder(Protocol):
    """One socket's frames, in order."""

    malformed: Counter[str]
    """What could not be understood, by kind."""
    dropped: Counter[str]
    """Events that are ignored, by name."""

    def received(self, opcode: int, payload: str) -> Sequence[MarketEvent]:
        """A frame the page received: opcode 1 text, 2 base64. Never raises for what a frame holds."""
        ...

    def sent(self, opcode: int, payload: str) -> Sequence[MarketEvent]:
        """A frame the page sent. Secrets go out here: look only at what is on the allow-list."""
        ...


class Keep(enum.Enum):
    """The part of a frame a recording may keep."""

    CONTENT = "content"
    """A market event by its name; what it said of the trader, if anything, has been taken out."""
    TALK = "talk"
    """Nothing but that the socket spoke."""
    PULSE = "pulse"
    """Nothing but that the connection lives: a ping or a greeting, which says nothing of the feed behind it."""


class Kept(NamedTuple):
    """The part of a frame a recording keeps: ``payload`` as received, or reduced; "" without content."""

    keep: Keep
    payload: str = ""


class Redaction(Protocol):
    """Redacts the frames of one socket, in order, for a recording. Never raises for what a frame holds.

    What is not known to be market data is never kept: an event that nobody has heard of yet is TALK.
    """

    def received(self, opcode: int, payload: str) -> Kept:
        """A frame the page received, as ``SocketDecoder.received`` takes it."""
        ...

    def sent(self, opcode: int, payload: str) -> Kept:
        """A frame the page sent. Secrets go out here."""
        ...


class Platform(Protocol):
    """A trading platform."""

    name: str

    shown_asset_js: str
    """JavaScript expression, without side effects, for the label of the asset a page shows; "" when it tells none."""

    def is_page(self, url: str) -> bool:
        """Return whether a browser target of this address belongs to the platform."""
        ...

    def is_socket(self, url: str) -> bool:
        """Return whether a WebSocket of this address may carry ticks; asked only when the address is known."""
        ...

    def decoder(self) -> SocketDecoder:
        """A decoder for a new socket."""
        ...

    def redaction(self) -> Redaction:
        """Return the redaction of a new socket's frames for recordings."""
        ...
