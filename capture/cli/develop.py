"""``fluxcap devserver``: a wire server with faults, for developing clients."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from fluxcap.capture.runtime.output import say


def devserver(
    panel: Annotated[bool, typer.Option("--panel", help="With a control panel in the browser.")] = False,
    pub: Annotated[str | None, typer.Option(help="PUB endpoint. [default: tcp://127.0.0.1:5556]")] = None,
    rep: Annotated[str | None, typer.Option(help="Request endpoint. [default: tcp://127.0.0.1:5557]")] = None,
    curve: Annotated[
        Path | None, typer.Option(help="Keys for both, as of `fluxcap run`; needed beyond this machine.")
    ] = None,
    source: Annotated[str, typer.Option(envvar="FLUX_SOURCE_ID", help="Source of the streams.")] = "SIM",
    interval: Annotated[str, typer.Option(envvar="FLUX_INTERVAL", help="Candle length.")] = "1s",
    symbols: Annotated[str, typer.Option(help="Symbols, comma-separated.")] = "EURUSD_otc",
    tick_ms: Annotated[int, typer.Option(min=1, help="Milliseconds between batches of a stream.")] = 1_000,
    batch_size: Annotated[int, typer.Option(min=1, help="Candles a batch.")] = 1,
    history: Annotated[int, typer.Option(min=0, help="Candles each new stream begins with.")] = 300,
    seed: Annotated[int, typer.Option(help="The same seed makes the same candles and faults.")] = 1,
    replay: Annotated[Path | None, typer.Option(help="CSV of candles to replay in place of generated ones.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of its store. [default: devserver in the data folder]")
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port of control API and panel, on loopback; 0 for any free one.")
    ] = 5558,
) -> None:
    """Serve generated or replayed candles over the wire, with faults at will, until Ctrl-C."""
    from fluxcap.bridge.client.options import endpoints
    from fluxcap.bridge.devserver.process import run_devserver, run_panel
    from fluxcap.bridge.devserver.settings import DevSettings
    from fluxcap.bridge.system.folders import default_data_dir
    from fluxcap.bridge.system.signals import hang_up_as

    pub, rep = endpoints(pub, rep)
    settings = DevSettings(
        source=source,
        interval=interval,
        symbols=tuple(symbol.strip() for symbol in symbols.split(",") if symbol.strip()),
        tick_ms=tick_ms,
        batch_size=batch_size,
        history=history,
        seed=seed,
        replay=str(replay) if replay else "",
        data_dir=str(data_dir or default_data_dir() / "devserver"),
        pub=pub,
        rep=rep,
        curve=str(curve) if curve else "",
        api_port=port,
    )
    with hang_up_as(signal.SIGTERM):
        (run_panel if panel else run_devserver)(settings)


def simulate(
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port on loopback; 0 for any free one.")] = 8400,
    assets: Annotated[str | None, typer.Option(help="Symbols, comma-separated. [default: ten of them]")] = None,
    rate: Annotated[float, typer.Option(help="Ticks a second and asset.")] = 2.1,
    thin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SYMBOL=SECONDS", help="Trades of this asset are rare, so far apart on average; repeatable."
        ),
    ] = None,
    offset: Annotated[int, typer.Option(help="How far stamps are ahead of UTC, seconds.")] = 7200,
    seed: Annotated[int, typer.Option(help="The same seed gives the same prices.")] = 1,
    truth: Annotated[Path | None, typer.Option(help="JSONL file for what the market did.")] = None,
) -> None:
    """Run a simulated trading site in the foreground: a page and a server that speak the platform's framing.

    Open its address in the Chrome that `fluxcap chrome` started, and tell `fluxcap run --platform-url` about it.
    """
    from fluxcap.capture.simulator.config import DEFAULT_ASSETS, SiteConfig, mean_pauses
    from fluxcap.capture.simulator.site import run_site

    symbols = tuple(part.strip() for part in assets.split(",") if part.strip()) if assets else DEFAULT_ASSETS
    config = SiteConfig(
        assets=symbols,
        rate_hz=rate,
        thin=mean_pauses(thin or ()),
        offset_s=offset,
        seed=seed,
        port=port,
        truth_path=truth,
    )
    run_site(config, lambda url: say(f"Simulated trading site at {url}  (Ctrl-C to stop)"))


def demo(
    seconds: Annotated[int, typer.Option(min=10, help="How long to watch.")] = 90,
    interval: Annotated[str, typer.Option(help="Candle length; short, so that there is something to see.")] = "5s",
    headless: Annotated[
        bool | None,
        typer.Option("--headless/--window", help="Chrome without a window. [default: by the screen]"),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Stay until Ctrl-C, however long, to look at the chart; then compare.")
    ] = False,
) -> None:
    """Run a simulated site, a real Chrome, the daemon and a client for a while, and compare what each of them has.

    It prints the address of the chart page, which may be looked at meanwhile.

    Exit code 0 only if every sealed candle is the same in the site's truth, the store and the client.
    """
    from fluxcap.capture.tools.demo import run_demo

    raise typer.Exit(run_demo(seconds, interval, headless, keep=keep))
