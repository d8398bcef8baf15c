"""``fluxcap demo``: all of it on one machine."""

from __future__ import annotations

from typing import Annotated

import typer


def demo(
    seconds: Annotated[int, typer.Option(min=10, help="How long to watch.")] = 90,
    interval: Annotated[str, typer.Option(help="Candle length; short, so that there is something to see.")] = "5s",
    headless: Annotated[
        bool | None,
        typer.Option("--headless/--window", help="Chrome without a window. [default: by the screen]"),
    ] = None,
) -> None:
    """Run a simulated site, a real Chrome, the daemon and a client for a while, and compare what each of them has.

    Exit code 0 only if every sealed candle is the same in the site's truth, the store and the client.
    """
    from capture.demo import run_demo

    raise typer.Exit(run_demo(seconds, interval, headless))
