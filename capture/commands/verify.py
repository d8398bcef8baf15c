"""``fluxcap verify``: whether everything that was kept is sound."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from capture.commands.options import Debug, Json


def verify(
    data_dir: Annotated[Path | None, typer.Option(help="Data folder. [default: data]")] = None,
    aside: Annotated[
        bool, typer.Option("--set-aside", help="Rename a damaged store, so that the next start begins a new one.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Check store, tick journal and CSV files from end to end, changing nothing.

    Exit code 0: sound. 1: damage. 2: it cannot be told, for example because the daemon runs. With --set-aside a sound
    store stays where it is, and nothing is ever deleted.
    """
    if aside:
        _set_aside(data_dir, as_json)
        return
    from bridge.verify import Verdict, exit_code
    from capture.commands.progress import progress_bar
    from capture.settings import load_settings
    from capture.verifying import verify_folder

    with progress_bar("Verifying") as begin:
        report = verify_folder(data_dir or load_settings().data_dir, begin)
    code = exit_code(report.findings)
    if as_json:
        found = [{"verdict": f.verdict.name.lower(), "subject": f.subject, "text": f.text} for f in report.findings]
        typer.echo(json.dumps({"verdict": Verdict(code).name.lower(), "checked": report.checked, "findings": found}))
        raise typer.Exit(code)
    marks = {Verdict.SOUND: "note", Verdict.DAMAGE: "DAMAGE", Verdict.CANNOT_TELL: "cannot tell"}
    for finding in report.findings:
        typer.echo(f"{marks[finding.verdict]}: {finding.subject}: {finding.text}")
    words = {Verdict.SOUND: "Sound", Verdict.DAMAGE: "Damaged", Verdict.CANNOT_TELL: "Cannot tell"}
    typer.echo(f"{words[Verdict(code)]}: {', '.join(f'{n} {what}' for what, n in report.checked.items())} checked.")
    raise typer.Exit(code)


def _set_aside(data_dir: Path | None, as_json: bool) -> None:
    from capture.settings import load_settings
    from capture.verifying import set_aside_damaged

    target = set_aside_damaged(data_dir or load_settings().data_dir)
    if as_json:
        typer.echo(json.dumps({"set_aside": str(target) if target else None}))
    elif target is None:
        typer.echo("The store is sound; it stays where it is.")
    else:
        typer.echo(f"The damaged store is now {target}. The next start begins a new one, with sequences from 1.")
