"""``fluxcap focus``: which assets the running daemon makes candles of."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from capture.commands.options import ControlUrl, DataDir, Json

app = typer.Typer(help="Asset focus of the running daemon.", no_args_is_help=True, rich_markup_mode=None)


@app.command("set")
def set_(
    assets: Annotated[list[str], typer.Argument(help="Assets as you would type them: EURUSD_otc, 'EUR/USD OTC'…")],
    as_json: Json = False,
    data_dir: DataDir = None,
    control: ControlUrl = None,
) -> None:
    """Lock the focus to these assets."""
    _put({"mode": "lock", "symbols": assets}, as_json, data_dir, control)


@app.command()
def release(as_json: Json = False, data_dir: DataDir = None, control: ControlUrl = None) -> None:
    """Release the lock: follow the page again."""
    _put({"mode": "follow"}, as_json, data_dir, control)


@app.command()
def follow(as_json: Json = False, data_dir: DataDir = None, control: ControlUrl = None) -> None:
    """Follow the asset that the page shows."""
    _put({"mode": "follow"}, as_json, data_dir, control)


@app.command("all")
def all_(as_json: Json = False, data_dir: DataDir = None, control: ControlUrl = None) -> None:
    """Take every asset that ticks."""
    _put({"mode": "all"}, as_json, data_dir, control)


@app.command()
def get(as_json: Json = False, data_dir: DataDir = None, control: ControlUrl = None) -> None:
    """Show the focus, and the asset and timeframe detected on the page."""
    from capture.running import RunningDaemon

    _show(RunningDaemon(data_dir, control).get("/api/focus"), as_json)


def _put(body: dict[str, Any], as_json: bool, data_dir: Any, control: str | None) -> None:
    from capture.running import RunningDaemon

    _show(RunningDaemon(data_dir, control).put("/api/focus", body), as_json)


def _show(focus: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(focus))
        return
    symbols = ", ".join(focus["symbols"]) or "none yet"
    typer.echo(f"focus     {focus['mode']}: {symbols}")
    if focus["unchecked"]:
        typer.echo(
            f"          not checked yet: {', '.join(focus['unchecked'])}. The platform tells its assets when the page "
            "loads; then `fluxcap focus get` says whether they are among them."
        )
    if focus["unknown"]:
        typer.echo(f"          unknown on the platform: {', '.join(focus['unknown'])}")
    detected, period_s = focus["detected_asset"], focus["detected_period_s"]
    typer.echo(f"detected  {detected or 'nothing yet'}{f' at {period_s} s' if period_s else ''}")
