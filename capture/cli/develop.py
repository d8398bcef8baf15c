"""``fluxcap devserver``: a wire server with faults, for developing clients."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


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
    data_dir: Annotated[Path, typer.Option(help="Folder of its store.")] = Path("data/devserver"),
    port: Annotated[int, typer.Option(help="Port of control API and panel, on loopback; 0 for any free one.")] = 5558,
) -> None:
    """Serve generated or replayed candles over the wire, with faults at will, until Ctrl-C."""
    from bridge.client import endpoints
    from bridge.devserver.process import run_devserver, run_panel
    from bridge.devserver.settings import DevSettings

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
        data_dir=str(data_dir),
        pub=pub,
        rep=rep,
        curve=str(curve) if curve else "",
        api_port=port,
    )
    (run_panel if panel else run_devserver)(settings)
