"""``fluxcap forward``: a daemon's batches and revisions to NATS JetStream, and the stream there that keeps them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fluxcap.capture.cli.options import Debug, Json, Keys, NatsCredentials, NatsStream, ViaLog, curve_of, via_of
from fluxcap.capture.runtime.output import say, say_json


def forward(
    servers: Annotated[
        str, typer.Argument(help="NATS servers, nats://HOST:PORT; several of one cluster with commas; tls:// for TLS.")
    ],
    setup: Annotated[
        bool, typer.Option("--setup", help="Create the JetStream stream, or show where it differs; forward nothing.")
    ] = False,
    replicas: Annotated[
        int | None, typer.Option(min=1, max=5, help="With --setup: number of servers that keep a copy. [default: 1]")
    ] = None,
    max_age: Annotated[
        str | None, typer.Option(help="With --setup: delete older messages, such as 30d; 0 keeps all. [default: 0]")
    ] = None,
    max_bytes: Annotated[
        str | None,
        typer.Option(help="With --setup: delete the oldest beyond this, such as 20G; 0: no limit. [default: 0]"),
    ] = None,
    duplicate_window: Annotated[
        str | None, typer.Option(help="With --setup: how long message ids are remembered. [default: 2m]")
    ] = None,
    change: Annotated[
        bool, typer.Option("--change", help="With --setup: change an existing stream that differs.")
    ] = False,
    stream: NatsStream = None,
    credentials: NatsCredentials = None,
    once: Annotated[bool, typer.Option("--once", help="Exit when everything in the store has been forwarded.")] = False,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Data folder of the daemon; what was forwarded is remembered there. [default: ./data, else your own]"
        ),
    ] = None,
    pub: Annotated[str | None, typer.Option(help="Its PUB endpoint. [default: found in the data folder]")] = None,
    rep: Annotated[str | None, typer.Option(help="Its request endpoint. [default: found in the data folder]")] = None,
    keys: Keys = None,
    log_json: Annotated[bool, typer.Option("--log-json", help="Log as JSON lines.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Put every batch and revision of a daemon on NATS JetStream, in order and once each, until Ctrl-C.

    Listens to the running daemon; of a stopped one it forwards what its store has, and ends. `fluxcap run --forward`
    does the same within the daemon. The stream must be there: make it once with --setup.
    """
    from fluxcap.bridge.jetstream.address import parse_address
    from fluxcap.capture.runtime.settings import load_settings

    settings = load_settings(
        data_dir=data_dir, nats_credentials=credentials, nats_stream=stream, log_json=log_json or None
    )
    address = parse_address(servers, settings.nats_credentials)
    if setup:
        from fluxcap.bridge.jetstream.admin import StreamConfig, parse_bytes, parse_duration_ns

        wanted = StreamConfig(
            replicas=replicas,
            max_age_ns=None if max_age is None else parse_duration_ns(max_age),
            max_bytes=None if max_bytes is None else parse_bytes(max_bytes),
            duplicate_window_ns=None if duplicate_window is None else parse_duration_ns(duplicate_window),
        )
        raise typer.Exit(_set_up(address, wanted, settings.nats_stream, change=change, as_json=as_json))
    from fluxcap.capture.daemon.forward_standalone import ForwardTarget, forward_standalone

    target = ForwardTarget(address, settings.nats_stream, settings.data_dir, pub, rep, curve_of(keys))
    view, code = forward_standalone(target, once=once, log_json=settings.log_json, debug=debug)
    if as_json:
        say_json(view)
    raise typer.Exit(code)


def _set_up(address: Any, wanted: Any, stream: str, *, change: bool, as_json: bool) -> int:
    """Exit code: 0 the stream is as wanted, 1 it differs."""
    import asyncio

    import msgspec

    from fluxcap.bridge.jetstream.admin import set_up

    result = asyncio.run(set_up(address, wanted, stream, change=change))
    if as_json:
        say_json(msgspec.to_builtins(result))
        return 1 if result.differences else 0
    say(f"{result.stream}: {result.done.value}; {describe(result.settings)}.")
    for difference in result.differences:
        hint = "" if difference.fixable else " (cannot be changed; make another stream with --stream)"
        say(f"  {difference.setting} is {difference.is_}, should be {difference.should_be}{hint}")
    if not change and any(difference.fixable for difference in result.differences):
        say("Run it again with --change to change that.")
    return 1 if result.differences else 0


def describe(settings: dict[str, Any]) -> str:
    """A stream's settings in words."""
    from fluxcap.bridge.jetstream.admin import duration_text

    replicas = settings.get("num_replicas", 1)
    most = settings.get("max_bytes", -1)
    kept = f"{most:,} bytes at most" if most > 0 else "no limit of bytes"
    copies = "1 copy, as safe as that one server" if replicas == 1 else f"{replicas} copies"
    age = duration_text(settings.get("max_age", 0))
    window = duration_text(settings.get("duplicate_window", 0))
    return f"{copies}, in {settings.get('storage')}, age: {age}, {kept}, ids remembered for {window}"


def archive(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the archive; made if absent.", show_default=False)
    ],
    via: ViaLog = None,
    source: Annotated[str | None, typer.Option(help="Only this source. [default: all]")] = None,
    symbol: Annotated[str | None, typer.Option(help="Only this symbol. [default: all]")] = None,
    once: Annotated[bool, typer.Option("--once", help="Exit when everything now in JetStream is archived.")] = False,
    flush_seconds: Annotated[
        float, typer.Option(min=0, help="Write the files when candles have waited this long.")
    ] = 60.0,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Read JetStream again from the start, such as after a lost file.")
    ] = False,
    stream: NatsStream = None,
    credentials: NatsCredentials = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Keep the candles of NATS JetStream as Parquet, for DuckDB, Polars or Spark, until Ctrl-C.

    One file per source, symbol, day and interval, each candle once and as its newest revision has it. Files are
    replaced whole, so that they may be read at any time; killed at any time, it goes on where it was.
    """

    from fluxcap.bridge.archive.archiver import Archiver
    from fluxcap.bridge.system.signals import catch_stop_signals, exit_code
    from fluxcap.schemas.errors import ConfigError

    way = via_of(via, credentials, stream)
    if way is None:
        raise ConfigError("Name the NATS server to archive from with --via nats://HOST:PORT.")

    def tell(text: str) -> None:
        say(f"fluxcap: {text}", err=True)

    archiver = Archiver(way, out, source=source, symbol=symbol, flush_s=flush_seconds, tell=tell)
    with catch_stop_signals() as asked:
        state = archiver.run(once=once, from_start=from_start, stopping=lambda: asked)
    if as_json:
        say_json(state)
    else:
        say(f"Archived {state.rows:,} rows in {state.files:,} files to {out}, up to message {state.position:,}.")
    raise typer.Exit(exit_code(asked))
