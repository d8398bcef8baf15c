"""``fluxcap setup``: from nothing to the first ticks. Finds browsers, writes settings, starts the daemon, looks on.

The questions are asked by the caller; here is what is found, what an answer means, and what is seen then.
"""

from __future__ import annotations

import enum
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from fluxcap.bridge.http.daemon_client import DaemonClient
from fluxcap.bridge.http.run_file import RunFile
from fluxcap.capture.chrome.browsers import Installed
from fluxcap.capture.chrome.launch import default_profile
from fluxcap.capture.pipeline.browser import NOT_TRIED
from fluxcap.capture.runtime.folders import own_config_file
from fluxcap.capture.runtime.settings import Settings, config_files, load_settings
from fluxcap.capture.runtime.settings_sources import change_settings
from fluxcap.capture.tools.running import await_daemon, start_in_background, stop_daemon
from fluxcap.capture.tools.service.systems import config_of_service, default_log_file, service_command
from fluxcap.schemas.errors import FluxcapError

START_S = 60.0
FIRST_TICKS = 5
POLL_S = 0.5
CONSENT_PAGE = "chrome://inspect/#remote-debugging"


class Way(enum.StrEnum):
    """The browser that is read."""

    OWN = "own"
    """One with a profile of fluxcap's own, started and kept open by the daemon: it works unattended."""
    EVERYDAY = "everyday"
    """The one that the user uses every day, by its consent."""


class Choice(msgspec.Struct, frozen=True):
    """The answers. ``profile``: a folder that was named; None for the usual one. ``page``: None as it is set now."""

    browser: Installed
    way: Way
    profile: Path | None = None
    page: str | None = None
    platform_url: tuple[str, ...] = ()


class FirstTick(msgspec.Struct, frozen=True):
    """A tick that was seen; ``ts_ms``: UTC."""

    symbol: str
    ts_ms: int
    price: float


class SetupResult(msgspec.Struct, frozen=True):
    """The outcome of a set-up. ``pid``: of the daemon in the background, None when none was started."""

    settings_file: str
    browser: str
    way: Way
    data_dir: str
    log_file: str
    pid: int | None = None
    control: str = ""
    ticks: int = 0


def settings_of(choice: Choice) -> dict[str, Any]:
    """Return what the settings file is to say; None takes a setting out."""
    browser = choice.browser
    usual = default_profile(browser.program)
    profile = choice.profile
    if choice.way is Way.OWN and profile is None and usual != default_profile():
        profile = usual  # a snap may not write in the usual place
    return {
        "browser": browser.name if browser.profile != Path() else str(browser.program),
        "consent": choice.way is Way.EVERYDAY,
        "keep_chrome": choice.way is Way.OWN,
        "chrome_profile": profile.absolute() if profile is not None else None,
        **({"page": choice.page} if choice.page is not None else {}),
        **({"platform_url": choice.platform_url} if choice.platform_url else {}),
    }


def write_settings(choice: Choice) -> Path:
    """Write the choice into the user's own settings file; returns it. Raises ConfigError."""
    path = own_config_file()
    change_settings(path, settings_of(choice))
    return path


def overridden_by() -> Path | None:
    """Return the settings file that goes before the user's own in this folder; None when none does."""
    first = next((place.path for place in config_files() if place.path.is_file()), None)
    return None if first is None or first == own_config_file() else first


def start_daemon(settings: Settings, config: Path | None) -> RunFile:
    """Start the daemon in the background, in the place of one that runs. Raises FluxcapError."""
    stop_daemon(settings.data_dir)
    command = service_command(settings.data_dir, config_of_service(config), settings.log_file, system="posix")
    process = start_in_background(command.words, Path(command.folder))
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s:
        if (run := await_daemon(settings.data_dir, POLL_S)) is not None:
            return run
        if process.poll() is not None:
            break
    raise FluxcapError(f"fluxcap did not start: {_last_line(log_file_of(settings))}")


def open_in_browser(browser: Installed, *pages: str) -> None:
    """Open pages in the browser that runs, or in a new one, with its everyday profile. Raises FluxcapError."""
    try:
        subprocess.Popen(  # noqa: S603 - the user's own browser
            [str(browser.program), *pages],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise FluxcapError(f"{browser.program} cannot be started: {error.strerror}.") from None


def log_file_of(settings: Settings) -> Path:
    """Return the file to which a daemon in the background logs."""
    return (settings.log_file or default_log_file(settings.data_dir)).absolute()


def looked_on(
    status: Callable[[], dict[str, Any]],
    wait_s: float | None,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[str | FirstTick]:
    """Yield what keeps ticks from coming, whenever that changes, then the first ticks; at the end of ``wait_s`` none.

    status: the daemon's. wait_s: seconds; None for as long as it takes.
    """
    begun_s = clock()
    told = ""
    seen: dict[str, int] = {}
    count = 0
    while count < FIRST_TICKS:
        state = status()
        for asset in state["assets"]:
            if asset["focused"] and asset["last_tick_ts_ms"] > seen.get(asset["symbol"], 0) and count < FIRST_TICKS:
                seen[asset["symbol"]] = asset["last_tick_ts_ms"]
                count += 1
                yield FirstTick(asset["symbol"], asset["last_tick_ts_ms"], asset["last_price"])
        reason = state["no_candles"] or state["chrome_reason"]
        if not seen and reason not in ("", told, NOT_TRIED):
            told = reason
            yield reason
        if wait_s is not None and clock() - begun_s >= wait_s:
            return
        if count < FIRST_TICKS:
            sleep(POLL_S)


def daemon_status(run: RunFile) -> Callable[[], dict[str, Any]]:
    """Return the function that asks a daemon for its status."""
    client = DaemonClient(run.control, 10.0)
    return client.status


def tick_text(tick: FirstTick) -> str:
    """``12:00:01.500 UTC  EURUSD_otc  1.16123``."""
    when = datetime.fromtimestamp(tick.ts_ms / 1_000, UTC).strftime("%H:%M:%S.%f")[:-3]
    return f"{when} UTC  {tick.symbol}  {tick.price:.10g}"


def settings_in_force(data_dir: Path | None) -> Settings:
    """Return the settings as a start from here would take them."""
    return load_settings(None, data_dir=data_dir)


def _last_line(log_file: Path) -> str:
    try:
        lines = log_file.read_text("utf-8", "replace").strip().splitlines()
    except OSError:
        lines = []
    return f"{lines[-1].strip()} ({log_file})" if lines else f"see {log_file}"
