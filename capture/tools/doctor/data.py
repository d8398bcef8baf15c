"""Looks at settings, at the daemon that may run on the data folder, and at the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fluxcap.bridge.http.daemon_client import DaemonClient
from fluxcap.bridge.http.run_file import RunFile, read_run_file
from fluxcap.bridge.store.verify import kept_offset_ms, summarize
from fluxcap.bridge.system.folders import STORE_FILE
from fluxcap.capture.runtime.folders import state_dir
from fluxcap.capture.runtime.settings import Settings, config_file, config_files, load_settings
from fluxcap.capture.runtime.settings_sources import unknown_variables
from fluxcap.capture.tools.doctor.finding import (
    Finding,
    error_finding,
    from_error,
    lookalike,
    no_tab,
    ok,
    warning,
)
from fluxcap.capture.tools.service.systems import ServiceManager
from fluxcap.schemas.errors import ConfigError, FluxcapError, StoreError

ANSWER_S = 1.0


def check_settings(config: Path | None, **options: Any) -> tuple[Finding, Settings]:
    """The settings in effect; the defaults where they cannot be read."""
    try:
        path = config_file(config)
        settings = load_settings(path, **options)
    except ConfigError as error:
        mend = "Correct it; `fluxcap config init` writes a file in which every setting is explained."
        return error_finding("settings", str(error), mend), Settings.model_construct()
    misspelt = unknown_variables()
    if misspelt:
        return warning(
            "settings", f"Nothing reads {', '.join(misspelt)}.", "`fluxcap config show` lists them."
        ), settings
    return ok("settings", f"{_which(path, config)}; `fluxcap config show` shows the values in effect."), settings


def _which(path: Path | None, config: Path | None) -> str:
    """Name the settings file in force, and those that it goes before."""
    if path is None:
        return "No settings file (`fluxcap setup` writes one)"
    hidden = [str(place.path) for place in config_files(config) if place.path.is_file() and place.path != path]
    return f"{path}{f', which goes before {hidden[-1]}' if hidden else ''}"


def check_service(manager: ServiceManager) -> Finding:
    """Say whether the daemon is started at each log-in."""
    try:
        is_installed = manager.is_installed
    except FluxcapError as error:
        return from_error("service", error, is_problem=False)
    if is_installed:
        return ok("service", f"Installed ({manager.file}): fluxcap starts at each log-in; `fluxcap service status`.")
    return ok("service", "Not installed; `fluxcap service install` starts fluxcap at each log-in.")


def running_daemon(data_dir: Path) -> tuple[RunFile | None, dict[str, Any] | None]:
    """The daemon of a data folder and its status; None when there is none or it does not answer."""
    run = read_run_file(data_dir)
    if run is None or run.is_stale():
        return None, None
    try:
        with DaemonClient(run.control, ANSWER_S) as daemon:
            return run, daemon.status()
    except FluxcapError:
        return run, None


def kept_offset(settings: Settings) -> int | None:
    """Return the ms that the platform's stamps were ahead of UTC in earlier runs; None where no store tells."""
    try:
        return kept_offset_ms(settings.data_dir / STORE_FILE, settings.source)
    except StoreError:
        return None


def check_daemon(data_dir: Path, run: RunFile | None, status: dict[str, Any] | None) -> list[Finding]:
    """The daemon itself and, while one runs, what it sees."""
    if run is None:
        left = read_run_file(data_dir)
        ended = (
            f" The last one (process {left.pid}) ended unexpectedly; the next one recovers its data." if left else ""
        )
        return [ok("daemon", f"None runs on {data_dir}.{ended}")]
    if status is None:
        mend = "See its log; stop it and start it again with `fluxcap run`."
        return [error_finding("daemon", f"Process {run.pid} does not answer at {run.control}.", mend)]
    return [
        ok("daemon", f"fluxcap {status['version']} runs, process {status['pid']}, control at {status['control']}."),
        *_seen_by_daemon(status),
    ]


def _seen_by_daemon(status: dict[str, Any]) -> list[Finding]:
    if status["chrome"] != "attached":
        return [from_error("devtools port", Exception(status["chrome_reason"]), is_problem=False)]
    findings = [ok("devtools port", f"{status['browser']} answers on {status['chrome_endpoint']}.")]
    tabs = status["tabs"]
    lookalikes = [lookalike(host) for host in status.get("lookalikes", ())]
    if not tabs:
        return [*findings, *(lookalikes or [no_tab()])]
    findings += lookalikes
    findings.append(ok("platform tab", f"{len(tabs)} open: {tabs[0]['url']}"))
    live = [stream["stream"] for stream in status["streams"] if stream["feed"] == "live"]
    if why := status.get("no_candles"):
        text, _, mend = why.partition(". ")
        findings.append(warning("candles", f"{text.rstrip('.')}.", mend or "`fluxcap status` shows details."))
    for asset, kind in status.get("accounts", {}).items():
        text = f"A demo and a real account bring {asset}; only the {kind} one counts."
        findings.append(warning("accounts", text, "Close the tab of the account that you do not want."))
    if live:
        findings.append(ok("platform socket", f"Data arrives: {len(live)} live, {live[0]} among them."))
    else:
        mend = "Log in on the page and choose an asset whose price moves; `fluxcap status` shows details."
        findings.append(warning("platform socket", "No stream is live.", mend))
    if status["clock"] == "clock in question":
        mend = "Set this computer's clock (NTP), then `fluxcap reload`; `fluxcap status` shows what is in question."
        findings.append(error_finding("platform clock", status["clock_reason"], mend))
    elif status["clock"] == "synchronised":
        findings.append(ok("platform clock", status["clock_reason"]))
    else:
        findings.append(from_error("platform clock", Exception(status["clock_reason"]), is_problem=False))
    return findings


def check_store(data_dir: Path, status: dict[str, Any] | None) -> Finding:
    """Light: whether it is a whole store with dense streams."""
    path = data_dir / STORE_FILE
    if status is not None:
        if status["store_trouble"]:
            return error_finding(
                "store", status["store_trouble"], "Nothing is published until it can be written again."
            )
        return ok("store", f"{path} is in use by the running fluxcap; streams: {len(status['streams'])}.")
    if not path.is_file():
        return ok("store", f"{path} does not exist yet; `fluxcap run` creates it.")
    try:
        seen = summarize(path, state_dir())
    except StoreError as error:
        return from_error("store", error)
    return ok("store", f"{path}: {seen.streams} streams, {seen.candles:,} candles, {seen.bytes / 1e6:.1f} MB.")
