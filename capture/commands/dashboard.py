"""``fluxcap dashboard``: the chart page of a daemon, served by a process of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from capture.commands.options import DataDir, Keys, NatsCredentials, NatsStream, ViaLog, curve_of, via_of


def dashboard(
    via: ViaLog = None,
    connect: Annotated[
        str | None, typer.Option(help="Machine whose daemon to show. [default: the one of the data folder here]")
    ] = None,
    control: Annotated[str | None, typer.Option(help="REST address of that daemon. [default: its port 3001]")] = None,
    pub: Annotated[str | None, typer.Option(help="PUB endpoint of that daemon. [default: its port 5556]")] = None,
    rep: Annotated[str | None, typer.Option(help="Request endpoint of that daemon. [default: its port 5557]")] = None,
    port: Annotated[int, typer.Option(help="Port of the page, on loopback; 0 for any free one.")] = 3002,
    stream: NatsStream = None,
    credentials: NatsCredentials = None,
    keys: Keys = None,
    data_dir: DataDir = None,
) -> None:
    """Serve the chart page of this or another machine's daemon at http://127.0.0.1:3002, until Ctrl-C.

    A running daemon serves the same page itself on its web port, unless started with --no-web. With --via it shows
    the streams of NATS JetStream, of all sources there.
    """
    from bridge.dashboard.hub import Target
    from capture.dashboard_server import serve_dashboard
    from capture.running import daemon_endpoints

    if (way := via_of(via, credentials, stream)) is not None:
        raise typer.Exit(serve_dashboard(Target("", "", "", via=way), port))
    target = Target(*daemon_endpoints(connect, data_dir, control, pub, rep), curve_of(keys))
    raise typer.Exit(serve_dashboard(target, port))
