"""The interface of a trading platform plug-in, and the values it makes.

A platform knows its pages' and sockets' addresses and turns the frames of one socket into market events. It is pure: no
socket, no clock. Times are the platform's own (``raw_ts_ms``); fluxcap measures and removes the offset.

A plug-in is a class with ``Platform``'s methods, announced under the entry point group ``fluxcap.platforms`` and made
with the extra hosts that its user allows; ``registry.py`` says how.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

import msgspec

from fluxcap.schemas.types import Candle


class RawTick(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One price as it came.

    Attributes
    ----------
    symbol
        The platform's own, with its case.
    raw_ts_ms
        UNIX milliseconds of the platform's clock.
    price
        Above 0.
    trade_id
        The platform's own id of the trade, by which it counts once; ``""``: it has none.
    """

    symbol: str
    raw_ts_ms: int
    price: float
    trade_id: str = ""


RAW_TICKS_PERIOD_MS = 60_000
"""Up to this period a history's ticks are known to be raw (recorded at 60 s); of an unknown one they may be."""


class History(msgspec.Struct, frozen=True):
    """An asset's past, as the platform sent it to the page.

    Attributes
    ----------
    symbol
        The platform's own, with its case.
    period_ms
        Length of the candles in milliseconds; 0: unknown.
    ticks
        ``(raw_ts_ms, price)`` each, ascending.
    candles
        Ascending, ``ts_ms`` on the platform's clock. The last one may still be under way.
    breaks_ms
        Stamps of ticks right before which one was sent that cannot be read, ascending; one beyond the last tick's: the
        newest cannot.
    """

    symbol: str
    period_ms: int
    ticks: tuple[tuple[int, float], ...] = ()
    candles: tuple[Candle, ...] = ()
    breaks_ms: tuple[int, ...] = ()

    @property
    def has_raw_ticks(self) -> bool:
        """True if its period tells that its ticks are all there were, so that candles may be made of them."""
        return 0 < self.period_ms <= RAW_TICKS_PERIOD_MS


class Asset(msgspec.Struct, frozen=True):
    """One row of the platform's asset table.

    Attributes
    ----------
    symbol, name
        The platform's own symbol, and the name that its page shows.
    kind
        Such as ``currency``; ``""``: unknown.
    payout
        Percent.
    is_otc
        Whether the platform itself makes the prices.
    active
        Whether it can be traded now.
    """

    symbol: str
    name: str
    kind: str = ""
    payout: int = 0
    is_otc: bool = False
    active: bool = True


class Assets(msgspec.Struct, frozen=True):
    """The asset table, whole.

    Attributes
    ----------
    assets
        Its rows.
    """

    assets: tuple[Asset, ...]


class ActiveAsset(msgspec.Struct, frozen=True):
    """The page turned to an asset, or said that it shows one.

    Attributes
    ----------
    symbol
        The platform's own, with its case.
    period_ms
        Length of the chart's candles in milliseconds; 0: unknown.
    turned
        Whether it may have shown another one before, whose ticks may end now.
    """

    symbol: str
    period_ms: int = 0
    turned: bool = True


class Favourites(msgspec.Struct, frozen=True):
    """The trader's favourites bar.

    Attributes
    ----------
    symbols
        In its order.
    """

    symbols: tuple[str, ...]


class Greeting(msgspec.Struct, frozen=True):
    """A socket introduced itself.

    Attributes
    ----------
    ping_interval_ms
        Milliseconds within which it says something.
    """

    ping_interval_ms: int


class LoggedOut(msgspec.Struct, frozen=True):
    """The platform refused the page's session: the trader is logged out, or has to log in again."""


MarketEvent: TypeAlias = RawTick | History | Assets | ActiveAsset | Favourites | Greeting | LoggedOut


