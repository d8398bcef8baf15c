"""The interface of a trading platform plug-in, and the values it makes.

A plug-in is a class with the methods of ``Platform``, announced by its own package under the entry point group
``fluxcap.platforms``.
"""

from __future__ import annotations

from fluxcap.capture.platforms.addresses import PAGES, SOCKETS, AddressPatterns
from fluxcap.capture.platforms.base import (
    ActiveAsset,
    Asset,
    Assets,
    Favourites,
    Greeting,
    History,
    Keep,
    Kept,
    MarketEvent,
    Platform,
    RawTick,
    Redaction,
    SocketDecoder,
)
from fluxcap.schemas.types import Candle

__all__ = [
    "PAGES",
    "SOCKETS",
    "ActiveAsset",
    "AddressPatterns",
    "Asset",
    "Assets",
    "Candle",
    "Favourites",
    "Greeting",
    "History",
    "Keep",
    "Kept",
    "MarketEvent",
    "Platform",
    "RawTick",
    "Redaction",
    "SocketDecoder",
]
