"""``fluxcap backfill``: the candles of a stream from a running server, to a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capture.commands.options import Debug, Json, Keys, NatsCredentials, NatsStream, ViaLog, curve_of, via_of

if TYPE_CHECKING:
    from bridge.client.via import Via
    from bridge.curve import ClientCurve
    from schemas.types import StreamKey


def backfill(
    source: Annotated[str, typer.Argument(help="Source on the wire, such as POCKETOPTION.")],
    symbol: Annotated[str, typer.Argument(help="Symbol with its case, such as EURUSD_otc.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write, .csv or .parquet.", show_default=False)],
    interval: Annotated[str, typer.Argument(help="Interval, such as 1m.")] = "1m",
    from_: Annotated[int, typer.Option("--from", min=1, help="First sequence wanted.")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many candles.")] = None,
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
    from bridge.client.export import export_candles
    from bridge.client.fetch import backfill as fetch
    from capture.commands.progress import progress_bar, so_far
    from schemas.errors import ConfigError, WireError
    from schemas.types import StreamKey, interval_ms

    interval_ms(interval)
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise ConfigError(f"{out} must end in .csv or .parquet, which says what to write.")
    key = StreamKey(source, symbol, interval)
    way = via_of(via, credentials, stream)
    curve = None if way else curve_of(keys)
    with progress_bar(f"Fetching {key}") as begin:
        try:
            progress = so_far(begin)
            candles = fetch(
                key, rep, from_sequence_exclusive=from_ - 1, limit=limit, on_progress=progress, curve=curve, via=way
            )
        except WireError as error:
            if error.code != 404:
                raise
            raise ConfigError(_unknown_stream(key, rep, curve, way)) from None
    export_candles(candles, out)
    if as_json:
        typer.echo(json.dumps({"stream": str(key), "out": str(out), "rows": len(candles), "bytes": out.stat().st_size}))
    else:
        typer.echo(f"Wrote {len(candles):,} candles of {key} to {out}.")


def _unknown_stream(key: StreamKey, rep: str | None, curve: ClientCurve | None, via: Via | None) -> str:
    from bridge.client.fetch import list_streams

    names = [str(status.key) for status in list_streams(rep, curve=curve, via=via)]
    there = f"it has {', '.join(names[:8])}{' …' if len(names) > 8 else ''}" if names else "it has none yet"
    where = "server" if via is None else "log"
    return f"The {where} has no stream {key}; {there}."
