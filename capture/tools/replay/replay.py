"""The work of ``fluxcap replay``: plays a recording into a new store, and sums up."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from fluxcap.bridge.http.run_file import read_run_file
from fluxcap.bridge.server.server import WireServer
from fluxcap.bridge.server.timeframes import Timeframes, check_timeframes
from fluxcap.bridge.store.digest import StreamDigest, store_digest
from fluxcap.bridge.store.file import quarantine
from fluxcap.bridge.system.folders import STORE_FILE
from fluxcap.bridge.transport.addresses import DEFAULT_PUB, DEFAULT_REP
from fluxcap.capture.market.focus import Focus
from fluxcap.capture.platforms.base import Platform
from fluxcap.capture.platforms.registry import GENERIC, platform_named
from fluxcap.capture.recording.file import RecordingReader
from fluxcap.capture.recording.json_import import JsonFrameFile, is_json_frame_file
from fluxcap.capture.recording.records import Arrivals, Header, Record
from fluxcap.capture.tools.replay.playback import PlaybackStats
from fluxcap.capture.tools.replay.replayer import Replayer
from fluxcap.schemas.errors import AlreadyRunning, ConfigError
from fluxcap.schemas.types import interval_ms

PlatformOf = Callable[[str], Platform]
"""Makes the platform of a name; "" for the usual one. Raises ConfigError."""


class ReplayOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of a replay. None: as recorded."""

    path: Path
    data_dir: Path | None = None
    """None: a folder that is gone afterwards."""
    force: bool = False
    speed: float | None = None
    """Times the recorded pace; None as fast as it goes."""
    focus: Focus | None = None
    interval: str | None = None
    timeframes: tuple[str, ...] = ()
    """Longer intervals whose candles are made, too, and stand in the digest."""
    platform: str = ""
    """"" for the one that was recorded."""
    publish: bool = False
    pub: str = DEFAULT_PUB
    rep: str = DEFAULT_REP


class ReplaySummary(msgspec.Struct, frozen=True):
    """Result of a replay. ``digest``: equal for equal candles, sequences, flags, revisions and gaps.

    ``rules``: of the fluxcap that wrote the recording; where they are older than this one's, candles may be others.

    ``clock``: what is known of the platform's clock. ``counters``: what could not be understood or came late, by kind.
    """

    recording: str
    platform: str
    arrivals: Arrivals
    rules: int
    played: PlaybackStats
    ticks: int
    candles: int
    revisions: int
    gaps: int
    streams: tuple[StreamDigest, ...]
    clock: str
    counters: dict[str, int]
    elapsed_s: float
    data_dir: str
    digest: str
    error: str = msgspec.field(default="", name="trouble")


class RecordSource(Protocol):
    """A recording, or what is read as one."""

    header: Header
    error: str
    read_bytes: int
    size_bytes: int

    def blocks(self) -> Iterator[Sequence[Record]]: ...

    def close(self) -> None: ...


def replay(
    order: ReplayOptions,
    platform_of: PlatformOf,
    finish: Callable[[Path], None] = lambda data_dir: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ReplaySummary:
    """Play a recording into a new store.

    ``finish`` gets the data folder when all is stored and closed, before a folder that is not to stay goes.
    ``progress`` is called with bytes read and bytes in all.

    Raises ConfigError, AlreadyRunning, StoreError, UnknownAsset.
    """
    if order.interval:
        interval_ms(order.interval)
    if order.speed is not None and not order.speed > 0:
        raise ConfigError("The speed is a number above 0, or max.")
    source = open_frames(order.path, platform_of)
    try:
        is_import = isinstance(source, JsonFrameFile)
        platform = platform_of(order.platform) if is_import else _platform(source.header, order, platform_of)
        with _folder(order) as folder:
            summary = _replay_into(folder, order, source, platform, progress)
            finish(folder)
        return summary
    finally:
        source.close()


def _platform(header: Header, order: ReplayOptions, platform_of: PlatformOf) -> Platform:
    """The platform as it was recorded, unless another one is named. Raises ConfigError."""
    if order.platform:
        return platform_of(order.platform)
    if header.table is not msgspec.UNSET:
        return platform_named(header.platform, (), {header.platform: header.table})
    if header.platform == GENERIC:
        raise ConfigError(
            f"{order.path} was recorded before recordings kept how the settings describe a platform: name it with "
            "--platform, with its table in the settings file."
        )
    return platform_of(header.platform)


def open_frames(path: Path, platform_of: PlatformOf) -> RecordSource:
    """Open a recording, or a file of another program's frames. Raises ConfigError."""
    if is_json_frame_file(path):
        return JsonFrameFile(path, platform_of(""))
    return RecordingReader(path)


def _replay_into(
    folder: Path, order: ReplayOptions, source: RecordSource, platform: Platform, progress: Callable[[int, int], None]
) -> ReplaySummary:
    begun_s = time.monotonic()
    # Where nobody is to listen no port is taken; the commit path is the same.
    pub, rep = (order.pub, order.rep) if order.publish else ("inproc://replay-pub", "inproc://replay-rep")
    interval = order.interval or source.header.interval
    check_timeframes(interval, order.timeframes)
    timeframes = Timeframes(source.header.source, interval, order.timeframes)
    with WireServer(folder / STORE_FILE, pub, rep, timeframes=timeframes) as server:
        stage = Replayer(source.header, platform, server, interval=order.interval, focus=order.focus)

        def on_progress() -> None:
            progress(source.read_bytes, source.size_bytes)

        if order.speed is None:
            stage.play_all(source.blocks(), on_progress)
        else:
            stage.play_paced(source.blocks(), order.speed, on_progress)
        found = store_digest(server.store.reader())
        view = stage.market.view(stage.at())
        return ReplaySummary(
            recording=str(order.path),
            platform=order.platform or source.header.platform or platform.name,
            arrivals=source.header.arrivals,
            rules=source.header.rules or 1,
            played=stage.playback.played,
            ticks=stage.market.feeds.tick_count,
            candles=sum(stream.candles for stream in found.streams),
            revisions=sum(stream.revisions for stream in found.streams),
            gaps=found.gaps,
            streams=found.streams,
            clock=view.clock_reason,
            counters={name: count for name, count in sorted(view.counters.items()) if count},
            elapsed_s=time.monotonic() - begun_s,
            data_dir=str(folder) if order.data_dir else "",
            digest=found.digest,
            error=source.error,
        )


@contextmanager
def _folder(order: ReplayOptions) -> Iterator[Path]:
    """An empty place for the store."""
    if order.data_dir is None:
        with tempfile.TemporaryDirectory(prefix="fluxcap-replay-") as name:
            yield Path(name)
        return
    folder = order.data_dir
    run = read_run_file(folder)
    if run is not None and not run.is_stale():
        raise AlreadyRunning(f"Process {run.pid} runs on {folder}; replay into another folder.")
    store = folder / STORE_FILE
    if store.exists():
        if not order.force:
            raise ConfigError(
                f"{folder} already has a store, and a replay needs an empty folder: choose another --data-dir, or "
                "set that store aside with --force."
            )
        quarantine(store, label="before-replay")
    yield folder
