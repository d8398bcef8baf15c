"""Begins a recording: the file, its header, and the recorder that the pipeline tells."""

from __future__ import annotations

import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from capture.chrome.events import Stamp
from capture.focus import Focus
from capture.market import MarketTimes
from capture.platforms.base import Platform
from capture.recorder import Recorder
from capture.recording import Header
from capture.recording_file import RecordingWriter
from capture.settings import Settings


def begin_recording(
    path: Path,
    settings: Settings,
    platform: Platform,
    focus: Focus,
    published: Mapping[str, int] | None = None,
    *,
    force: bool = False,
) -> tuple[Recorder, RecordingWriter]:
    """Make the file. ``published``: newest candle of each asset in the store, UTC ms.

    Raises ConfigError, FluxcapError.
    """
    header = Header(
        fluxcap=version("fluxcap"),
        platform=platform.name,
        source=settings.source,
        interval=settings.interval,
        focus=focus,
        times=market_times(settings),
        began_ms=time.time_ns() // 1_000_000,
        published=dict(published or {}),
    )
    writer = RecordingWriter(path, header, force=force)
    return Recorder(platform, writer), writer


def market_times(settings: Settings) -> MarketTimes:
    """The waits of the candle rules as they are set."""
    return MarketTimes(settings.grace_ms, settings.doubt_ms, settings.history_wait_ms)


def stamp_now() -> Stamp:
    return Stamp(time.time_ns(), time.monotonic_ns())
