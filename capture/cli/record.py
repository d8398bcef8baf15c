"""``fluxcap replay``: a recording becomes candles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capture.commands.options import ConfigOption, Debug, Json

if TYPE_CHECKING:
    from capture.focus import Focus
    from capture.replaying import Summary


def replay(
    file: Annotated[
        Path, typer.Argument(help="A recording, or captured frames as JSON to import.", show_default=False)
    ],
    speed: Annotated[str, typer.Option(help="Times the recorded pace, or max.")] = "max",
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder for the candles. [default: one that is gone afterwards]")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the candles to this .csv or .parquet.")] = None,
    focus: Annotated[
        str | None, typer.Option(help="Other assets than recorded, comma-separated; all or follow.")
    ] = None,
    interval: Annotated[str | None, typer.Option(help="Another candle length than recorded.")] = None,
    platform_url: Annotated[
        list[str] | None, typer.Option(help="A further page or socket host of the platform; * allowed; repeatable.")
    ] = None,
    publish: Annotated[bool, typer.Option("--publish/--no-publish", help="Serve clients meanwhile.")] = False,
    pub: Annotated[str | None, typer.Option(help="PUB endpoint. [default: tcp://127.0.0.1:5556]")] = None,
    rep: Annotated[str | None, typer.Option(help="Request endpoint. [default: tcp://127.0.0.1:5557]")] = None,
    force: Annotated[bool, typer.Option("--force", help="Put a store that is in the data folder aside.")] = False,
    config: ConfigOption = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make candles of a recording, by the same way as the daemon does, into a store of their own.

    The digest at the end is equal for equal candles, sequences, flags, revisions and gaps: two replays of a recording
    have the same, at any speed. Captured frames carry no times of arrival; those are reconstructed from the ticks.
    """
    import msgspec

    from bridge.exporting import What
    from capture.commands.progress import progress_bar, so_far
    from capture.exporting import Wanted, Where
    from capture.exporting import export as write
    from capture.platforms.registry import platform_named
    from capture.replaying import Replay
    from capture.replaying import replay as play
    from capture.settings import load_settings

    settings = load_settings(config, platform_url=platform_url, pub=pub, rep=rep)
    order = Replay(
        path=file,
        data_dir=data_dir,
        force=force,
        speed=_speed(speed),
        focus=_focus(focus),
        interval=interval,
        publish=publish,
        pub=settings.pub,
        rep=settings.rep,
    )

    def finish(folder: Path) -> None:
        if out is not None:
            write(Wanted(What.CANDLES, out), Where(folder))

    with progress_bar(f"Replaying {file.name}") as begin:
        summary = play(
            order,
            lambda name: platform_named(name or settings.platform, settings.platform_url, settings.platforms),
            finish,
            so_far(begin),
        )
    typer.echo(msgspec.json.encode(summary).decode() if as_json else _told(summary, out))
    if summary.trouble and not as_json:
        typer.echo(f"fluxcap: {summary.trouble}", err=True)


def _speed(text: str) -> float | None:
    from schemas.errors import ConfigError

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
    from capture.focus import Focus, FocusMode

    if text in (FocusMode.ALL, FocusMode.FOLLOW):
        return Focus(FocusMode(text))
    return Focus(FocusMode.LOCK, tuple(part.strip() for part in text.split(",") if part.strip()))


def _told(summary: Summary, out: Path | None) -> str:
    played = summary.played
    lasted_s = max(0, played.last_ms - played.first_ms) / 1_000
    lines = [
        f"Replayed {played.frames:,} frames, {summary.ticks:,} ticks over {_length(lasted_s)} in "
        f"{summary.elapsed_s:.1f} s."
    ]
    if summary.arrivals != "measured":
        lines.append("Times of arrival are reconstructed from the ticks.")
    lines.append(summary.clock)
    lines += [f"  {s.key}: {s.candles:,} candles, {s.revisions:,} revisions, {s.digest}" for s in summary.streams]
    lines.append(f"{summary.candles:,} candles, {summary.revisions:,} revisions, {summary.gaps:,} gaps.")
    lines += [f"Candles are in {place}." for place in (summary.data_dir, str(out or "")) if place]
    return "\n".join([*lines, f"Digest {summary.digest}"])


def _length(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"
