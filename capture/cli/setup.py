"""``fluxcap config``: what the settings are, where they come from, and a file to begin with; ``fluxcap platforms``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fluxcap.capture.cli.options import ConfigOption, Debug, Json
from fluxcap.capture.runtime.output import say, say_json

config_app = typer.Typer(help="Show settings, or write a settings file.", no_args_is_help=True, rich_markup_mode=None)


@config_app.command("show", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def show(context: typer.Context, as_json: Json = False) -> None:
    """Show every setting and where it comes from: default, file, environment or option.

    Takes the options of `fluxcap run`, and then shows what a run with them would use.
    """
    from fluxcap.capture.runtime.settings import config_file
    from fluxcap.capture.runtime.settings_sources import effective_settings

    options = _run_options(context.args)
    path = config_file(options.pop("config", None))
    settings = effective_settings(path, options)
    if as_json:
        values = {one.name: {"value": one.value, "from": one.origin.value, "where": one.where} for one in settings}
        say_json({"file": str(path) if path else None, "settings": values})
        return
    from rich.table import Table

    from fluxcap.bridge.terminal.console import SafeConsole, plain

    say(f"Settings file: {path or 'none'}")
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for column in ("setting", "value", "from"):
        table.add_column(column, overflow="fold")
    for one in settings:
        style = None if one.origin.value == "default" else "bold"
        table.add_row(*plain((one.name, _text(one.value), f"{one.origin.value} {one.where}".strip())), style=style)
    SafeConsole().print(table)


@config_app.command()
def init(
    file: Annotated[
        Path | None, typer.Argument(help="File to write. [default: fluxcap.toml]", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a settings file in which every setting is explained; never over one that is there."""
    from fluxcap.capture.runtime.settings_sources import file_text, write_new_file

    path = write_new_file(file, file_text(_explained()))
    if as_json:
        say_json({"file": str(path)})
    else:
        say(f"Wrote {path}; every setting in it is commented out.")


def platforms(
    name: Annotated[
        str | None, typer.Argument(help="A description that ships, to be printed.", show_default=False)
    ] = None,
    config: ConfigOption = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List the trading platforms that can be chosen with `fluxcap run --platform`, or print how one is described.

    What is printed is a table for the settings file, to begin a description of your own with.
    """
    import msgspec

    from fluxcap.capture.platforms.presets import presets
    from fluxcap.capture.platforms.registry import choices
    from fluxcap.capture.runtime.settings import load_settings
    from fluxcap.schemas.errors import ConfigError

    if name is not None:
        if name not in presets():
            raise ConfigError(f"No description of {name!r} ships; these do: {', '.join(presets())}.")
        preset = presets()[name]
        say_json(msgspec.to_builtins(preset)) if as_json else say(preset.text.rstrip())
        return
    found = choices(load_settings(config).platforms)
    if as_json:
        say_json([msgspec.to_builtins(one) for one in found])
        return
    width = max(len(one.name) for one in found)
    for one in found:
        say(f"{one.name.ljust(width)}  {one.about}")
        say(f"{' ' * width}  {one.origin}{f' ({one.documents})' if one.documents else ''}")


def _run_command() -> Any:
    from typer.main import get_command

    from fluxcap.capture.cli.run import run

    alone = typer.Typer(rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})
    alone.command("run")(run)
    return get_command(alone)


def _run_options(arguments: list[str]) -> dict[str, Any]:
    """Return the options ``fluxcap run`` parses from these arguments; wrong use fails as in ``run``."""
    given = _run_command().make_context("fluxcap config show", list(arguments)).params
    del given["debug"]
    return {name: value for name, value in given.items() if value not in (None, [], ())}


def _explained() -> dict[str, str]:
    """Return each setting's help text of ``fluxcap run``."""
    return {option.name: option.help.partition(" [default")[0] for option in _run_command().params}


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(value) or "none"
    return "not set" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


def doctor(
    chrome: Annotated[
        str | None, typer.Option(help="Where Chrome's DevTools listen, HOST:PORT. [default: 127.0.0.1:9222]")
    ] = None,
    platform: Annotated[str | None, typer.Option(help="Trading platform. [default: pocketoption]")] = None,
    platform_url: Annotated[
        list[str] | None, typer.Option(help="A further page or socket host of the platform; * allowed; repeatable.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where store and files live. [default: ./data, else your own]")
    ] = None,
    as_json: Json = False,
    config: ConfigOption = None,
    debug: Debug = False,
) -> None:
    """Check Chrome, the platform's tab, ports, disk, clocks, store and versions, and say how to mend what is wrong.

    Changes nothing, and works with nothing running. Exit code 1 when there is a problem, 0 with warnings alone.
    """

    from fluxcap.capture.tools.doctor.examine import run_checks
    from fluxcap.capture.tools.doctor.finding import exit_code

    options = {"chrome": chrome, "platform": platform, "platform_url": platform_url or None, "data_dir": data_dir}
    findings = run_checks(config, **options)
    if as_json:
        say_json(findings)
        raise typer.Exit(exit_code(findings))
    from rich.table import Table

    from fluxcap.bridge.terminal.console import SafeConsole, plain

    table = Table.grid(padding=(0, 2))
    for _ in range(3):
        table.add_column(overflow="fold")
    for finding in findings:
        colour = _COLOURS[finding.verdict.value]
        table.add_row(f"[{colour}]{finding.verdict.value}[/]", finding.subject, plain(finding.text))
        if finding.fix:
            table.add_row("", "", f"[bold]→ {plain(finding.fix)}[/]")
    SafeConsole().print(table)
    raise typer.Exit(exit_code(findings))


def keys(
    folder: Annotated[Path, typer.Argument(help="Folder for the files; made if it is not there.")] = Path("keys"),
    names: Annotated[str, typer.Option(help="A pair of files for each of these names.")] = "server,client",
    as_json: Json = False,
) -> None:
    """Make CURVE key pairs for server and clients. Existing files are never overwritten.

    Give a client its own secret file and the server's public one; give the server its secret file and, in a folder,
    the public files of the clients it lets in. Secret files stay where they are made.
    """
    from fluxcap.bridge.transport.curve import SECRET_ENDING, create_keys
    from fluxcap.schemas.errors import ConfigError

    wanted = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if not wanted or any("/" in name or "\\" in name or name.startswith(".") for name in wanted):
        raise ConfigError(f"{names!r} are no names for key files; write for example server,client.")
    paths = create_keys(folder, wanted)
    if as_json:
        say_json([str(path) for path in paths])
        return
    for path in paths:
        say(f"{path}{'   keep to yourself' if path.suffix == SECRET_ENDING else ''}")
