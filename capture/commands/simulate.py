"""``fluxcap simulate``: the simulated trading site."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def simulate(
    port: Annotated[int, typer.Option(help="Port on loopback; 0 for any free one.")] = 8400,
    assets: Annotated[str | None, typer.Option(help="Symbols, comma-separated. [default: ten of them]")] = None,
    rate: Annotated[float, typer.Option(help="Ticks a second and asset.")] = 2.1,
    offset: Annotated[int, typer.Option(help="How far stamps are ahead of UTC, seconds.")] = 7200,
    seed: Annotated[int, typer.Option(help="The same seed gives the same prices.")] = 1,
    truth: Annotated[Path | None, typer.Option(help="JSONL file for what the market did.")] = None,
) -> None:
    """Run a simulated trading site in the foreground: a page and a server that speak the platform's framing.

    Open its address in the Chrome that `fluxcap chrome` started, and tell `fluxcap run --platform-url` about it.
    """
    from capture.simulator.config import DEFAULT_ASSETS, SiteConfig
    from capture.simulator.site import run_site

    symbols = tuple(part.strip() for part in assets.split(",") if part.strip()) if assets else DEFAULT_ASSETS
    config = SiteConfig(assets=symbols, rate_hz=rate, offset_s=offset, seed=seed, port=port, truth_path=truth)
    run_site(config, lambda url: typer.echo(f"Simulated trading site at {url}  (Ctrl-C ends it)"))
