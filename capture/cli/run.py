"""``fluxcap run``: the daemon, in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fluxcap.capture.cli.options import ConfigOption, ControlUrl, DataDir, Debug
from fluxcap.capture.runtime.output import say

CHROME, CANDLES, FILES, WEB = ("Chrome and platform", "Candles", "Store and files", "Web")
WIRE, NATS, LATENESS, ALERTS = ("Wire", "NATS JetStream", "Late ticks and breaks", "Alerts")
"""Headings of the options in ``fluxcap run --help``, in the order of need."""


def run(
    chrome: Annotated[
        str | None,
        typer.Option(
            help="Where Chrome's DevTools listen, HOST:PORT. [default: 127.0.0.1:9222]", rich_help_panel=CHROME
        ),
    ] = None,
    chrome_profile: Annotated[
        Path | None,
        typer.Option(
            help="Chrome's profile folder: used to find Chrome when it restarts on another port, or to find the one "
            "that is asked for consent.",
            rich_help_panel=CHROME,
        ),
    ] = None,
    consent: Annotated[
        bool | None,
        typer.Option(
            "--consent/--no-consent",
            help="Read the browser that you use every day: it asks you for consent, once each time it starts. "
            "[default: no]",
            rich_help_panel=CHROME,
        ),
    ] = None,
    browser: Annotated[
        str | None,
        typer.Option(
            help="Browser to start: chrome, chromium, edge, brave, opera, vivaldi, or a program. "
            "[default: the first that is installed]",
            rich_help_panel=CHROME,
        ),
    ] = None,
    page: Annotated[
        str | None,
        typer.Option(
            help="Trading page that a new Chrome opens. [default: https://pocketoption.com/]", rich_help_panel=CHROME
        ),
    ] = None,
    keep_chrome: Annotated[
        bool | None,
        typer.Option(
            "--keep-chrome/--no-keep-chrome",
            help="Start Chrome, with a profile of its own, whenever there is none, with the page it had last. "
            "[default: no]",
            rich_help_panel=CHROME,
        ),
    ] = None,
    platform: Annotated[
        str | None, typer.Option(help="Trading platform. [default: pocketoption]", rich_help_panel=CHROME)
    ] = None,
    platform_url: Annotated[
        list[str] | None,
        typer.Option(
            help="A further page or socket host of the platform; * allowed; repeatable.", rich_help_panel=CHROME
        ),
    ] = None,
    focus: Annotated[
        str | None,
        typer.Option(
            help="Assets to lock, comma-separated. Without it: the asset the page shows, and those it showed before as "
            "long as it sends them.",
            rich_help_panel=CANDLES,
        ),
    ] = None,
    interval: Annotated[
        str | None, typer.Option(help="Candle length: 5s, 1m, 1h… [default: 1m]", rich_help_panel=CANDLES)
    ] = None,
    timeframes: Annotated[
        str | None,
        typer.Option(
            help="Longer intervals to make of the same candles, comma-separated, in UTC; empty for none. "
            "[default: 5m,15m,1h,4h]",
            rich_help_panel=CANDLES,
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(help="Name of this source on the wire. [default: POCKETOPTION]", rich_help_panel=CANDLES),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Where store and files live. [default: ./data, else your own]", rich_help_panel=FILES),
    ] = None,
    retention_days: Annotated[
        int | None,
        typer.Option(help="Delete candles older than this many days; 0 keeps all. [default: 0]", rich_help_panel=FILES),
    ] = None,
    collect: Annotated[
        str | None,
        typer.Option(
            "--collect",
            "--collect-stream",
            help="CSV files: tick, candle, both or none. [default: none]",
            rich_help_panel=FILES,
        ),
    ] = None,
    csv_timeframes: Annotated[
        str | None,
        typer.Option(
            help="Longer intervals whose candles go to CSV files, too, comma-separated. [default: none]",
            rich_help_panel=FILES,
        ),
    ] = None,
    tick_chunk_size: Annotated[
        int | None, typer.Option(help="Ticks a CSV file. [default: 1000]", rich_help_panel=FILES)
    ] = None,
    candle_chunk_size: Annotated[
        int | None, typer.Option(help="Candles a CSV file. [default: 100]", rich_help_panel=FILES)
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(help="Record market frames to this new file, for `fluxcap replay`.", rich_help_panel=FILES),
    ] = None,
    web: Annotated[
        bool | None, typer.Option("--web/--no-web", help="Serve dashboard and Socket.IO.", rich_help_panel=WEB)
    ] = None,
    web_host: Annotated[
        str | None,
        typer.Option(
            help="Address of the web server; beyond 127.0.0.1, anyone who reaches it can use it.", rich_help_panel=WEB
        ),
    ] = None,
    web_port: Annotated[
        int | None, typer.Option(help="Port of the web server. [default: 3001]", rich_help_panel=WEB)
    ] = None,
    web_origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Another origin whose pages may use the web server, http://localhost:5000; repeatable.",
            rich_help_panel=WEB,
        ),
    ] = None,
    control_port: Annotated[
        int | None, typer.Option(help="Control port while the web is off. [default: 3001]", rich_help_panel=WEB)
    ] = None,
    pub: Annotated[
        str | None, typer.Option(help="PUB endpoint. [default: tcp://127.0.0.1:5556]", rich_help_panel=WIRE)
    ] = None,
    rep: Annotated[
        str | None, typer.Option(help="Request endpoint. [default: tcp://127.0.0.1:5557]", rich_help_panel=WIRE)
    ] = None,
    curve: Annotated[
        Path | None,
        typer.Option(
            help="Keys for both, needed beyond this machine: a folder made by `fluxcap keys`, whose public files name "
            "the allowed clients, or the server's secret file, which allows every client that knows its public key.",
            rich_help_panel=WIRE,
        ),
    ] = None,
    publish_ticks: Annotated[
        bool | None,
        typer.Option(
            "--publish-ticks/--no-publish-ticks", help="Also publish every tick. [default: no]", rich_help_panel=WIRE
        ),
    ] = None,
    forward: Annotated[
        str | None,
        typer.Option(
            help="Also publish to NATS JetStream: nats://HOST:PORT; several of one cluster with commas.",
            rich_help_panel=NATS,
        ),
    ] = None,
    nats_credentials: Annotated[
        Path | None,
        typer.Option(
            help="Credentials file for NATS: .creds, an NKey seed, or TOML with user and password …",
            rich_help_panel=NATS,
        ),
    ] = None,
    nats_stream: Annotated[
        str | None, typer.Option(help="Name of the JetStream stream. [default: FLUX]", rich_help_panel=NATS)
    ] = None,
    allowed_lateness_ms: Annotated[
        int | None,
        typer.Option(
            "--allowed-lateness-ms",
            "--grace-ms",
            help="How long to wait for a minute's late ticks before it is sealed. [default: 2000]",
            rich_help_panel=LATENESS,
        ),
    ] = None,
    idle_timeout_ms: Annotated[
        int | None,
        typer.Option(
            "--idle-timeout-ms",
            "--doubt-ms",
            help="How long to wait for a silent feed before a minute counts as a gap. [default: 10000]",
            rich_help_panel=LATENESS,
        ),
    ] = None,
    history_wait_ms: Annotated[
        int | None,
        typer.Option(
            help="How long to wait for the page's history after a break. [default: 10000]", rich_help_panel=LATENESS
        ),
    ] = None,
    alert_after_s: Annotated[
        int | None,
        typer.Option(
            help="How long capture may be blind before that is told, seconds. [default: 20]", rich_help_panel=ALERTS
        ),
    ] = None,
    alert_quiet_hours: Annotated[
        str | None,
        typer.Option(
            help="Local times in which nothing is told: 22:00-07:00, several with commas.", rich_help_panel=ALERTS
        ),
    ] = None,
    alert_mute: Annotated[
        str | None,
        typer.Option(help="Kinds of alerts that are never told, with commas: disk,csv …", rich_help_panel=ALERTS),
    ] = None,
    config: ConfigOption = None,
    log_json: Annotated[bool | None, typer.Option("--log-json", help="Log as JSON lines.")] = None,
    log_file: Annotated[
        Path | None,
        typer.Option(help="Log to this file, too; at 10 MB it is turned over, and five older ones are kept."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Attach to Chrome, form candles, keep and publish them, until Ctrl-C.

    Chrome need not run yet: start it with `fluxcap chrome`, open the trading page, and it is picked up by itself.
    """
    from fluxcap.capture.daemon.foreground import run_daemon
    from fluxcap.capture.runtime.settings import load_settings

    settings = load_settings(
        config,
        chrome=chrome,
        chrome_profile=chrome_profile,
        consent=consent,
        browser=browser,
        page=page,
        keep_chrome=keep_chrome,
        platform=platform,
        platform_url=platform_url,
        focus=focus,
        interval=interval,
        timeframes=timeframes,
        source=source,
        collect=collect,
        csv_timeframes=csv_timeframes,
        tick_chunk_size=tick_chunk_size,
        candle_chunk_size=candle_chunk_size,
        data_dir=data_dir,
        record=record,
        pub=pub,
        rep=rep,
        curve=curve,
        forward=forward,
        nats_credentials=nats_credentials,
        nats_stream=nats_stream,
        publish_ticks=publish_ticks,
        retention_days=retention_days,
        web=web,
        web_host=web_host,
        web_port=web_port,
        web_origin=web_origin,
        control_port=control_port,
        log_json=log_json,
        log_file=log_file,
        allowed_lateness_ms=allowed_lateness_ms,
        idle_timeout_ms=idle_timeout_ms,
        history_wait_ms=history_wait_ms,
        alert_after_s=alert_after_s,
        alert_quiet_hours=alert_quiet_hours,
        alert_mute=alert_mute,
    )
    raise typer.Exit(run_daemon(settings, debug=debug))


