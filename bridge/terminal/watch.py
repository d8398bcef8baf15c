"""Watches a daemon: its REST API for what it knows, the wire for what it sends. Ends with q, Ctrl-C or ``stop``."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.live import Live

from fluxcap.bridge.client.fetch import list_streams
from fluxcap.bridge.client.health import Health, HealthState
from fluxcap.bridge.client.latest import LatestCandles
from fluxcap.bridge.client.live import LiveClient
from fluxcap.bridge.client.options import Via
from fluxcap.bridge.client.stats import RateWindow, StreamStats
from fluxcap.bridge.http.daemon_client import DaemonClient
from fluxcap.bridge.system.terminal import keys
from fluxcap.bridge.terminal.console import SafeConsole
from fluxcap.bridge.terminal.watch_view import StreamRow, render
from fluxcap.bridge.transport.curve import ClientCurve
from fluxcap.schemas.errors import FluxcapError
from fluxcap.schemas.types import StreamKey, StreamStatus

POLL_S = 0.5
JETSTREAM_POLL_S = 2.0
CONTEXT_CANDLES = 2
END_KEYS = ("q", "Q", "\x1b", "\x03")


class WatchModel:
    """The current state. ``look`` polls the daemon; the live client's thread adds candles.

    via: JetStream in place of a daemon: its streams, and no facts of a daemon's.
    """

    def __init__(
        self, pub: str, rep: str, control: str, curve: ClientCurve | None = None, via: Via | None = None
    ) -> None:
        self._rep = rep
        self._curve = curve
        self.via = via
        self._api = DaemonClient(control, timeout_s=2.0)
        self._latest = LatestCandles()
        self._client = LiveClient(
            pub, rep, start_from=-CONTEXT_CANDLES, on_event=self._latest.on_event, curve=curve, via=via
        )
        self._trends: dict[StreamKey, RateWindow] = {}
        self._facts: dict[StreamKey, StreamStats] = {}
        self._ticks: dict[str, int] = {}
        self.status: Mapping[str, Any] | None = None
        self.error = ""

    def start(self) -> None:
        self._client.start()

    def close(self) -> None:
        self._client.close()
        self._api.close()

    def poll(self) -> None:
        """Ask the daemon, or JetStream; a moment's work, or up to some seconds when it does not answer."""
        unavailable = "" if self.via is not None else self._poll_daemon()
        try:
            streams = list_streams(self._rep, timeout=1.0, curve=self._curve, via=self.via)
        except FluxcapError as error:
            self.error = unavailable or str(error)
            return
        self.error = unavailable
        for stream in streams:
            self._learn(stream)

    def _poll_daemon(self) -> str:
        """Poll the daemon; return why it does not answer, or ""."""
        try:
            self.status = self._api.status()
        except FluxcapError as error:
            self.status = None
            return str(error)
        self._ticks = {asset["symbol"]: asset["ticks"] for asset in self.status["assets"]}
        return ""

    @property
    def is_jetstream(self) -> str:
        """The NATS servers watched in place of a daemon, while they answer; else ""."""
        return f"NATS JetStream at {self.via.servers}" if self.via is not None and not self.error else ""

    def _learn(self, stream: StreamStatus) -> None:
        key = stream.key
        if key not in self._trends:
            self._trends[key] = RateWindow()
            self._client.subscribe(key)
        age_ms = stream.server_time_ms - stream.last_tick_ts_ms if stream.last_tick_ts_ms else None
        ticks = self._ticks.get(key.symbol)
        rate, lag_ms = self._trends[key].sample(time.monotonic_ns() // 1_000_000, ticks or 0, age_ms)
        self._facts[key] = StreamStats(
            stream.latest_sequence,
            stream.latest_ts_ms,
            stream.platform_offset_ms,
            lag_ms,
            rate if ticks is not None else None,
        )

    def lines(self) -> list[StreamRow]:
        """The streams, those that tick first."""
        found = []
        for key, facts in list(self._facts.items()):
            latest = self._latest[key]
            health = self._health(key)
            source = f"{key.source_id} " if self.via is not None else ""
            name = f"{source}{key.symbol} {key.interval}"
            first_ms = latest.first_whole_ms(key.interval_ms)
            found.append(StreamRow(name, health, latest.sequence, facts, latest.candle, latest.forming, first_ms))
        return sorted(found, key=lambda line: (line.health.state is not HealthState.RECEIVING, line.name))

    @property
    def counters(self) -> dict[str, int]:
        """The daemon's, and what this client met."""
        own = {name: n for name, n in self._client.counters.items() if name in ("duplicates", "garbled", "gaps")}
        daemon = dict(self.status["counters"]) if self.status else {}
        return {**{name: n for name, n in daemon.items() if "." not in name}, **own}

    def _health(self, key: StreamKey) -> Health:
        try:
            return self._client.health(key)
        except FluxcapError:
            return Health(HealthState.CONNECTING)


def watch(
    pub: str,
    rep: str,
    control: str,
    *,
    curve: ClientCurve | None = None,
    via: Via | None = None,
    console: Console | None = None,
    stop: threading.Event | None = None,
    seconds: float | None = None,
) -> None:
    """Show the screen until q, Ctrl-C (KeyboardInterrupt leaves it), ``stop`` or so many ``seconds``."""
    console = console or SafeConsole()
    watching = WatchModel(pub, rep, control, curve, via)
    watching.start()
    ending = threading.Event()
    looker = threading.Thread(target=_poll, args=(watching, ending), name="fluxcap-watch", daemon=True)
    looker.start()
    end_s = time.monotonic() + seconds if seconds is not None else None
    try:
        with keys() as key, Live(console=console, screen=console.is_terminal, auto_refresh=False) as live:
            while not (stop is not None and stop.is_set()) and (end_s is None or time.monotonic() < end_s):
                live.update(_screen(watching, console), refresh=True)
                if key(0.25) in END_KEYS:
                    return
    finally:
        ending.set()
        looker.join(timeout=5)
        watching.close()


def _screen(watching: WatchModel, console: Console) -> Any:
    width = console.size.width
    return render(
        watching.status, watching.error, watching.lines(), watching.counters, width, jetstream=watching.is_jetstream
    )


def _poll(watching: WatchModel, ending: threading.Event) -> None:
    while not ending.is_set():
        watching.poll()
        ending.wait(POLL_S if watching.via is None else JETSTREAM_POLL_S)
