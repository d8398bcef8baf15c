"""``fluxcap chrome``: start Chrome ready for capture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def chrome(
    port: Annotated[int, typer.Option(help="DevTools port, loopback only.")] = 9222,
    profile: Annotated[
        Path | None, typer.Option(help="Profile folder of its own. [default: one in your data folder]")
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Without a window.")] = False,
    url: Annotated[str, typer.Option(help="Page to open.")] = "https://pocketoption.com/",
) -> None:
    """Start Chrome with a profile of its own and the DevTools port open, and leave it running.

    Log in to the platform there once; the profile remembers it. Your everyday Chrome profile cannot be used: Chrome
    ignores the DevTools port on it.
    """
    from capture.chrome.launch import default_profile, start_chrome

    folder = profile or default_profile()
    started = start_chrome(port=port, profile=folder, headless=headless, url=url)
    typer.echo(f"Chrome runs (process {started.pid}), DevTools on 127.0.0.1:{started.port}, profile {folder}.")
