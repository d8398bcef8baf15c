"""``fluxcap tail``: live candles of streams, with recovery."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from capture.commands.options import Debug, Json, Keys, NatsCredentials, NatsStream, ViaLog, curve_of, via_of


def tail(
    streams: Annotated[
        list[str],
        typer.Argument(
            metavar="STREAM",
            help="One stream as SOURCE SYMBOL [INTERVAL], such as POCKETOPTION EURUSD_otc 1m; or any number as "
            "SOURCE/SYMBOL[/INTERVAL], such as DESK1/EURUSD_otc 'DESK2/*', where * stands for any. The interval is 1m "
            "where it is left out.",
        ),
    ],
    via: ViaLog = None,
    pub: Annotated[str | None, typer.Option(help="PUB endpoint. [default: tcp://127.0.0.1:5556]")] = None,
    rep: Annotated[str | None, typer.Option(help="Request endpoint. [default: tcp://127.0.0.1:5557]")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Keep a copy and the cursor there, and resume from it next time.")
    ] = None,
    from_: Annotated[int | None, typer.Option("--from", min=1, help="First sequence wanted.")] = None,
    stream: NatsStream = None,
    credentials: NatsCredentials = None,
    keys: Keys = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Print the candles of streams as they are sealed, with the feed's health and age, until Ctrl-C.

    From a daemon, or with --via from NATS JetStream, where many machines' daemons may put theirs (`fluxcap forward`).
    """
    from bridge.client.tail import tail as follow
    from bridge.client.wanted import parse_wanted

    follow(
        parse_wanted(streams),
        pub=pub,
        rep=rep,
        data_dir=data_dir,
        from_sequence=from_,
        as_json=as_json,
        curve=None if via else curve_of(keys),
        via=via_of(via, credentials, stream),
        tell=lambda text: typer.echo(f"fluxcap: {text}", err=True),
    )
