"""``fluxcap collect-mode``: what the running daemon writes to CSV files."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from capture.commands.options import ControlUrl, DataDir, Json


def collect_mode(
    mode: Annotated[
        str | None, typer.Argument(help="tick, candle, both or none; without it the present mode is shown.")
    ] = None,
    tick_chunk_size: Annotated[int | None, typer.Option(min=1, help="Ticks a file from now on.")] = None,
    candle_chunk_size: Annotated[int | None, typer.Option(min=1, help="Candles a file from now on.")] = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    control: ControlUrl = None,
) -> None:
    """Choose what the running daemon writes to CSV files: ticks, candles, both or none.

    It lasts until the daemon ends; `fluxcap run --collect` chooses it from the start.
    """
    from capture.running import RunningDaemon
    from capture.settings import CollectMode
    from schemas.errors import ConfigError

    if mode is not None and mode not in list(CollectMode):
        raise ConfigError(f"{mode!r} is no collect mode; choose tick, candle, both or none.")
    asked = {"mode": mode, "tick_chunk_size": tick_chunk_size, "candle_chunk_size": candle_chunk_size}
    body = {name: value for name, value in asked.items() if value is not None}
    daemon = RunningDaemon(data_dir, control)
    seen = daemon.put("/api/collect-mode", body) if body else daemon.get("/api/collect-mode")
    if as_json:
        typer.echo(json.dumps(seen))
        return
    for line in _lines(seen):
        typer.echo(line)


def _lines(seen: dict[str, Any]) -> list[str]:
    lines = [
        f"collecting  {seen['mode']}, {seen['tick_chunk_size']} ticks or {seen['candle_chunk_size']} candles a file",
        f"folder      {seen['folder']}",
        f"written     {seen['ticks']} ticks, {seen['candles']} candles, {seen['files']} files",
    ]
    if seen["trouble"]:
        lines.append(f"trouble     {seen['trouble']}; {seen['waiting']} lines wait until it works again")
    if seen["lost"]:
        lines.append(f"lost        {seen['lost']} lines")
    return lines
