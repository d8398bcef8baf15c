"""Each system's own service manager: systemd of the user on Linux, launchd on macOS, the Task Scheduler on Windows."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, NamedTuple, Protocol

from fluxcap.bridge.system.folders import own_data_dir
from fluxcap.capture.runtime.folders import LOG_FOLDER, own_config_file
from fluxcap.capture.tools.service.texts import (
    LABEL,
    NAME,
    ServiceCommand,
    launchd_plist,
    systemd_unit,
    windows_task,
)
from fluxcap.schemas.errors import ConfigError, FluxcapError

TOOL_TIMEOUT_S = 60.0


class Done(NamedTuple):
    """Exit code of a tool of the system, and its words."""

    code: int
    text: str


Run = Callable[[Sequence[str]], Done]
"""Runs a tool of the system and waits for its end."""


def run_tool(words: Sequence[str]) -> Done:
    """Run a tool of the system. Raises FluxcapError when it does not end."""
    # Into files: a pipe would be open for as long as anything runs that the tool has started.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            done = subprocess.run(  # noqa: S603 - the system's own tools with our words
                words, stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=TOOL_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise FluxcapError(f"{words[0]} did not answer within {TOOL_TIMEOUT_S:g} s; try again.") from None
        except OSError as error:
            return Done(127, error.strerror or str(error))
        return Done(done.returncode, (_read(err) or _read(out)).decode(errors="replace").strip())


class ServiceManager(Protocol):
    """A system's own manager of services. Everything raises FluxcapError with what the system's tool said.

    ``file``: what the manager reads, which is ours to write and remove. ``hint``: how to see what the manager knows.
    """

    file: Path
    hint: str

    def install(self, command: ServiceCommand) -> None:
        """Have it started at each log-in. One that was installed before is replaced."""

    def start(self) -> None:
        """Start it now."""

    def stop(self) -> None:
        """End what the manager still runs of it, after the daemon has ended in order."""

    def remove(self) -> None:
        """Have it started no more."""

    def text(self, command: ServiceCommand) -> bytes:
        """Return what would be written."""

    @property
    def is_installed(self) -> bool:
        """Return whether the manager starts it at log-in."""


class Systemd:
    """The user's own systemd."""

    def __init__(self, run: Run = run_tool, config_home: Path | None = None) -> None:
        self._run = run
        home = config_home or Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        self.file = home / "systemd" / "user" / f"{NAME}.service"
        self.hint = f"systemctl --user status {NAME}"

    def text(self, command: ServiceCommand) -> bytes:
        return systemd_unit(command).encode()

    @property
    def is_installed(self) -> bool:
        return self.file.is_file() and not self._run(["systemctl", "--user", "is-enabled", NAME]).code

    def install(self, command: ServiceCommand) -> None:
        _write(self.file, self.text(command))
        self._systemctl("enable", NAME)
        try:
            self._systemctl("daemon-reload")
        except FluxcapError as error:  # no systemd of this user runs, but the next one reads what is enabled
            raise FluxcapError(
                f"{error} The service is enabled ({self.file}) and starts when you log in next; here and now it is "
                "`fluxcap run`."
            ) from None

    def start(self) -> None:
        self._systemctl("start", NAME)

    def stop(self) -> None:
        self._systemctl("stop", NAME)

    def remove(self) -> None:
        self._run(["systemctl", "--user", "disable", "--now", NAME])  # whatever it says, the file goes
        _remove(self.file)
        self._run(["systemctl", "--user", "daemon-reload"])

    def _systemctl(self, *words: str) -> None:
        if shutil.which("systemctl") is None and self._run is run_tool:
            raise ConfigError("This Linux has no systemd; let its own means start `fluxcap run --log-file FILE`.")
        _require(self._run(["systemctl", "--user", *words]), "systemd of your user")


