"""Settings of a dev server, filled by the command line and by the control API."""

from __future__ import annotations

from pathlib import Path

import msgspec

from fluxcap.bridge.transport.addresses import DEFAULT_PUB, DEFAULT_REP
from fluxcap.schemas.errors import ConfigError
from fluxcap.schemas.types import StreamKey, interval_ms

MAX_BATCH = 10_000


class DevSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a dev server; ``validate`` says what is wrong with them.

    source, interval, symbols: the streams, one per symbol. tick_ms: how often each stream gets a batch. batch_size:
    candles in a batch. history: candles each new stream begins with. seed: the same one makes the same candles and the
    same faults. start_ts_ms: start of the first candle (0: so that history ends now). replay: CSV of candles to replay
    in place of generated ones. forming: also send the candle under way. revise_every: correct every so many batches an
    older candle (0: never). heartbeat_ms: how often every stream's status goes out. data_dir: where the store is.
    pub, rep: endpoints to bind. curve: keys for both, as ``fluxcap.bridge.transport.curve.server_keys`` takes them ("":
    none). api_port: of the control API on loopback; 0 picks a free one.
    """

    source: str = "SIM"
    interval: str = "1s"
    symbols: tuple[str, ...] = ("EURUSD_otc",)
    tick_ms: int = 1_000
    batch_size: int = 1
    history: int = 0
    seed: int = 1
    start_ts_ms: int = 0
    replay: str = ""
    forming: bool = True
    revise_every: int = 0
    heartbeat_ms: int = 1_000
    data_dir: str = "data/devserver"
    pub: str = DEFAULT_PUB
    rep: str = DEFAULT_REP
    curve: str = ""
    api_port: int = 5558
    broadcasting: bool = True
    """Whether it sends from the start on."""

    def validate(self) -> DevSettings:
        """Itself. Raises ConfigError."""
        interval_ms(self.interval)
        if not self.source or "." in self.source:
            raise ConfigError(f"{self.source!r} is no source name: not empty, and without a dot.")
        if not self.symbols or not all(self.symbols) or len(set(self.symbols)) != len(self.symbols):
            raise ConfigError("Name at least one symbol, and each once.")
        for name, least, most in (
            ("tick_ms", 1, 3_600_000),
            ("batch_size", 1, MAX_BATCH),
            ("history", 0, 1_000_000),
            ("revise_every", 0, 1_000_000),
            ("heartbeat_ms", 10, 60_000),
            ("start_ts_ms", 0, 4_000_000_000_000),
            ("api_port", 0, 65_535),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise ConfigError(f"{name} must be from {least} to {most}, not {value}.")
        return self

    @property
    def keys(self) -> tuple[StreamKey, ...]:
        return tuple(StreamKey(self.source, symbol, self.interval) for symbol in self.symbols)

    @property
    def store_path(self) -> Path:
        return Path(self.data_dir) / "devserver.duckdb"
