"""A platform described in the settings file: JSON messages over WebSockets, each with symbol, time and price. Pure.

::

    [platforms.binance]
    pages = ["https://www.binance.com/*/trade/*"]   # tabs to attach to
    sockets = ["wss://stream.binance.com*"]         # their sockets; left out: every socket of these tabs
    frames = "text"                                 # or "binary": the same JSON in binary frames
    messages = "data"                               # where the message is in a frame; "" the frame itself, "x[]" a list
    symbol = "s"                                    # paths within a message: names and positions with dots, "trade.0"
    time = "T"
    time_unit = "ms"                                # s, ms, us, ns or iso
    price = "p"                                     # a number, or a string that holds one
    id = "t"                                        # the id of a trade, by which it counts once; left out: none
    repeats = true                                  # whether a trade told twice, same time and price, is two trades
    filter = { e = "trade" }                        # messages that are to be read; left out: all that have the three
    shown_asset = ".symbol"                         # CSS selector of the shown asset's name on the page, if it has one

The platform's clock is measured like any other's, also when it is UTC.
"""

from __future__ import annotations

import binascii
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import msgspec

from fluxcap.capture.platforms.addresses import PAGES, SOCKETS, AddressPatterns, hosts_of
from fluxcap.capture.platforms.base import Keep, Kept, MarketEvent, RawTick
from fluxcap.capture.platforms.json_path import JsonPath
from fluxcap.capture.platforms.stamps import MICROSECONDS, MILLISECONDS, NANOSECONDS, SECONDS, as_written, floor_ms
from fluxcap.capture.platforms.symbols import StreamNames
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
_json = msgspec.json.Decoder(float_hook=as_written)
"""Numbers stay as they are written: a double cannot hold every stamp."""
_encoder = msgspec.json.Encoder(decimal_format="number")


class Description(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table of the settings file, see the module."""

    pages: tuple[str, ...]
    symbol: str
    time: str
    price: str
    sockets: tuple[str, ...] = ()
    frames: Literal["text", "binary"] = "text"
    messages: str = ""
    time_unit: Literal["s", "ms", "us", "ns", "iso"] = "ms"
    id: str = ""
    repeats: bool = True
    filter: dict[str, str | int | float | bool] = {}
    shown_asset: str = ""


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
    """Paths to the messages in a frame, and to the fields read in a message. Raises ConfigError for an invalid path."""

    def __init__(self, description: Description) -> None:
        self.opcode = TEXT if description.frames == "text" else BINARY
        self.messages = JsonPath(description.messages)
        texts = description.symbol, description.time, description.price
        self.symbol, self.time, self.price = (JsonPath(text) for text in texts)
        self.id = JsonPath(description.id) if description.id else None
        named = [self.symbol, self.time, self.price, *([self.id] if self.id is not None else [])]
        if any(path.is_list or not path.keys for path in named):
            raise ConfigError("symbol, time, price and id must each name one field of a message.")
        self.filter = [(JsonPath(text), value) for text, value in description.filter.items()]
        self._kept = [*named, *(path for path, _ in self.filter)]
        self._time_unit = description.time_unit
        self.names = StreamNames()

    def found(self, opcode: int, payload: str) -> list[Any]:
        """The messages of a frame that the filter lets pass. Raises ValueError for what is no JSON."""
        if opcode != self.opcode:
            return []
        text = binascii.a2b_base64(payload) if opcode == BINARY else payload
        return [message for message in self.messages.all(_json.decode(text)) if self._wanted(message)]

    def tick(self, message: Any) -> RawTick | None:
        """Raises ValueError for a message with one of the three that cannot be read; None for one that has none."""
        values = self.symbol.one(message), self.time.one(message), self.price.one(message)
        if all(value is None for value in values):
            return None
        symbol, time, price = values
        trade_id = _trade_id(self.id.one(message)) if self.id is not None else ""
        if not isinstance(symbol, str):
            raise ValueError("symbol")
        return RawTick(self.names.name_of(symbol), _time_ms(time, self._time_unit), _price(price), trade_id)

    def reduced(self, message: Any) -> Any:
        """Return only the fields of a message that are read."""
        kept: Any = None
        for path in self._kept:
            kept = path.put(kept, path.one(message))
        return kept

    def _wanted(self, message: Any) -> bool:
        return all(_plain(path.one(message)) == value for path, value in self.filter)


class GenericDecoder:
    """Frames of one socket into ticks."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self.malformed: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()

    def received(self, opcode: int, payload: str) -> Sequence[MarketEvent]:
        try:
            messages = self._shape.found(opcode, payload)
        except (ValueError, RecursionError):  # msgspec's and binascii's errors are ValueErrors
            self.malformed["frame"] += 1
            return ()
        ticks: list[MarketEvent] = []
        for message in messages:
            try:
                tick = self._shape.tick(message)
            except (ValueError, OverflowError):
                self.malformed["tick"] += 1
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

    def received(self, opcode: int, payload: str) -> Kept:
        try:
            kept = [
                self._shape.reduced(message) for message in self._shape.found(opcode, payload) if self._is_tick(message)
            ]
        except (ValueError, RecursionError):
            kept = []
        if not kept:
            return Kept(Keep.TALK if len(payload) > 1 else Keep.PULSE)
        content = _encoder.encode(self._shape.messages.wrap(kept))
        return Kept(Keep.CONTENT, _packed(opcode, content))

    def sent(self, opcode: int, payload: str) -> Kept:
        return Kept(Keep.TALK if len(payload) > 1 else Keep.PULSE)

    def _is_tick(self, message: Any) -> bool:
        try:
            return self._shape.tick(message) is not None
        except (ValueError, OverflowError):
            return False


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
