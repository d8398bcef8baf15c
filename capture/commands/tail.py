"""``fluxcap tail``: live candles of a stream, with recovery."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from capture.commands.options import Debug, Json, Keys, curve_of


def tail(
    source: Annotated[str, typer.Argument(help="Source on the wire, such as POCKETOPTION.")],
    symbol: Annotated[str, typer.Argument(help="Symbol with its case, such as EURUSD_otc.")],
    interval: Annotated[str, typer.Argument(help="Interval, such as 1m.")] = "1m",
    pub: Annotated[str | None, typer.Option(help="PUB endpoint. [default: tcp://127.0.0.1:5556]")] = None,
    rep: Annotated[str | None, typer.Option(help="Request endpoint. [default: tcp://127.0.0.1:5557]")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Keep a copy and the cursor there, and resume from it next time.")
    ] = None,
    from_: Annotated[int | None, typer.Option("--from", min=1, help="First sequence wanted.")] = None,
    keys: Keys = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Print the candles of a stream as they are sealed, with the feed's health and age, until Ctrl-C."""
    from bridge.client.tail import tail as follow
    from schemas.types import StreamKey
    from schemas.types import interval_ms as checked

    checked(interval)
    follow(
        StreamKey(source, symbol, interval),
        pub=pub,
        rep=rep,
        data_dir=data_dir,
        from_sequence=from_,
        as_json=as_json,
        curve=curve_of(keys),
    )
