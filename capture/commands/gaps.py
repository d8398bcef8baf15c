"""``fluxcap gaps``: when capture was blind, and why."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capture.commands.options import ControlUrl, Debug, Json

if TYPE_CHECKING:
    from schemas.types import Gap


def gaps(
    symbol: Annotated[str | None, typer.Option(help="Assets, comma-separated, as you would type them.")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="Begin: 2026-11-21 or 2026-11-21T10:30 (UTC).")] = None,
    to: Annotated[str | None, typer.Option("--to", help="End, written as --from.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Data folder. [default: data]")] = None,
    control: ControlUrl = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List the times in which the feed of an asset was blind: from when to when (UTC), how long, and why.

    A quiet market on a working feed is no gap. Asks the running daemon, or reads the store of a stopped one.
    """
    from bridge.exporting import Span, true_gaps
    from capture.exporting import Where, match_symbols, open_archive, parse_time
    from capture.settings import load_settings

    span = Span(parse_time(from_) if from_ else 0, parse_time(to) if to else None)
    with open_archive(Where(data_dir or load_settings().data_dir, None, control)) as (archive, _):
        found = [gap for gap in true_gaps(archive.gaps()) if span.touches(gap)]
    typed = tuple(part.strip() for part in symbol.split(",") if part.strip()) if symbol else ()
    if typed and found:
        wanted = match_symbols(typed, (gap.symbol for gap in found)) | {""}
        found = [gap for gap in found if gap.symbol in wanted]
    if as_json:
        typer.echo(json.dumps([_as_json(gap) for gap in found]))
        return
    if not found:
        typer.echo("No gaps.")
        return
    _print(found)


def _as_json(gap: Gap) -> dict[str, Any]:
    return {
        "source": gap.source_id,
        "symbol": gap.symbol,
        "from_ms": gap.from_ms,
        "to_ms": gap.to_ms or None,
        "open": not gap.to_ms,
        "reason": gap.reason,
    }


def _print(found: list[Gap]) -> None:
    from rich.console import Console
    from rich.table import Table

    from capture.commands.status import duration_text

    table = Table(box=None, padding=(0, 2), header_style="dim")
    for name in ("from (UTC)", "to", "lasted", "asset", "why"):
        table.add_column(name, justify="right" if name == "lasted" else "left", no_wrap=name != "why")
    for gap in found:
        lasted = duration_text((gap.to_ms - gap.from_ms) / 1_000) if gap.to_ms else ""
        end = _clock(gap.to_ms) if gap.to_ms else "[yellow]not over yet[/]"
        table.add_row(_clock(gap.from_ms), end, lasted, gap.symbol or "all", gap.reason)
    Console().print(table)


def _clock(ts_ms: int) -> str:
    return datetime.fromtimestamp(ts_ms / 1_000, UTC).isoformat(" ", "milliseconds").removesuffix("+00:00")
