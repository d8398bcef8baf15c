"""The panel's engine, which can be replaced by one on other endpoints, and a client of it. No widgets."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from fluxcap.bridge.dashboard.live_feed import LiveFeed
from fluxcap.bridge.devserver.engine import DevEngine
from fluxcap.bridge.devserver.faults import Faults
from fluxcap.bridge.devserver.settings import DevSettings
from fluxcap.bridge.store.universe import Listing
from fluxcap.bridge.transport.curve import server_keys, with_own_client
from fluxcap.schemas.errors import FluxcapError
from fluxcap.schemas.types import StreamKey, StreamStatus


class PanelSession:
    """See the module. Everything but the properties blocks for a moment and raises FluxcapError.

    own_curve: keys with which this process itself is let in, if the engine requires keys.
    """

    def __init__(self, settings: DevSettings) -> None:
        keys = server_keys(Path(settings.curve)) if settings.curve else None
        self._curve, self.own_curve = with_own_client(keys)
        self._engine = DevEngine(settings, self._curve).start()
        self._feed = LiveFeed(*self._engine.endpoints, self.own_curve).start()

    @property
    def engine(self) -> DevEngine:
        return self._engine

    @property
    def feed(self) -> LiveFeed:
        """A client of the wire, as any other."""
        return self._feed

    @property
    def current(self) -> DevEngine:
        """Stands for whichever engine is in use, for who keeps it."""
        return cast(DevEngine, _EngineProxy(self))

    def rebind(self, pub: str, rep: str) -> None:
        """Serve the same store on other endpoints. Where they cannot be had, serve on as before."""
        before = msgspec.structs.replace(
            self._engine.settings,
            pub=self._engine.endpoints[0],
            rep=self._engine.endpoints[1],
            broadcasting=self._engine.broadcasting,
        )
        faults = self._engine.faults
        self._engine.close()
        try:
            self._engine = DevEngine(msgspec.structs.replace(before, pub=pub, rep=rep), self._curve).start()
        except FluxcapError:
            self._engine = DevEngine(before, self._curve).start()
            raise
        finally:
            self._engine.set_faults(faults)
            self._feed.reconnect(*self._engine.endpoints)

    def set_fault(self, name: str, value: float | bool) -> Faults:
        """One fault, beside those in force."""
        kind = type(getattr(Faults(), name))
        return self._engine.set_faults(msgspec.structs.replace(self._engine.faults, **{name: kind(value)}))

    def listings(self) -> list[Listing]:
        return self._engine.universe()

    def poll(self) -> tuple[list[StreamStatus], dict[str, int]]:
        """The streams, and the counters of the panel."""
        streams = self._engine.streams()
        return streams, panel_counters(self._engine.counters(), sum(stream.latest_sequence for stream in streams))

    def close(self) -> None:
        with contextlib.suppress(FluxcapError):
            self._feed.close()
        self._engine.close()


class _EngineProxy:
    def __init__(self, session: PanelSession) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session.engine, name)


def panel_counters(counters: Mapping[str, int], stored: int) -> dict[str, int]:
    """The four of the panel: batches published, candles stored, messages dropped by a fault, requests served."""
    sent = sum(count for name, count in counters.items() if name.startswith("sent_"))
    dropped = sum(count for name, count in counters.items() if name.startswith("dropped_"))
    return {"published": sent - dropped, "stored": stored, "dropped": dropped, "served": counters.get("answers", 0)}


def key_of(settings: DevSettings, symbol: str) -> StreamKey:
    """The stream of a symbol under the settings."""
    return StreamKey(settings.source, symbol, settings.interval)
