"""The daemon as a service of this user: installed, started, stopped, looked at and removed."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from fluxcap.bridge.http.run_file import RunFile
from fluxcap.capture.runtime.settings import Settings, config_file, load_settings
from fluxcap.capture.tools.running import await_daemon, running_daemon, stop_daemon
from fluxcap.capture.tools.service.systems import (
    ServiceManager,
    config_of_service,
    default_log_file,
    manager_of,
    service_command,
)
from fluxcap.capture.tools.service.texts import ServiceCommand
from fluxcap.schemas.errors import FluxcapError

START_S = 30.0
"""How long a start is awaited: Python, its libraries and the store."""
_TAKEN_OVER = ("FLUXCAP_CONFIG", "FLUXCAP_DEBUG")


class Started(msgspec.Struct, frozen=True):
    """The daemon that an installation or a start has led to. ``stopped``: the process of the one that ran before."""

    run: RunFile | None
    stopped: int | None


class ServiceView(msgspec.Struct, frozen=True):
    """State of the service. ``pid``: of the daemon that runs on its data folder, whoever started it."""

    installed: bool
    file: str
    pid: int | None
    control: str
    data_dir: str
    log_file: str
    hint: str


class Service:
    """The service of one data folder.

    Parameters
    ----------
    config
        The settings file that was named; None for the one in force.
    data_dir
        The data folder that was named; None for the one that the settings name.
    manager
        The system's; another one for a test.
    """

    def __init__(
        self, config: Path | None = None, data_dir: Path | None = None, manager: ServiceManager | None = None
    ) -> None:
        self._config = config_file(config)
        self.settings: Settings = load_settings(config, data_dir=data_dir)
        self.manager = manager or manager_of()

    @property
    def command(self) -> ServiceCommand:
        """The command that the system starts."""
        return service_command(self.settings.data_dir, config_of_service(self._config), self.settings.log_file)

    @property
    def log_file(self) -> Path:
        return self.settings.log_file or default_log_file(self.settings.data_dir.absolute())

    @property
    def left_out(self) -> list[str]:
        """Variables of this shell that set something: a service does not have them."""
        return sorted(name for name in os.environ if name.startswith(("FLUXCAP_", "FLUX_")) and name not in _TAKEN_OVER)

    def text(self) -> str:
        """Text that the system is given, to look at."""
        content = self.manager.text(self.command)
        return content.decode("utf-16" if content.startswith(b"\xff\xfe") else "utf-8").strip()

    def install(self, *, and_start: bool) -> Started:
        """Have the system start it at each log-in, and now. Raises FluxcapError."""
        _make(self.settings.data_dir)
        self.manager.install(self.command)
        if not and_start:
            return Started(None, None)
        stopped = stop_daemon(self.settings.data_dir)
        self.manager.start()
        return Started(self._await_start(), stopped)

    def start(self) -> Started:
        """Start it now. Raises FluxcapError when it is not installed, or does not start."""
        if not self.manager.is_installed:
            raise FluxcapError("The service is not installed; `fluxcap service install` does it.")
        run = running_daemon(self.settings.data_dir)
        if run is not None:
            return Started(run, None)
        self.manager.start()
        return Started(self._await_start(), None)

    def stop(self) -> int | None:
        """End the daemon in order, until the next log-in or start; returns its process, None when none ran."""
        pid = stop_daemon(self.settings.data_dir)
        if self.manager.is_installed:
            self.manager.stop()
        return pid

    def remove(self) -> bool:
        """End it and have it started no more; returns whether it was installed. What it stored stays."""
        was_installed = self.manager.is_installed
        stop_daemon(self.settings.data_dir)
        self.manager.remove()
        return was_installed

    def view(self) -> ServiceView:
        run = running_daemon(self.settings.data_dir)
        return ServiceView(
            installed=self.manager.is_installed,
            file=str(self.manager.file),
            pid=run.pid if run else None,
            control=run.control if run else "",
            data_dir=str(self.settings.data_dir.absolute()),
            log_file=str(self.log_file),
            hint=self.manager.hint,
        )

    def _await_start(self) -> RunFile:
        run = await_daemon(self.settings.data_dir, START_S)
        if run is None:
            raise FluxcapError(
                f"The service was started, but no fluxcap answers after {START_S:g} s; see {self.log_file}, or "
                f"`{self.manager.hint}`."
            )
        return run


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FluxcapError(f"The data folder {folder} cannot be made: {error.strerror}.") from None
