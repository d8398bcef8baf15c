"""``fluxcap backfill``: the candles of a stream from a running server, to a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fluxcap.capture.cli.options import (
    DataDir,
    Debug,
    Json,
    Keys,
    NatsCredentials,
    NatsStream,
    ViaLog,
    curve_of,
    via_of,
)
from fluxcap.capture.runtime.output import say, say_json

if TYPE_CHECKING:
    from fluxcap.bridge.client.options import Via
    from fluxcap.bridge.transport.curve import ClientCurve
    from fluxcap.schemas.types import StreamKey


def backfill(
    source: Annotated[str, typer.Argument(help="Source on the wire, such as POCKETOPTION.")],
    symbol: Annotated[str, typer.Argument(help="Symbol with its case, such as EURUSD_otc.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write, .csv or .parquet.", show_default=False)],
    interval: Annotated[str, typer.Argument(help="Interval, such as 1m.")] = "1m",
    from_: Annotated[int, typer.Option("--from", min=1, help="First sequence to read.")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum number of candles.")] = None,
    via: ViaLog = None,
    rep: Annotated[str | None, typer.Option(help="Request endpoint. [default: tcp://127.0.0.1:5557]")] = None,
    stream: NatsStream = None,
    credentials: NatsCredentials = None,
    keys: Keys = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Fetch the candles of a stream over the wire and write them to a CSV or Parquet file.

    For any server of the wire, also on another machine, and with --via for NATS JetStream; `fluxcap export` knows this
    machine's data folder.
    """
    from fluxcap.bridge.client.fetch import backfill as fetch
    from fluxcap.bridge.export.candle_file import export_candles
    from fluxcap.capture.cli.options import as_total_progress, progress_bar
    from fluxcap.schemas.errors import ConfigError, WireError
    from fluxcap.schemas.types import StreamKey, interval_ms

    interval_ms(interval)
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise ConfigError(f"{out} must end in .csv or .parquet; the ending chooses the format.")
    key = StreamKey(source, symbol, interval)
    way = via_of(via, credentials, stream)
    curve = None if way else curve_of(keys)
    with progress_bar(f"Fetching {key}") as begin:
        try:
            progress = as_total_progress(begin)
            candles = fetch(
                key, rep, from_sequence_exclusive=from_ - 1, limit=limit, on_progress=progress, curve=curve, via=way
            )
        except WireError as error:
            if error.code != 404:
                raise
            raise ConfigError(_unknown_stream(key, rep, curve, way)) from None
    export_candles(candles, out)
    if as_json:
        say_json({"stream": str(key), "out": str(out), "rows": len(candles), "bytes": out.stat().st_size})
    else:
        say(f"Wrote {len(candles):,} candles of {key} to {out}.")


def _unknown_stream(key: StreamKey, rep: str | None, curve: ClientCurve | None, via: Via | None) -> str:
    from fluxcap.bridge.client.fetch import list_streams

    names = [str(status.key) for status in list_streams(rep, curve=curve, via=via)]
    there = f"it has {', '.join(names[:8])}{' …' if len(names) > 8 else ''}" if names else "it has none yet"
    where = "The server" if via is None else "JetStream"
    return f"{where} has no stream {key}; {there}."


def tail(
    streams: Annotated[
        list[str],
        typer.Argument(
            metavar="STREAM",
            help="One stream as SOURCE SYMBOL [INTERVAL], such as POCKETOPTION EURUSD_otc 1m; or any number as "
            "SOURCE/SYMBOL[/INTERVAL], such as DESK1/EURUSD_otc 'DESK2/*', where * matches any. The default "
            "interval is 1m.",
        ),
    ],
    via: ViaLog = None,
    pub: Annotated[str | None, typer.Option(help="PUB endpoint. [default: tcp://127.0.0.1:5556]")] = None,
    rep: Annotated[str | None, typer.Option(help="Request endpoint. [default: tcp://127.0.0.1:5557]")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Keep a copy and the cursor there, and resume from it next time.")
    ] = None,
    from_: Annotated[int | None, typer.Option("--from", min=1, help="First sequence to read.")] = None,
    stream: NatsStream = None,
    credentials: NatsCredentials = None,
    keys: Keys = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Print the candles of streams as they are sealed, with the feed's health and age, until Ctrl-C.

    From a daemon, or with --via from NATS JetStream, where many machines' daemons may put theirs (`fluxcap forward`).
    """
    from fluxcap.bridge.terminal.selectors import parse_selectors
    from fluxcap.bridge.terminal.tail import tail as follow

    follow(
        parse_selectors(streams),
        pub=pub,
        rep=rep,
        data_dir=data_dir,
        from_sequence=from_,
        as_json=as_json,
        curve=None if via else curve_of(keys),
        via=via_of(via, credentials, stream),
        on_message=lambda text: say(f"fluxcap: {text}", err=True),
    )


def dashboard(
    via: ViaLog = None,
    connect: Annotated[
        str | None, typer.Option(help="Machine whose daemon to show. [default: the one of the data folder here]")
    ] = None,
    control: Annotated[str | None, typer.Option(help="REST address of that daemon. [default: its port 3001]")] = None,
    pub: Annotated[str | None, typer.Option(help="PUB endpoint of that daemon. [default: its port 5556]")] = None,
    rep: Annotated[str | None, typer.Option(help="Request endpoint of that daemon. [default: its port 5557]")] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port of the page, on loopback; 0 for any free one.")
    ] = 3002,
    stream: NatsStream = None,
    credentials: NatsCredentials = None,
    keys: Keys = None,
    data_dir: DataDir = None,
) -> None:
    """Serve the chart page of this or another machine's daemon at http://127.0.0.1:3002, until Ctrl-C.

    A running daemon serves the same page itself on its web port, unless started with --no-web. With --via it shows
    the streams of NATS JetStream, of all sources there.
    """
    from fluxcap.bridge.dashboard.app import DashboardTarget
    from fluxcap.capture.api.server import run_dashboard_server
    from fluxcap.capture.runtime.discovery import daemon_endpoints

    if (way := via_of(via, credentials, stream)) is not None:
        raise typer.Exit(run_dashboard_server(DashboardTarget("", "", "", via=way), port))
    target = DashboardTarget(*daemon_endpoints(connect, data_dir, control, pub, rep), curve_of(keys))
    raise typer.Exit(run_dashboard_server(target, port))


def watch(
    via: ViaLog = None,
    connect: Annotated[
        str | None, typer.Option(help="Machine whose daemon to watch. [default: the one of the data folder here]")
    ] = None,
    control: Annotated[str | None, typer.Option(help="REST address of that daemon. [default: its port 3001]")] = None,
    pub: Annotated[str | None, typer.Option(help="PUB endpoint of that daemon. [default: its port 5556]")] = None,
    rep: Annotated[str | None, typer.Option(help="Request endpoint of that daemon. [default: its port 5557]")] = None,
    stream: NatsStream = None,
    credentials: NatsCredentials = None,
    keys: Keys = None,
    data_dir: DataDir = None,
) -> None:
    """Watch streams, health, ages, candles and counters of a daemon on the terminal, until q or Ctrl-C.

    With --via the streams of NATS JetStream, of all sources there.
    """
    from fluxcap.bridge.terminal.watch import watch as run
    from fluxcap.capture.runtime.discovery import daemon_endpoints

    if (way := via_of(via, credentials, stream)) is not None:
        run("", "", "", via=way)
        return
    run(*daemon_endpoints(connect, data_dir, control, pub, rep), curve=curve_of(keys))
