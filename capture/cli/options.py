"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fluxcap.bridge.client.options import Via
    from fluxcap.bridge.transport.curve import ClientCurve


def _debug(value: bool) -> bool:
    if value:
        os.environ["FLUXCAP_DEBUG"] = "1"
    return value


Debug = Annotated[bool, typer.Option("--debug", callback=_debug, help="Log more; show tracebacks of errors.")]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Settings file. [default: ./fluxcap.toml, else your own]")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Data folder of the running daemon. [default: ./data, else your own]"),
]
Keys = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        envvar="FLUXCAP_KEYS",
        help="Keys for a server that requires them: a folder with server.key and your .key_secret file, or that file.",
    ),
]
NatsCredentials = Annotated[
    Path | None,
    typer.Option(
        "--nats-credentials",
        envvar="FLUXCAP_NATS_CREDENTIALS",
        help="Credentials file for NATS: .creds, an NKey seed, or TOML with user and password, token, ca …",
    ),
]
NatsStream = Annotated[
    str | None,
    typer.Option("--nats-stream", envvar="FLUXCAP_NATS_STREAM", help="Name of the JetStream stream. [default: FLUX]"),
]
ViaLog = Annotated[
    str | None,
    typer.Option(
        "--via",
        envvar="FLUXCAP_VIA",
        help="Read from NATS JetStream, nats://HOST:PORT (several of one cluster with commas), in place of a daemon.",
    ),
]
ControlUrl = Annotated[
    str | None, typer.Option("--control", help="Control address of the daemon. [default: found in its data folder]")
]


def via_of(servers: str | None, credentials: Path | None, stream: str | None) -> Via | None:
    """The servers that ``--via`` names; credentials and stream may also stand in the settings. Raises ConfigError."""
    if servers is None:
        return None
    from fluxcap.bridge.client.options import Via
    from fluxcap.bridge.jetstream.connection import require_nats
    from fluxcap.capture.runtime.settings import load_settings

    require_nats()  # before anything is served or shown
    settings = load_settings(nats_credentials=credentials, nats_stream=stream)
    return Via(servers, settings.nats_credentials, settings.nats_stream)


def curve_of(keys: Path | None) -> ClientCurve | None:
    """The keys that ``--keys`` names. Raises ConfigError."""
    if keys is None:
        return None
    from fluxcap.bridge.transport.curve import client_keys

    return client_keys(keys)


@contextmanager
def progress_bar(text: str) -> Iterator[Callable[[int], Callable[[int], None]]]:
    """Gives ``begin(total) -> advance(done)``. The bar appears with ``begin`` and is gone at the end."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from fluxcap.bridge.terminal.console import SafeConsole, plain

    console = SafeConsole(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:

        def begin(total: int) -> Callable[[int], None]:
            task = progress.add_task(plain(text), total=total)
            return lambda done: progress.advance(task, done)

        yield begin


def as_total_progress(begin: Callable[[int], Callable[[int], None]]) -> Callable[[int, int], None]:
    """Count the same as "so many so far, so many in all"."""
    advance: Callable[[int], None] | None = None
    before = 0

    def show(done: int, total: int) -> None:
        nonlocal advance, before
        advance = advance or begin(total)
        advance(done - before)
        before = done

    return show