class Launchd:
    """The launch agents of the user."""

    def __init__(self, run: Run = run_tool, home: Path | None = None, user: int | None = None) -> None:
        self._run = run
        self.file = (home or Path.home()) / "Library" / "LaunchAgents" / f"{LABEL}.plist"
        number = user if user is not None else os.getuid() if sys.platform != "win32" else 0
        self._domain = f"gui/{number}"
        self._target = f"{self._domain}/{LABEL}"
        self.hint = f"launchctl print {self._target}"

    def text(self, command: ServiceCommand) -> bytes:
        return launchd_plist(command)

    @property
    def is_installed(self) -> bool:
        return self.file.is_file()

    def install(self, command: ServiceCommand) -> None:
        self._run(["launchctl", "bootout", self._target])  # the one that was installed before, if there was one
        _write(self.file, self.text(command))

    def start(self) -> None:
        if self._run(["launchctl", "print", self._target]).code:
            self._load()
        else:
            _require(self._run(["launchctl", "kickstart", self._target]), "launchd")

    def stop(self) -> None:
        self._run(["launchctl", "kill", "SIGTERM", self._target])  # fails when it has ended already

    def remove(self) -> None:
        self._run(["launchctl", "bootout", self._target])
        _remove(self.file)

    def _load(self) -> None:
        """It starts as it is loaded."""
        _require(self._run(["launchctl", "bootstrap", self._domain, str(self.file)]), "launchd")


class TaskScheduler:
    """The scheduled tasks of Windows."""

    def __init__(self, run: Run = run_tool, folder: Path | None = None, user: str | None = None) -> None:
        self._run = run
        self.file = (folder or own_data_dir().parent) / f"{NAME}-task.xml"
        self._user = user or "\\".join(filter(None, map(os.environ.get, ("USERDOMAIN", "USERNAME"))))
        self.hint = f"schtasks /Query /TN {NAME} /V /FO LIST"

    def text(self, command: ServiceCommand) -> bytes:
        return windows_task(command, self._user)

    @property
    def is_installed(self) -> bool:
        return not self._run(["schtasks", "/Query", "/TN", NAME]).code

    def install(self, command: ServiceCommand) -> None:
        _write(self.file, self.text(command))
        self._schtasks("/Create", "/TN", NAME, "/XML", str(self.file), "/F")

    def start(self) -> None:
        self._schtasks("/Run", "/TN", NAME)

    def stop(self) -> None:
        self._run(["schtasks", "/End", "/TN", NAME])  # fails when it has ended already

    def remove(self) -> None:
        self._run(["schtasks", "/Delete", "/TN", NAME, "/F"])
        _remove(self.file)

    def _schtasks(self, *words: str) -> None:
        _require(self._run(["schtasks", *words]), "The Task Scheduler")


def manager_of(system: str = sys.platform, run: Run = run_tool) -> ServiceManager:
    """Return the manager of a system, as ``sys.platform`` calls it."""
    if system == "win32":
        return TaskScheduler(run)
    return Launchd(run) if system == "darwin" else Systemd(run)


def service_command(
    data_dir: Path, config: Path | None, log_file: Path | None, *, system: str = sys.platform, python: str | None = None
) -> ServiceCommand:
    """Return what the service starts: this very installation, with everything by its full path.

    Parameters
    ----------
    data_dir
        The data folder.
    config
        The settings file in force; None for the user's own, which is found by itself.
    log_file
        The log file that the settings name; None for one in the data folder.
    system, python
        As ``sys.platform`` and ``sys.executable``.

    The program is Python itself, not the script ``fluxcap``: on Windows the one that opens no window, which starts a
    process that starts the daemon again when it fails.
    """
    program = Path(python or sys.executable)
    start: tuple[str, ...] = ("run",)
    if system == "win32":
        program = program.with_name(program.name.replace("python.exe", "pythonw.exe"))
        start = ("service", "supervise", *start)
    folder = data_dir.absolute()
    words = [str(program), "-P", "-m", "fluxcap.capture.cli", *start, "--data-dir", str(folder)]
    if config is not None:
        words += ["--config", str(config.absolute())]
    log = (log_file or default_log_file(folder)).absolute()
    words += ["--log-file", str(log)]
    return ServiceCommand(tuple(words), folder.parent, log.with_name("launchd.log"))


def default_log_file(data_dir: Path) -> Path:
    """Return where the service logs unless the settings say otherwise."""
    return data_dir / LOG_FOLDER / "fluxcap.log"


def config_of_service(path: Path | None) -> Path | None:
    """Return the settings file that the service has to be told: none where it is the user's own, or none is there."""
    return None if path is None or path == own_config_file() else path


def _read(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def _require(done: Done, who: str) -> None:
    if done.code:
        raise FluxcapError(f"{who} refused (exit code {done.code}): {done.text.rstrip('.') or 'it said nothing'}.")


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}.") from None


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{path} cannot be removed: {error.strerror}.") from None
