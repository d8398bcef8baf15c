"""``fluxcap record``: raw market frames, to be replayed later."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from capture.commands.options import ConfigOption, Debug, Json


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
    seconds: Annotated[float | None, typer.Option(help="End after so long. [default: until Ctrl-C]")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    config: ConfigOption = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Record the platform's market frames until Ctrl-C, beside a running daemon or without one.

    Only market data is kept. Of everything else (sessions, balances, deals, chat, events that fluxcap does not know)
    the file holds nothing but that the socket spoke. `fluxcap replay` makes candles of it.
    """
    import logging
    import time

    import msgspec

    from capture import log
    from capture.commands.recording_line import recording_line
    from capture.recording_run import record as run
    from capture.settings import load_settings
    from capture.stop_signals import exit_code, stop_signals

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
    until_s = time.monotonic() + seconds if seconds else float("inf")
    with stop_signals() as asked, recording_line(file) as told:
        result = run(file, settings, force=force, stop=lambda: bool(asked) or time.monotonic() > until_s, told=told)
    if as_json:
        typer.echo(msgspec.json.encode(result).decode())
    else:
        typer.echo(
            f"Recorded {result.frames:,} frames of {result.sockets} sockets with {result.ticks:,} ticks in "
            f"{result.seconds:,.0f} s to {file} ({result.size_bytes / 1e3:,.0f} kB)."
        )
    raise typer.Exit(exit_code(asked))
