"""``fluxcap replay``: a recording becomes candles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fluxcap.capture.cli.options import ConfigOption, Debug, Json
from fluxcap.capture.runtime.output import say, say_json

if TYPE_CHECKING:
    from fluxcap.capture.market.focus import Focus
    from fluxcap.capture.tools.replay.replay import ReplaySummary
if TYPE_CHECKING:
    from fluxcap.capture.tools.record import RecordingProgress


def replay(
    file: Annotated[
        Path, typer.Argument(help="A recording, or frames of another program: JSON, HAR.", show_default=False)
    ],
    speed: Annotated[str, typer.Option(help="Times the recorded pace, or max.")] = "max",
    data_dir: Annotated[Path | None, typer.Option(help="Folder for the candles. [default: a temporary one]")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the candles to this .csv or .parquet.")] = None,
    focus: Annotated[
        str | None, typer.Option(help="Other assets than recorded, comma-separated; all or follow.")
    ] = None,
    interval: Annotated[str | None, typer.Option(help="Another candle length than recorded.")] = None,
    timeframes: Annotated[
        str | None, typer.Option(help="Longer intervals to make, too, comma-separated. [default: none]")
    ] = None,
    platform: Annotated[
        str | None, typer.Option(help="Another platform than recorded; of captured frames, theirs.")
    ] = None,
    platform_url: Annotated[
        list[str] | None, typer.Option(help="A further page or socket host of the platform; * allowed; repeatable.")
    ] = None,
    publish: Annotated[bool, typer.Option("--publish/--no-publish", help="Serve clients while recording.")] = False,
    pub: Annotated[str | None, typer.Option(help="PUB endpoint. [default: tcp://127.0.0.1:5556]")] = None,
    rep: Annotated[str | None, typer.Option(help="Request endpoint. [default: tcp://127.0.0.1:5557]")] = None,
    force: Annotated[bool, typer.Option("--force", help="Set an existing store in the data folder aside.")] = False,
    config: ConfigOption = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make candles of a recording, by the same way as the daemon does, into a store of their own.

    The digest at the end is equal for equal candles, sequences, flags, revisions and gaps: two replays of a recording
    have the same, at any speed. Frames that a collector stored as JSON carry no times of arrival; those are
    reconstructed from the ticks. Chrome's HAR export has them.
    """

    from fluxcap.bridge.export.export import ExportKind
    from fluxcap.capture.cli.options import as_total_progress, progress_bar
    from fluxcap.capture.platforms.registry import platform_named
    from fluxcap.capture.runtime.settings import load_settings
    from fluxcap.capture.tools.export import ExportLocation, ExportRequest
    from fluxcap.capture.tools.export import export as write
    from fluxcap.capture.tools.replay.replay import ReplayOptions
    from fluxcap.capture.tools.replay.replay import replay as play

    settings = load_settings(config, platform=platform, platform_url=platform_url, pub=pub, rep=rep)
    order = ReplayOptions(
        path=file,
        data_dir=data_dir,
        force=force,
        speed=_speed(speed),
        focus=_focus(focus),
        interval=interval,
        timeframes=tuple(part.strip() for part in (timeframes or "").split(",") if part.strip()),
        platform=platform or "",
        publish=publish,
        pub=settings.pub,
        rep=settings.rep,
    )

    def finish(folder: Path) -> None:
        if out is not None:
            write(ExportRequest(ExportKind.CANDLES, out), ExportLocation(folder))

    with progress_bar(f"Replaying {file.name}") as begin:
        summary = play(
            order,
            lambda name: platform_named(name or settings.platform, settings.platform_url, settings.platforms),
            finish,
            as_total_progress(begin),
        )
    if as_json:
        say_json(summary)
    else:
        say(_told(summary, out))
    if summary.error and not as_json:
        say(f"fluxcap: {summary.error}", err=True)


def _speed(text: str) -> float | None:
    from fluxcap.schemas.errors import ConfigError

    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < 1e9:
        raise ConfigError(f"{text!r} is no speed; write a number above 0, such as 10, or max.")
    return speed


def _focus(text: str | None) -> Focus | None:
    if text is None:
        return None
    from fluxcap.capture.market.focus import Focus, FocusMode

    if text in (FocusMode.ALL, FocusMode.FOLLOW):
        return Focus(FocusMode(text))
    return Focus(FocusMode.LOCK, tuple(part.strip() for part in text.split(",") if part.strip()))


