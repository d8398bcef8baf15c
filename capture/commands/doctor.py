"""``fluxcap doctor``: whether all is there that a capture needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from capture.commands.options import ConfigOption, Debug, Json

_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


def doctor(
    chrome: Annotated[
        str | None, typer.Option(help="Where Chrome's DevTools listen, HOST:PORT. [default: 127.0.0.1:9222]")
    ] = None,
    platform: Annotated[str | None, typer.Option(help="Trading platform. [default: pocketoption]")] = None,
    platform_url: Annotated[
        list[str] | None, typer.Option(help="A further page or socket host of the platform; * allowed; repeatable.")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where store and files live. [default: data]")] = None,
    as_json: Json = False,
    config: ConfigOption = None,
    debug: Debug = False,
) -> None:
    """Check Chrome, the platform's tab, ports, disk, clocks, store and versions, and say how to mend what is wrong.

    Changes nothing, and works with nothing running. Exit code 1 when there is a problem, 0 with warnings alone.
    """
    import msgspec

    from capture.doctor.examine import examine
    from capture.doctor.finding import exit_code

    options = {"chrome": chrome, "platform": platform, "platform_url": platform_url or None, "data_dir": data_dir}
    findings = examine(config, **options)
    if as_json:
        typer.echo(msgspec.json.encode(findings).decode())
        raise typer.Exit(exit_code(findings))
    from rich.console import Console
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for _ in range(3):
        table.add_column(overflow="fold")
    for finding in findings:
        colour = _COLOURS[finding.verdict.value]
        table.add_row(f"[{colour}]{finding.verdict.value}[/]", finding.subject, finding.text)
        if finding.mend:
            table.add_row("", "", f"[bold]→ {finding.mend}[/]")
    Console().print(table)
    raise typer.Exit(exit_code(findings))
