"""A platform described in the settings file: JSON messages over WebSockets, each with symbol, time and price. Pure.

::

    [platforms.binance]
    pages = ["https://www.binance.com/*/trade/*"]   # tabs to attach to
    sockets = ["wss://stream.binance.com"]          # their sockets; left out: every socket of these tabs
    frames = "text"                                 # or "binary": the same JSON in binary frames
    messages = "data"                               # where messages are in a frame; "" the frame itself, "x[]" a list,
                                                    # "events[].trades[]" lists in lists
    symbol = "s"                                    # paths within a message: names and positions with dots, "trade.0";
                                                    # "../x" is a field of what the message stands in, see json_path.py
    time = "T"
    time_unit = "ms"                                # s, ms, us, ns or iso
    price = "p"                                     # a number, or a string that holds one
    id = "t"                                        # the id of a trade, by which it counts once; left out: none
    repeats = true                                  # whether a trade told twice, same time and price, is two trades
    filter = { e = "trade" }                        # messages that are to be read; left out: all that have the three
    shown_asset = ".symbol"                         # CSS selector of the shown asset's name on the page, if it has one
    names = { 76 = "EURUSD-OTC" }                   # names of symbols; with it, numbers are symbols, too
    also = [{ messages = "", symbol = "s", … }]     # further kinds; a frame is read as the first that fits

    [platforms.binance.channels]                    # where symbols are told once for each channel of a socket:
    messages = ""                                   # where that is told, the number of the channel, and its symbol;
    key = "chanId"                                  # then the path symbol leads to the number of a message's channel
    symbol = "symbol"
    filter = { event = "subscribed" }

The platform's clock is measured like any other's, also when it is UTC.
"""

from __future__ import annotations

import binascii
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import msgspec

from fluxcap.capture.platforms.addresses import PAGES, SOCKETS, AddressPatterns, hosts_of
from fluxcap.capture.platforms.base import Keep, Kept, MarketEvent, RawTick
from fluxcap.capture.platforms.json_path import FieldPath, MessagesPath, Place
from fluxcap.capture.platforms.stamps import MICROSECONDS, MILLISECONDS, NANOSECONDS, SECONDS, as_written, floor_ms
from fluxcap.capture.platforms.symbols import StreamNames, is_symbol
from fluxcap.schemas.errors import ConfigError

TEXT, BINARY = 1, 2
MAX_PRICE = 1e12
MAX_TS_MS = 32_503_680_000_000
"""The year 3000."""
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
"""Python itself would also take 1_000, other scripts' digits and blanks, none of which an exchange means."""
_UNITS = {"s": SECONDS, "ms": MILLISECONDS, "us": MICROSECONDS, "ns": NANOSECONDS}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_TRADE_ID_MAX = 64
_CHANNELS_MAX = 4_096
_NUMBER_MAX = 10**18
_json = msgspec.json.Decoder(float_hook=as_written)
"""Numbers stay as they are written: a double cannot hold every stamp."""
_encoder = msgspec.json.Encoder(decimal_format="number")


_Value: TypeAlias = str | int | float | bool


class MessageTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One kind of messages, as the settings file describes it, see the module."""

    symbol: str
    time: str
    price: str
    messages: str = ""
    time_unit: Literal["s", "ms", "us", "ns", "iso"] = "ms"
    id: str = ""
    filter: dict[str, _Value] = {}


class ChannelsTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The place where the symbols of channels are told."""

    key: str
    symbol: str
    messages: str = ""
    filter: dict[str, _Value] = {}