def chrome(
    port: Annotated[int, typer.Option(min=0, max=65_535, help="DevTools port, loopback only.")] = 9222,
    profile: Annotated[
        Path | None, typer.Option(help="Profile folder of its own. [default: one in your data folder]")
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Without a window.")] = False,
    url: Annotated[str | None, typer.Option(help="Page to open. [default: `page` of the settings]")] = None,
    browser: Annotated[str | None, typer.Option(help="As of `fluxcap run`. [default: as in the settings]")] = None,
    ask: Annotated[
        bool,
        typer.Option(
            "--ask",
            help="Start none: have `fluxcap run --consent` ask the browser that you use every day once more, after "
            "Cancel or a dialog that was missed.",
        ),
    ] = False,
    data_dir: DataDir = None,
    control: ControlUrl = None,
) -> None:
    """Start Chrome with a profile of its own and the DevTools port open, and leave it running.

    Log in to the platform there once; the profile remembers it. Your everyday profile cannot be used this way, since
    Chrome ignores the DevTools port on it: `fluxcap run --consent` reads that one, by your consent.
    """
    if ask:
        _ask_for_consent(data_dir, control)
        return
    from fluxcap.capture.chrome.launch import default_profile, find_chrome, start_chrome
    from fluxcap.capture.runtime.settings import load_settings

    settings = load_settings()
    program = find_chrome(browser or settings.browser)
    named = None if settings.consent else settings.chrome_profile
    folder = profile or named or default_profile(program)
    started = start_chrome(port=port, profile=folder, headless=headless, url=url or settings.page, executable=program)
    say(f"Chrome runs (process {started.pid}), DevTools on 127.0.0.1:{started.port}, profile {folder}.")


def _ask_for_consent(data_dir: Path | None, control: str | None) -> None:
    """Have the running daemon ask; without one, leave word for the next."""
    from fluxcap.capture.pipeline.consent import ConsentFile
    from fluxcap.capture.runtime.discovery import find_daemon
    from fluxcap.capture.runtime.settings import load_settings
    from fluxcap.schemas.errors import NotAnswering

    try:
        with find_daemon(data_dir, control) as daemon:
            seen = daemon.ask_for_consent()
    except NotAnswering as error:
        if control:
            raise
        file = ConsentFile(data_dir or load_settings().data_dir)
        file.write(file.read().wanting())
        say(f"{error} The next `fluxcap run --consent` may ask at once.")
    else:
        say(f"Chrome: {seen['chrome']}. {seen['chrome_reason']}".rstrip())
