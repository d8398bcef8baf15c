"""``fluxcap archive``: the candles of the log as Parquet files by source, symbol and day."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from capture.commands.options import Debug, Json, NatsCredentials, NatsStream, ViaLog, via_of


def archive(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the archive; made if absent.", show_default=False)
    ],
    via: ViaLog = None,
    source: Annotated[str | None, typer.Option(help="Only this source. [default: all]")] = None,
    symbol: Annotated[str | None, typer.Option(help="Only this symbol. [default: all]")] = None,
    once: Annotated[bool, typer.Option("--once", help="End when all is archived that the log has now.")] = False,
    flush_seconds: Annotated[
        float, typer.Option(min=0, help="Write the files when candles have waited so long.")
    ] = 60.0,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Read all of the log again, as after a file was lost.")
    ] = False,
    stream: NatsStream = None,
    credentials: NatsCredentials = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Keep the candles of NATS JetStream as Parquet, for DuckDB, Polars or Spark, until Ctrl-C.

    One file per source, symbol, day and interval, each candle once and as its newest revision has it. Files are
    replaced whole, so that they may be read at any time; killed at any time, it goes on where it was.
    """
    import msgspec

    from bridge.parquet_archive.archiver import Archiver
    from capture.stop_signals import exit_code, stop_signals
    from schemas.errors import ConfigError

    way = via_of(via, credentials, stream)
    if way is None:
        raise ConfigError("Name the log to archive with --via nats://HOST:PORT.")

    def tell(text: str) -> None:
        typer.echo(f"fluxcap: {text}", err=True)

    archiver = Archiver(way, out, source=source, symbol=symbol, flush_s=flush_seconds, tell=tell)
    with stop_signals() as asked:
        state = archiver.run(once=once, from_start=from_start, stopping=lambda: asked)
    if as_json:
        typer.echo(msgspec.json.encode(state).decode())
    else:
        typer.echo(f"Archived {state.rows:,} rows in {state.files:,} files to {out}, up to message {state.position:,}.")
    raise typer.Exit(exit_code(asked))