def _told(summary: ReplaySummary, out: Path | None) -> str:
    from fluxcap.capture.recording.records import RULES

    played = summary.played
    lasted_s = max(0, played.last_ms - played.first_ms) / 1_000
    lines = [
        f"Replayed {played.frames:,} frames, {summary.ticks:,} ticks over {_length(lasted_s)} in "
        f"{summary.elapsed_s:.1f} s."
    ]
    if summary.arrivals != "measured":
        lines.append("Times of arrival are reconstructed from the ticks.")
    if summary.rules < RULES:
        lines.append(
            f"It was recorded under older rules ({summary.rules}, now {RULES}): candles, revisions and gaps may differ "
            "from those of then."
        )
    lines.append(summary.clock)
    lines += [f"  {s.key}: {s.candles:,} candles, {s.revisions:,} revisions, {s.digest}" for s in summary.streams]
    lines.append(f"{summary.candles:,} candles, {summary.revisions:,} revisions, {summary.gaps:,} gaps.")
    lines += [f"Candles are in {place}." for place in (summary.data_dir, str(out or "")) if place]
    return "\n".join([*lines, f"Digest {summary.digest}"])


def _length(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"


def record(
    file: Annotated[Path, typer.Argument(help="File to write.", show_default=False)],
    chrome: Annotated[
        str | None, typer.Option(help="Where Chrome's DevTools listen, HOST:PORT. [default: 127.0.0.1:9222]")
    ] = None,
    platform: Annotated[str | None, typer.Option(help="Trading platform. [default: pocketoption]")] = None,
    platform_url: Annotated[
        list[str] | None, typer.Option(help="A further page or socket host of the platform; * allowed; repeatable.")
    ] = None,
    focus: Annotated[
        str | None, typer.Option(help="Assets a replay is to focus, comma-separated. [default: all]")
    ] = None,
    interval: Annotated[str | None, typer.Option(help="Candle length of a replay. [default: 1m]")] = None,
    source: Annotated[str | None, typer.Option(help="Source name in a replay. [default: POCKETOPTION]")] = None,
    seconds: Annotated[float | None, typer.Option(help="Stop after this long. [default: until Ctrl-C]")] = None,
    frames: Annotated[
        Path | None, typer.Option("--from", help="Take the frames of this file, JSON or HAR, in place of Chrome's.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    config: ConfigOption = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Record the platform's market frames until Ctrl-C, beside a running daemon or without one.

    Only market data is kept. Of everything else (sessions, balances, deals, chat, events that fluxcap does not know)
    the file holds nothing but that the socket spoke. `fluxcap replay` makes candles of it.

    With --from the frames are those of a file: a collector's JSON, or what Chrome's network panel exports as HAR. What
    comes of it can be sent to others; the file itself holds sessions and cookies.
    """
    import logging

    from fluxcap.bridge.system.signals import catch_stop_signals, exit_code
    from fluxcap.capture.cli.record import recording_line
    from fluxcap.capture.runtime import log
    from fluxcap.capture.runtime.settings import load_settings
    from fluxcap.capture.tools.record import import_frames
    from fluxcap.capture.tools.record import record as run

    settings = load_settings(
        config,
        chrome=chrome,
        platform=platform,
        platform_url=platform_url,
        focus=focus or "",
        interval=interval,
        source=source,
    )
    log.set_up(as_json=False, level=logging.DEBUG if debug else logging.WARNING)
    if frames is not None:
        made = import_frames(frames, file, settings, force=force)
        said = f"Took {made.frames:,} frames of {made.sockets} sockets from {frames} to {file}"
        if as_json:
            say_json(made)
        else:
            say(f"{said}; {made.withheld:,} without content.")
        return
    with catch_stop_signals() as asked, recording_line(file) as on_progress:
        result = run(
            file, settings, force=force, stop=lambda: bool(asked), on_progress=on_progress, seconds=seconds or None
        )
    if as_json:
        say_json(result)
    else:
        say(
            f"Recorded {result.frames:,} frames of {result.sockets} sockets with {result.ticks:,} ticks in "
            f"{result.seconds:,.0f} s to {file} ({result.size_bytes / 1e3:,.0f} kB)."
        )
    raise typer.Exit(exit_code(asked))


@contextmanager
def recording_line(file: Path) -> Iterator[Callable[[RecordingProgress], None]]:
    """Gives a function to call at each step."""
    from rich.status import Status

    from fluxcap.bridge.terminal.console import SafeConsole, plain

    console = SafeConsole(stderr=True)
    if not console.is_terminal:
        yield lambda so_far: None
        return
    with Status(f"Recording to {plain(str(file))}; Ctrl-C to stop", console=console) as status:
        yield lambda so_far: status.update(plain(line(file, so_far)))


def line(file: Path, so_far: RecordingProgress) -> str:
    """One line: state of Chrome, counts, size."""
    if so_far.chrome != "attached":
        return f"Waiting for Chrome ({so_far.chrome}); Ctrl-C to stop"
    return (
        f"Recording to {file}: {so_far.seconds:,.0f} s, {so_far.sockets} sockets, {so_far.frames:,} frames, "
        f"{so_far.ticks:,} ticks, {so_far.size_bytes / 1e3:,.0f} kB; Ctrl-C to stop"
    )
