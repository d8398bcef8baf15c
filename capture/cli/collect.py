"""``fluxcap collect``: topdown history, through the page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fluxcap.capture.cli.options import ConfigOption, Debug, Json
from fluxcap.capture.runtime.output import say

if TYPE_CHECKING:
    from fluxcap.capture.collect.collection import CollectSummary


def collect(
    assets: Annotated[
        str, typer.Option(help='Names with commas, favourites, or "payout>=92" (in quotes for the shell).')
    ] = "favourites",
    timeframes: Annotated[str, typer.Option(help="Of 4h, 1h, 15m, 5m and 1m, with commas.")] = "1h,15m,5m,1m",
    chrome: Annotated[
        str | None, typer.Option(help="Where Chrome's DevTools listen, HOST:PORT. [default: 127.0.0.1:9222]")
    ] = None,
    platform: Annotated[str | None, typer.Option(help="Trading platform. [default: pocketoption]")] = None,
    platform_url: Annotated[
        list[str] | None, typer.Option(help="A further page or socket host of the platform; * allowed; repeatable.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Name of this source on the wire. [default: POCKETOPTION]")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where store and files live. [default: ./data, else your own]")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, max=300, help="Seconds to await one history.")] = 10.0,
    attempts: Annotated[int, typer.Option(min=1, max=20, help="Attempts at each history.")] = 3,
    restart: Annotated[
        bool, typer.Option("--restart", "--anew", help="Collect again what a run of today has saved already.")
    ] = False,
    as_json: Json = False,
    config: ConfigOption = None,
    debug: Debug = False,
) -> None:
    """Collect candles of the past: turn the page to each asset and timeframe, and save what it receives.

    Files go below data_output/assets_data/data_collect in the data folder, candles of other intervals than the live one
    into the store too. A daemon may run meanwhile. The page is left as it was found; a run that was interrupted goes on
    where it stopped when started again on the same day.
    """
    from fluxcap.bridge.terminal.printable import printable_json
    from fluxcap.capture.cli.options import progress_bar
    from fluxcap.capture.collect.collection import CollectOptions
    from fluxcap.capture.collect.collection import collect as run
    from fluxcap.capture.collect.collection import encode_summary as encoded
    from fluxcap.capture.collect.plan import parse_assets, parse_timeframes
    from fluxcap.capture.runtime.settings import load_settings

    order = CollectOptions(parse_assets(assets), parse_timeframes(timeframes), timeout, attempts)
    settings = load_settings(
        config, chrome=chrome, platform=platform, platform_url=platform_url, source=source, data_dir=data_dir
    )
    with progress_bar("Collecting") as begin:
        summary = run(settings, order, begin, restart=restart, tell=lambda text: say(text, err=True))
    if as_json:
        say(printable_json(encoded(summary).decode()))
    else:
        _show(summary)
    raise typer.Exit(1 if summary.failed else 0)


def _show(summary: CollectSummary) -> None:
    from rich.table import Table

    from fluxcap.bridge.terminal.console import SafeConsole, plain
    from fluxcap.capture.market.clock import ClockBasis

    console = SafeConsole()
    rows = sum(saved.rows for saved in summary.saved)
    files = "1 file" if len(summary.saved) == 1 else f"{len(summary.saved)} files"
    skipped = f"; {summary.skipped} saved earlier today were left as they are" if summary.skipped else ""
    console.print(f"Saved {files} with {rows:,} candles below {plain(str(summary.folder))}{skipped}.")
    if summary.clock_basis == ClockBasis.WALL:
        console.print("Their times stand on this computer's clock alone; after a run of `fluxcap run` they do not.")
    published = sum(saved.published for saved in summary.saved)
    revised = sum(saved.revised for saved in summary.saved)
    if published or revised:
        console.print(f"In the store: {published:,} new candles, {revised:,} corrected.")
    if summary.failed:
        table = Table(title=f"{len(summary.failed)} failed", box=None, padding=(0, 2), header_style="dim")
        for column in ("asset", "timeframe", "why"):
            table.add_column(column, overflow="fold")
        for failed in summary.failed:
            table.add_row(*plain((failed.asset, failed.timeframe, failed.reason)))
        console.print(table)
        console.print("Run the same command again to collect only these.")
    for problem in (summary.page_error, summary.store_error and f"Not in the store: {summary.store_error}"):
        if problem:
            say(f"fluxcap: {problem}", err=True)
