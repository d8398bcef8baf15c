"""The work of ``fluxcap record``: attaches to Chrome itself and records, with or without a daemon.

A pipeline of its own, as the daemon's, with a market that is only looked at and an outlet that keeps nothing.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
from apscheduler.schedulers.background import BackgroundScheduler

from fluxcap.bridge.server.server import CandlesByStream, FeedInfo
from fluxcap.bridge.store.agreement import ComparedCandle
from fluxcap.capture.market.focus import Focus, FocusMode
from fluxcap.capture.market.market import Market
from fluxcap.capture.pipeline.consent import ConsentKeeper
from fluxcap.capture.pipeline.pipeline import Pipeline
from fluxcap.capture.pipeline.reconnect import ChromeReconnector, Find, browser_locator, consent_keeper
from fluxcap.capture.platforms.base import PlatformHints
from fluxcap.capture.platforms.registry import check_source, platform_named
from fluxcap.capture.recording import records
from fluxcap.capture.recording.file import RecordingWriter
from fluxcap.capture.recording.json_import import JsonFrameFile
from fluxcap.capture.recording.recorder import described_table, market_times, open_recorder
from fluxcap.capture.recording.records import Record
from fluxcap.capture.runtime.settings import Settings
from fluxcap.schemas.errors import FluxcapError, NotAnswering
from fluxcap.schemas.types import (
    Candle,
    CandleBatch,
    CandleRevision,
    Gap,
    StreamKey,
    StreamStatus,
    Watermark,
    interval_ms,
)

POLL_S = 0.25


class RecordingProgress(msgspec.Struct, frozen=True):
    """Progress of a recording. ``withheld``: frames recorded without their content."""

    chrome: str
    seconds: float
    sockets: int
    frames: int
    withheld: int
    ticks: int
    size_bytes: int


class NullOutput:
    """An outlet that keeps and sends nothing."""

    def watermark(self, key: StreamKey) -> Watermark:
        return Watermark()

    def status(self) -> Mapping[StreamKey, StreamStatus]:
        return {}

    def publish(
        self,
        sealed: CandlesByStream,
        completed: Mapping[StreamKey, Sequence[Candle]] = {},
        gaps: Sequence[Gap] = (),
        over: Mapping[StreamKey, int] = {},
    ) -> list[CandleBatch]:
        return []

    def take_derived(self) -> list[CandleBatch | CandleRevision]:
        return []

    def forget_progress(self) -> None: ...

    def revise(self, better: CandlesByStream) -> list[CandleRevision]:
        return []

    def record_gaps(self, gaps: Sequence[Gap]) -> None: ...

    def not_compared(self, key: StreamKey, ts_ms: Sequence[int]) -> dict[int, tuple[int, Candle]]:
        return {}

    def record_agreement(self, key: StreamKey, compared: Sequence[ComparedCandle]) -> None: ...

    def ensure_stream(self, key: StreamKey) -> None: ...

    def forget_stream(self, key: StreamKey) -> None: ...

    is_forming_heard = False

    def forming(self, key: StreamKey, candle: Candle, now_mono_ns: int) -> bool:
        return False

    def heartbeat(self, now_ms: int, feed_of: Callable[[StreamKey], FeedInfo] | None = None) -> None: ...


def record(
    path: Path,
    settings: Settings,
    *,
    force: bool,
    stop: Callable[[], bool],
    on_progress: Callable[[RecordingProgress], None],
    seconds: float | None = None,
) -> RecordingProgress:
    """Record until ``stop`` says so, or for so many ``seconds``. ``on_progress`` is called a few times a second.

    Raises ConfigError, FluxcapError when the disk takes no more.
    """
    platform = platform_named(settings.platform, settings.platform_url, settings.platforms)
    check_source(settings.platform, settings.source, settings.platforms)
    focus = Focus(FocusMode.LOCK, settings.focus) if settings.focus else Focus(FocusMode.ALL)
    find, consent = browser_locator(settings), consent_keeper(settings)
    recorder, writer = open_recorder(path, settings, platform, focus, force=force)
    market = Market(platform, interval_ms(settings.interval), focus, times=market_times(settings))
    pipeline = Pipeline(
        market,
        NullOutput(),
        lambda symbol: StreamKey(settings.source, symbol, settings.interval),
        platform.is_page,
        recorder=recorder,
        hints=PlatformHints(platform),
    )
    begun_s = time.monotonic()

    def so_far() -> RecordingProgress:
        counts = recorder.counts
        ticks = market.feeds.tick_count
        chrome, seconds = pipeline.chrome.value, time.monotonic() - begun_s
        return RecordingProgress(
            chrome, seconds, counts.sockets, counts.frames, counts.withheld, ticks, writer.size_bytes
        )

    def ended() -> bool:
        with contextlib.suppress(NotAnswering):  # busy; known a moment later
            on_progress(pipeline.call(so_far))
        is_over = seconds is not None and time.monotonic() - begun_s > seconds
        return is_over or stop() or not pipeline.alive or bool(recorder.error)

    with writer:
        _run_until(ended, pipeline, find, consent)
        if recorder.error:
            raise FluxcapError(recorder.error)
        if pipeline.failure is not None:
            raise FluxcapError(f"The recording stopped because of an internal error: {pipeline.failure!r}.")
        writer.close()
        return so_far()


def import_frames(frames: Path, path: Path, settings: Settings, *, force: bool) -> RecordingProgress:
    """Make a recording of the frames that another program stored, redacted as one of its own.

    Raises ConfigError for a file that holds none, FluxcapError when the disk takes no more.
    """
    platform = platform_named(settings.platform, settings.platform_url, settings.platforms)
    check_source(settings.platform, settings.source, settings.platforms)
    source = JsonFrameFile(frames, platform)
    table = described_table(settings, platform)
    header = msgspec.structs.replace(
        source.header,
        platform=settings.platform if table is not None else platform.name,
        table=msgspec.UNSET if table is None else table,
        source=settings.source,
        interval=settings.interval,
        times=market_times(settings),
    )
    counts: Counter[type[Record]] = Counter()
    with RecordingWriter(path, header, force=force) as writer:
        for block in source.blocks():
            for record in block:
                counts[type(record)] += 1
                writer.add(record)
        writer.close()
        withheld = counts[records.RedactedFrame]
        kept = sum(
            counts[kind] for kind in (records.TextFrame, records.BinaryFrame, records.RawFrame, records.SentFrame)
        )
        return RecordingProgress("", 0.0, counts[records.SocketOpened], kept + withheld, withheld, 0, writer.size_bytes)


def _run_until(ended: Callable[[], bool], pipeline: Pipeline, find: Find, consent: ConsentKeeper | None) -> None:
    scheduler = BackgroundScheduler(timezone="UTC", job_defaults={"misfire_grace_time": None, "coalesce": True})
    reconnector = ChromeReconnector(pipeline, scheduler, find, consent)
    pipeline.start()
    scheduler.start()
    reconnector.start()
    try:
        while not ended():
            time.sleep(POLL_S)
    finally:
        scheduler.shutdown(wait=False)
        reconnector.stop()
        pipeline.stop()
