"""``fluxcap keys``: key files for talking beyond this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from capture.commands.options import Json


def keys(
    folder: Annotated[Path, typer.Argument(help="Folder for the files; made if it is not there.")] = Path("keys"),
    names: Annotated[str, typer.Option(help="A pair of files for each of these names.")] = "server,client",
    as_json: Json = False,
) -> None:
    """Make CURVE key pairs for server and clients. Existing files are never overwritten.

    Give a client its own secret file and the server's public one; give the server its secret file and, in a folder,
    the public files of the clients it lets in. Secret files stay where they are made.
    """
    from bridge.curve import create_keys
    from schemas.errors import ConfigError

    wanted = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if not wanted or any("/" in name or "\\" in name or name.startswith(".") for name in wanted):
        raise ConfigError(f"{names!r} are no names for key files; write for example server,client.")
    paths = create_keys(folder, wanted)
    if as_json:
        typer.echo(json.dumps([str(path) for path in paths]))
        return
    for path in paths:
        typer.echo(f"{path}{'   keep to yourself' if path.stat().st_mode & 0o077 == 0 else ''}")
