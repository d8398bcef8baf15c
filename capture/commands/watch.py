"""``fluxcap watch``: a daemon's facts as a live screen."""

from __future__ import annotations

from typing import Annotated

import typer

from capture.commands.options import DataDir, Keys, NatsCredentials, NatsStream, ViaLog, curve_of, via_of


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
    from bridge.watch.watching import watch as run
    from capture.running import daemon_endpoints

    if (way := via_of(via, credentials, stream)) is not None:
        run("", "", "", via=way)
        return
    run(*daemon_endpoints(connect, data_dir, control, pub, rep), curve=curve_of(keys))
