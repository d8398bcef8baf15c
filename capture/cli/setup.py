"""``fluxcap config``: what the settings are, where they come from, and a file to begin with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from capture.commands.options import Json

app = typer.Typer(
    help="Settings: show them, or write a file to begin with.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("show", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def show(context: typer.Context, as_json: Json = False) -> None:
    """Show every setting and where it comes from: default, file, environment or option.

    Takes the options of `fluxcap run`, and then shows what a run with them would use.
    """
    from capture.settings import config_file
    from capture.settings_origin import effective_settings

    options = _run_options(context.args)
    path = config_file(options.pop("config", None))
    settings = effective_settings(path, options)
    if as_json:
        told = {one.name: {"value": one.value, "from": one.origin.value, "where": one.where} for one in settings}
        typer.echo(json.dumps({"file": str(path) if path else None, "settings": told}))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2), header_style="dim")
    for column in ("setting", "value", "from"):
        table.add_column(column, overflow="fold")
    for one in settings:
        style = None if one.origin.value == "default" else "bold"
        table.add_row(one.name, _text(one.value), f"{one.origin.value} {one.where}".strip(), style=style)
    Console().print(table)


@app.command()
def init(
    file: Annotated[
        Path | None, typer.Argument(help="File to write. [default: fluxcap.toml]", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a settings file in which every setting is explained; never over one that is there."""
    from capture.settings_origin import file_text, write_new_file

    path = write_new_file(file, file_text(_explained()))
    typer.echo(json.dumps({"file": str(path)}) if as_json else f"Wrote {path}; every setting in it is commented out.")


def _run_command() -> Any:
    from typer.main import get_command

    from capture import cli

    return get_command(cli.app).commands["run"]  # type: ignore[attr-defined]


def _run_options(arguments: list[str]) -> dict[str, Any]:
    """What ``fluxcap run`` would take from these arguments; wrong use is told as by ``run`` itself."""
    given = _run_command().make_context("fluxcap config show", list(arguments)).params
    del given["debug"]
    return {name: value for name, value in given.items() if value not in (None, [], ())}


def _explained() -> dict[str, str]:
    """What each setting does, as the help of ``fluxcap run`` says it."""
    return {option.name: option.help.partition(" [default")[0] for option in _run_command().params}


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(value) or "none"
    return "not set" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