class Description(MessageTable, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The table of the settings file, see the module."""

    pages: tuple[str, ...]
    sockets: tuple[str, ...] = ()
    frames: Literal["text", "binary"] = "text"
    repeats: bool = True
    shown_asset: str = ""
    names: dict[str, str] | None = None
    also: tuple[MessageTable, ...] = ()
    channels: ChannelsTable | None = None


class GenericPlatform:
    """The platform. ``extra_hosts``: further host patterns, for pages and sockets alike. Raises ConfigError."""

    name = "generic"
    shown_asset_js = ""

    def __init__(self, extra_hosts: Sequence[str] = (), **table: Any) -> None:
        if not table:
            raise ConfigError("no table describes it; add [platforms.NAME] to the settings file and choose NAME.")
        try:
            described = msgspec.convert(table, Description)
        except msgspec.ValidationError as error:
            raise ConfigError(f"its table is not right: {str(error)[:1].lower()}{str(error)[1:]}.") from None
        if not described.pages:
            raise ConfigError("its table names no pages; add them like pages = ['https://example.com/*'].")
        self._shape = Shape(described)
        self.repeats = described.repeats
        selector = msgspec.json.encode(described.shown_asset).decode()
        self.shown_asset_js = f"document.querySelector({selector})?.textContent ?? ''" if described.shown_asset else ""
        hosts = hosts_of(extra_hosts)
        self._pages = AddressPatterns((*described.pages, *hosts), PAGES)
        self._sockets = AddressPatterns((*described.sockets, *hosts), SOCKETS) if described.sockets else None

    def is_page(self, url: str) -> bool:
        return self._pages.match(url)

    def is_socket(self, url: str) -> bool:
        return self._sockets is None or self._sockets.match(url)

    def keep_names(self, existing: Iterable[str]) -> None:
        """Take the names of the streams that the store has, see ``StreamNames``."""
        self._shape.names.keep(existing)

    def decoder(self) -> GenericDecoder:
        return GenericDecoder(self._shape)

    def redaction(self) -> GenericRedaction:
        return GenericRedaction(self._shape)


class Shape:
    """A description made ready: what is to be read of a frame. Raises ConfigError for what cannot be."""

    def __init__(self, description: Description) -> None:
        self.opcode = TEXT if description.frames == "text" else BINARY
        self.kinds = [Messages(table) for table in (description, *description.also)]
        self.channels = Channels(description.channels) if description.channels is not None else None
        self.renamed = _renamed(description.names)
        self.takes_numbers = description.names is not None
        self.names = StreamNames()

    def frame(self, opcode: int, payload: str) -> Any:
        """The JSON of a frame; None for a frame of the other opcode. Raises ValueError for what is no JSON."""
        if opcode != self.opcode:
            return None
        return _json.decode(binascii.a2b_base64(payload) if opcode == BINARY else payload)

    def found(self, frame: Any) -> tuple[Messages, list[Place]]:
        """The messages of a frame, and how they are to be read: as the first kind of which there are any."""
        for kind in self.kinds:
            places = kind.places(frame)
            if places:
                return kind, places
        return self.kinds[0], []

    def symbol(self, value: Any, channels: Mapping[str, str]) -> str:
        """The stream of what a message has for its symbol.

        Raises ValueError for what cannot be one, UnknownChannel for a channel that nothing was told of.
        """
        if self.channels is not None:
            number = _as_text(value)
            if number is None:
                raise ValueError("channel")
            value = channels.get(number)
            if value is None:
                raise UnknownChannel
        elif self.takes_numbers:
            value = _as_text(value)
        if not isinstance(value, str):
            raise ValueError("symbol")
        if self.renamed:
            value = self.renamed.get(value, value)
        return self.names.name_of(value)


class UnknownChannel(Exception):
    """A message is of a channel whose symbol was told before anybody listened."""


class Messages:
    """One kind of messages: where they are in a frame, and the fields that are read of them."""

    def __init__(self, table: MessageTable) -> None:
        self._path = MessagesPath(table.messages)
        self._symbol, self._time, self._price = (_field(text) for text in (table.symbol, table.time, table.price))
        self._id = _field(table.id) if table.id else None
        self._filter = [(FieldPath(text), value) for text, value in table.filter.items()]
        self._time_unit = table.time_unit
        named = [self._symbol, self._time, self._price, *([self._id] if self._id is not None else [])]
        self._fields = self._path.arranged([*named, *(path for path, _ in self._filter)])

    def places(self, frame: Any) -> list[Place]:
        """The messages of a frame that the filter lets pass."""
        found = self._path.places(frame)
        return [place for place in found if _passes(self._filter, place)] if self._filter else found

    def tick(self, place: Place, shape: Shape, channels: Mapping[str, str]) -> RawTick | None:
        """Raises ValueError for a message with one of the three that cannot be read; None for one that has none.

        Raises UnknownChannel.
        """
        symbol, time, price = self._symbol.of(place), self._time.of(place), self._price.of(place)
        if symbol is None and time is None and price is None:
            return None
        trade_id = _trade_id(self._id.of(place)) if self._id is not None else ""
        return RawTick(shape.symbol(symbol, channels), _time_ms(time, self._time_unit), _price(price), trade_id)

    def reduced(self, frame: Any, is_kept: Callable[[Place], bool]) -> Any:
        """Return a frame with only the fields that are read of the messages to be kept; None without any."""
        return self._path.reduced(frame, self._fields, lambda place: _passes(self._filter, place) and is_kept(place))


class Channels:
    """The frames in which a socket tells the symbol of each of its channels."""

    def __init__(self, table: ChannelsTable) -> None:
        self._path = MessagesPath(table.messages)
        self._key, self._symbol = _field(table.key), _field(table.symbol)
        self._filter = [(FieldPath(text), value) for text, value in table.filter.items()]
        self._fields = self._path.arranged([self._key, self._symbol, *(path for path, _ in self._filter)])

    def told(self, frame: Any) -> list[tuple[str, str]]:
        """The channels that a frame tells, and their symbols."""
        found = [self._one(place) for place in self._path.places(frame)]
        return [one for one in found if one is not None]

    def reduced(self, frame: Any) -> Any:
        """Return a frame with only what is read of the channels that it tells; None without any."""
        return self._path.reduced(frame, self._fields, lambda place: self._one(place) is not None)

    def _one(self, place: Place) -> tuple[str, str] | None:
        if not _passes(self._filter, place):
            return None
        number, symbol = _as_text(self._key.of(place)), self._symbol.of(place)
        return (number, symbol) if number is not None and isinstance(symbol, str) else None


class GenericDecoder:
    """Frames of one socket into ticks."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._channels: dict[str, str] = {}
        self.malformed: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()

    def received(self, opcode: int, payload: str) -> Sequence[MarketEvent]:
        shape = self._shape
        try:
            frame = shape.frame(opcode, payload)
        except (ValueError, RecursionError):  # msgspec's and binascii's errors are ValueErrors
            self.malformed["frame"] += 1
            return ()
        if shape.channels is not None and (told := shape.channels.told(frame)):
            _learn(self._channels, told)
            return ()
        kind, places = shape.found(frame)
        ticks: list[MarketEvent] = []
        for place in places:
            try:
                tick = kind.tick(place, shape, self._channels)
            except (ValueError, OverflowError):
                self.malformed["tick"] += 1
                continue
            except UnknownChannel:
                self.malformed["channel"] += 1
                continue
            if tick is not None:
                ticks.append(tick)
        if not ticks:
            self.dropped["frame"] += 1
        return ticks

    def sent(self, opcode: int, payload: str) -> Sequence[MarketEvent]:
        return ()


class GenericRedaction:
    """Of one socket only what makes ticks is kept."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._channels: dict[str, str] = {}

    def received(self, opcode: int, payload: str) -> Kept:
        try:
            kept = self._reduced(self._shape.frame(opcode, payload))
        except (ValueError, RecursionError):
            kept = None
        if kept is None:
            return Kept(Keep.TALK if len(payload) > 1 else Keep.PULSE)
        return Kept(Keep.CONTENT, _packed(opcode, _encoder.encode(kept)))

    def sent(self, opcode: int, payload: str) -> Kept:
        return Kept(Keep.TALK if len(payload) > 1 else Keep.PULSE)

    def _reduced(self, frame: Any) -> Any:
        channels = self._shape.channels
        if channels is not None and (told := channels.told(frame)):
            _learn(self._channels, told)
            return channels.reduced(frame)
        kind, _ = self._shape.found(frame)
        return kind.reduced(frame, lambda place: self._is_tick(kind, place))

    def _is_tick(self, kind: Messages, place: Place) -> bool:
        try:
            return kind.tick(place, self._shape, self._channels) is not None
        except (ValueError, OverflowError, UnknownChannel):
            return False


def _field(text: str) -> FieldPath:
    if text.endswith("[]") or not FieldPath(text).keys:
        raise ConfigError("symbol, time, price, id and key must each name one field of a message.")
    return FieldPath(text)


def _renamed(names: Mapping[str, str] | None) -> dict[str, str]:
    """Names by symbol as it is sent. Raises ConfigError for one that is no asset's, or two symbols'."""
    owners: dict[str, str] = {}
    for symbol, name in (names or {}).items():
        if not is_symbol(name):
            raise ConfigError(f"names calls {symbol!r} {name!r}, which can be no asset's name; write it like EURUSD.")
        if name in owners:
            raise ConfigError(f"names calls both {owners[name]!r} and {symbol!r} {name!r}; give each its own name.")
        owners[name] = symbol
    return dict(names or {})


def _passes(wanted: Sequence[tuple[FieldPath, _Value]], place: Place) -> bool:
    for path, value in wanted:  # noqa: SIM110  all() takes twice as long
        if _plain(path.of(place)) != value:
            return False
    return True


def _learn(channels: dict[str, str], told: Iterable[tuple[str, str]]) -> None:
    """Take what a socket tells of its channels; one that it tells again is the newest."""
    for number, symbol in told:
        channels.pop(number, None)
        channels[number] = symbol
        if len(channels) > _CHANNELS_MAX:
            del channels[next(iter(channels))]


def _as_text(value: Any) -> str | None:
    """A text, or a whole number as it is written; None for anything else."""
    if isinstance(value, str):
        return value
    is_number = isinstance(value, int) and not isinstance(value, bool) and -_NUMBER_MAX < value < _NUMBER_MAX
    return str(value) if is_number else None


def _packed(opcode: int, content: bytes) -> str:
    return binascii.b2a_base64(content, newline=False).decode() if opcode == BINARY else content.decode()


def _plain(value: Any) -> Any:
    """The value as the settings file would write it."""
    return float(value) if isinstance(value, Decimal) else value


def _trade_id(value: Any) -> str:
    """ "" for what is no id: then the trade is told apart by its time and price."""
    is_id = isinstance(value, int | str) and not isinstance(value, bool) and len(str(value)) <= _TRADE_ID_MAX
    return str(value) if is_id else ""


def _price(value: Any) -> float:
    price = float(_number(value))
    if not 0.0 < price < MAX_PRICE:
        raise ValueError("price")
    return price


def _time_ms(value: Any, unit: str) -> int:
    if unit == "iso":
        if not isinstance(value, str):
            raise ValueError("time")
        when = datetime.fromisoformat(value)
        ts_ms = ((when if when.tzinfo else when.replace(tzinfo=UTC)) - _EPOCH) // _MS
    else:
        number = _number(value)
        if not 0 < number < MAX_TS_MS * 10**6:
            raise ValueError("time")
        ts_ms = floor_ms(number, _UNITS[unit])
    if not 0 < ts_ms < MAX_TS_MS:
        raise ValueError("time")
    return ts_ms


def _number(value: Any) -> int | Decimal:
    """A number, or a string that holds one, as it is written. It is finite as a double, too."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise ValueError("number")
    if isinstance(value, str) and _DECIMAL.fullmatch(value) is None:
        raise ValueError("number")
    number = as_written(value) if isinstance(value, str) else value
    if not math.isfinite(float(number)):
        raise ValueError("number")
    return number
