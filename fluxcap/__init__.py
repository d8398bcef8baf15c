"""Exact candles from the trading page in your own Chrome, stored and republished as sequenced batches.

The client of the wire, whole, is here; each name is loaded when it is first used, and nothing else with it.

>>> from fluxcap import Candles, LiveClient, StreamKey
>>> with LiveClient(streams=[StreamKey("POCKETOPTION", "EURUSD_otc", "1m")]) as client:
...     for event in client.events():
...         if isinstance(event, Candles):
...             print(event.start_sequence, event.candles["close"])

``help(fluxcap.bridge.client)`` says the rest; errors are in ``fluxcap.errors``, and what a plug-in for a trading
platform needs in ``fluxcap.platforms``.
"""

from __future__ import annotations

import importlib
from os import path as _path
from typing import TYPE_CHECKING, Any

_HERE = _path.dirname(__file__)
if not _path.isdir(_path.join(_HERE, "schemas")):
    # A checkout: the folders lie beside this one; an installed package holds them.
    __path__.append(_path.dirname(_HERE))

if TYPE_CHECKING:
    from fluxcap.bridge.client.events import (
        Candles,
        CaughtUp,
        Event,
        Forming,
        Gap,
        HealthChanged,
        Revision,
        StoreReplaced,
        Ticks,
    )
    from fluxcap.bridge.client.fetch import backfill, fetch_status, list_streams
    from fluxcap.bridge.client.health import Health, HealthState
    from fluxcap.bridge.client.live import LiveClient
    from fluxcap.bridge.client.options import Via, endpoints
    from fluxcap.bridge.client.queues import SlowConsumer
    from fluxcap.bridge.client.receiver.actions import Cursor, StartFrom
    from fluxcap.bridge.export.candle_file import export_candles
    from fluxcap.bridge.history.history import History, history
    from fluxcap.bridge.transport.curve import ClientCurve, load_client
    from fluxcap.schemas.types import Candle, CandleFlags, StreamKey, StreamStatus

    __version__: str

_PUBLIC = {
    "Candle": "schemas.types",
    "CandleFlags": "schemas.types",
    "Candles": "bridge.client.events",
    "CaughtUp": "bridge.client.events",
    "ClientCurve": "bridge.transport.curve",
    "Cursor": "bridge.client.receiver.actions",
    "Event": "bridge.client.events",
    "Forming": "bridge.client.events",
    "Gap": "bridge.client.events",
    "Health": "bridge.client.health",
    "HealthChanged": "bridge.client.events",
    "HealthState": "bridge.client.health",
    "History": "bridge.history.history",
    "LiveClient": "bridge.client.live",
    "Revision": "bridge.client.events",
    "SlowConsumer": "bridge.client.queues",
    "StartFrom": "bridge.client.receiver.actions",
    "StoreReplaced": "bridge.client.events",
    "StreamKey": "schemas.types",
    "StreamStatus": "schemas.types",
    "Ticks": "bridge.client.events",
    "Via": "bridge.client.options",
    "backfill": "bridge.client.fetch",
    "endpoints": "bridge.client.options",
    "export_candles": "bridge.export.candle_file",
    "fetch_status": "bridge.client.fetch",
    "history": "bridge.history.history",
    "list_streams": "bridge.client.fetch",
    "load_client": "bridge.transport.curve",
}
"""Every public name, and the module that has it."""

__all__ = [  # in full: type checkers do not compute it
    "Candle",
    "CandleFlags",
    "Candles",
    "CaughtUp",
    "ClientCurve",
    "Cursor",
    "Event",
    "Forming",
    "Gap",
    "Health",
    "HealthChanged",
    "HealthState",
    "History",
    "LiveClient",
    "Revision",
    "SlowConsumer",
    "StartFrom",
    "StoreReplaced",
    "StreamKey",
    "StreamStatus",
    "Ticks",
    "Via",
    "__version__",
    "backfill",
    "endpoints",
    "export_candles",
    "fetch_status",
    "history",
    "list_streams",
    "load_client",
]


def __getattr__(name: str) -> Any:
    """Load a public name on its first use (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("fluxcap")
    elif name in _PUBLIC:
        value = getattr(importlib.import_module(f"fluxcap.{_PUBLIC[name]}"), name)
    else:
        raise AttributeError(f"module 'fluxcap' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
