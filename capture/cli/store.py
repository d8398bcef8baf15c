"""``fluxcap export``: what was captured, as a file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from capture.commands.options import ControlUrl, Debug, Json, Keys, curve_of


def export(
    what: Annotated[str, typer.Argument(help="candles, ticks, gaps or revisions.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write, .csv or .parquet.", show_default=False)],
    symbol: Annotated[str | None, typer.Option(help="Assets, comma-separated, as you would type them.")] = None,
    source: Annotated[str | None, typer.Option(help="Source, such as POCKETOPTION.")] = None,
    interval: Annotated[str | None, typer.Option(help="Interval, such as 1m.")] = None,
    from_: Annotated[
        str | None, typer.Option("--from", help="Begin: 2026-11-21 or 2026-11-21T10:30 (UTC).", show_default=False)
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="End, itself not included; written as --from.", show_default=False)
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Data folder. [default: data]")] = None,
    rep: Annotated[str | None, typer.Option(help="Ask the server at this request endpoint.")] = None,
    control: ControlUrl = None,
    keys: Keys = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write candles, ticks, gaps or revisions to a CSV or Parquet file; whole or not at all.

    Reads the store of a stopped daemon, or asks the running one. Times are UTC. Candles come as the store has them
    now, with what revisions made of them. Ticks are not in the store: they come from the files that
    `fluxcap collect-mode tick` collects.
    """
    import msgspec

    from bridge.exporting import Span, What
    from capture.commands.progress import progress_bar
    from capture.exporting import Wanted, Where, parse_time
    from capture.exporting import export as write
    from capture.settings import load_settings
    from schemas.errors import ConfigError

    if what not in list(What):
        raise ConfigError(f"{what!r} cannot be exported; choose candles, ticks, gaps or revisions.")
    span = Span(parse_time(from_) if from_ else 0, parse_time(to) if to else None)
    if span.to_ms is not None and span.to_ms <= span.from_ms:
        raise ConfigError("--to must be later than --from.")
    symbols = tuple(part.strip() for part in symbol.split(",") if part.strip()) if symbol else ()
    wanted = Wanted(What(what), out, source, symbols, interval, span)
    where = Where(data_dir or load_settings().data_dir, rep, control, curve_of(keys))
    with progress_bar(f"Exporting {what}") as begin:
        summary = write(wanted, where, begin)
    if as_json:
        typer.echo(msgspec.json.encode(summary).decode())
        return
    several = f" of {len(summary.streams)} streams" if len(summary.streams) > 1 else ""
    size = f"{summary.bytes / 1e6:.1f} MB" if summary.bytes >= 100_000 else f"{summary.bytes:,} bytes"
    typer.echo(f"Wrote {summary.rows:,} {what}{several} to {summary.out} ({size}), read from the {summary.through}.")
    if summary.unreadable_lines:
        typer.echo(
            f"fluxcap: {summary.unreadable_lines:,} lines could not be read and were left out; "
            "`fluxcap verify` says where.",
            err=True,
        )