class SocketDecoder(Protocol):
    """Decodes one socket's frames, in order.

    Attributes
    ----------
    malformed
        Counts what could not be understood, by kind.
    dropped
        Counts events that are ignored, by name.
    """

    malformed: Counter[str]
    dropped: Counter[str]

    def received(self, opcode: int, payload: str) -> Sequence[MarketEvent]:
        """Decode a frame the page received.

        Parameters
        ----------
        opcode
            1: text; 2: binary.
        payload
            The text, or the bytes in base64.

        Returns
        -------
        Sequence
            Of ``MarketEvent``, in order; empty for anything else. It never raises for what a frame holds.
        """
        ...

    def sent(self, opcode: int, payload: str) -> Sequence[MarketEvent]:
        """Decode a frame the page sent. Secrets go out here: look only at what is on the allow-list.

        Parameters
        ----------
        opcode, payload
            As ``received``.

        Returns
        -------
        Sequence
            As ``received``.
        """
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
    """The part of a frame a recording keeps.

    Attributes
    ----------
    keep
        Which part.
    payload
        As received, or reduced; ``""`` without content.
    """

    keep: Keep
    payload: str = ""


class Redaction(Protocol):
    """Redacts the frames of one socket, in order, for a recording. Never raises for what a frame holds.

    What is not known to be market data is never kept: an unknown event is TALK.
    """

    def received(self, opcode: int, payload: str) -> Kept:
        """Reduce a frame the page received.

        Parameters
        ----------
        opcode, payload
            As ``SocketDecoder.received``.

        Returns
        -------
        Kept
            The part to keep.
        """
        ...

    def sent(self, opcode: int, payload: str) -> Kept:
        """Reduce a frame the page sent. Secrets go out here.

        Parameters
        ----------
        opcode, payload
            As ``SocketDecoder.received``.

        Returns
        -------
        Kept
            The part to keep.
        """
        ...


def _never(url: str) -> bool:
    return False


def _unknown(socket_url: str, page_url: str) -> str:
    return ""


class PlatformHints:
    """Answers about addresses that only some platforms give, see ``Platform``.

    Parameters
    ----------
    platform
        Any; None: nothing is told.

    Attributes
    ----------
    is_mirror, resembles_page, account
        The platform's methods of these names; of one that it lacks, a function that answers ``False`` or ``""``.
    """

    def __init__(self, platform: Platform | None = None) -> None:
        self.is_mirror: Callable[[str], bool] = getattr(platform, "is_mirror", _never)
        self.resembles_page: Callable[[str], bool] = getattr(platform, "resembles_page", _never)
        self.account: Callable[[str, str], str] = getattr(platform, "account", _unknown)


class Platform(Protocol):
    """A trading platform.

    One whose attribute ``repeats`` is True means each tick that it sends: also one that a socket tells again at once,
    with the same stamp and price, is a tick of its own. Without it, or with False, such a tick is dropped.

    Three more methods are used where a platform has them. ``is_mirror(url)``: whether a page is served under a name
    that may change hands; of it only sockets of known addresses count. ``resembles_page(url)``: whether a page that is
    not the platform's looks like it, so that its user is told how to allow it. ``account(socket_url, page_url)``: the
    kind of account that a socket is of, such as ``demo``, ``""`` where it cannot be told; either address may be ``""``.

    Attributes
    ----------
    name
        As users choose it.
    shown_asset_js
        JavaScript expression, without side effects, for the label of the asset a page shows; ``""``: none.
    """

    name: str
    shown_asset_js: str

    def is_page(self, url: str) -> bool:
        """Return whether a browser target of this address belongs to the platform.

        Parameters
        ----------
        url
            The target's address, whole.

        Returns
        -------
        bool
            False: it is never attached.
        """
        ...

    def is_socket(self, url: str) -> bool:
        """Return whether a WebSocket of this address may carry ticks; asked only when the address is known.

        Parameters
        ----------
        url
            The socket's address, whole.

        Returns
        -------
        bool
            False: none of its frames is decoded.
        """
        ...

    def decoder(self) -> SocketDecoder:
        """Make a decoder for a new socket.

        Returns
        -------
        SocketDecoder
            For that socket's frames alone.
        """
        ...

    def redaction(self) -> Redaction:
        """Make the redaction of a new socket's frames for recordings.

        Returns
        -------
        Redaction
            For that socket's frames alone.
        """
        ...
