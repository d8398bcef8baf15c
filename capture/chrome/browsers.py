"""Browsers of Chrome's engine on this machine: their programs, and the profiles that people use every day.

Looked for on PATH, in the registry of Windows (App Paths), and where each system's installers put them. Nothing is
started here, and no profile is opened.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from fluxcap.schemas.errors import ChromeUnavailable, ConfigError


class Installed(msgspec.Struct, frozen=True):
    """A browser that was found. ``profile``: the folder of its everyday profiles, whether or not it is there."""

    name: str
    """One word, as in the setting ``browser``."""
    label: str
    program: Path
    profile: Path


class _Kind(msgspec.Struct, frozen=True):
    """One make of browser, and where it is on each system. Paths are written with ``/``."""

    name: str
    label: str
    on_path: tuple[str, ...]
    linux: tuple[str, ...]
    linux_profile: str
    mac: str
    mac_profile: str
    app_path: str
    """Its name among the App Paths of the registry; "" for one that registers none of its own."""
    windows: tuple[str, ...]
    windows_profile: str


_KINDS = (
    _Kind(
        "chrome",
        "Google Chrome",
        ("google-chrome-stable", "google-chrome", "chrome"),
        ("/opt/google/chrome/chrome",),
        "google-chrome",
        "Google Chrome",
        "Google/Chrome",
        "chrome.exe",
        ("Google/Chrome/Application/chrome.exe",),
        "LOCALAPPDATA/Google/Chrome/User Data",
    ),
    _Kind(
        "chromium",
        "Chromium",
        ("chromium", "chromium-browser"),
        ("/snap/bin/chromium",),
        "chromium",
        "Chromium",
        "Chromium",
        "",
        ("Chromium/Application/chrome.exe",),
        "LOCALAPPDATA/Chromium/User Data",
    ),
    _Kind(
        "edge",
        "Microsoft Edge",
        ("microsoft-edge-stable", "microsoft-edge"),
        ("/opt/microsoft/msedge/msedge",),
        "microsoft-edge",
        "Microsoft Edge",
        "Microsoft Edge",
        "msedge.exe",
        ("Microsoft/Edge/Application/msedge.exe",),
        "LOCALAPPDATA/Microsoft/Edge/User Data",
    ),
    _Kind(
        "brave",
        "Brave",
        ("brave-browser-stable", "brave-browser", "brave"),
        ("/opt/brave.com/brave/brave", "/snap/bin/brave"),
        "BraveSoftware/Brave-Browser",
        "Brave Browser",
        "BraveSoftware/Brave-Browser",
        "brave.exe",
        ("BraveSoftware/Brave-Browser/Application/brave.exe",),
        "LOCALAPPDATA/BraveSoftware/Brave-Browser/User Data",
    ),
    _Kind(
        "opera",
        "Opera",
        ("opera-stable", "opera"),
        ("/usr/lib/x86_64-linux-gnu/opera-stable/opera", "/snap/bin/opera"),
        "opera",
        "Opera",
        "com.operasoftware.Opera",
        "opera.exe",
        ("Programs/Opera/opera.exe", "Opera/opera.exe", "Programs/Opera/launcher.exe", "Opera/launcher.exe"),
        "APPDATA/Opera Software/Opera Stable",
    ),
    _Kind(
        "vivaldi",
        "Vivaldi",
        ("vivaldi-stable", "vivaldi"),
        ("/opt/vivaldi/vivaldi",),
        "vivaldi",
        "Vivaldi",
        "Vivaldi",
        "vivaldi.exe",
        ("Vivaldi/Application/vivaldi.exe",),
        "LOCALAPPDATA/Vivaldi/User Data",
    ),
)
"""In the order in which they are preferred."""
NAMES = tuple(kind.name for kind in _KINDS)
PROFILE_FOLDERS_OF_SNAPS = {"chromium": "snap/chromium/common/chromium"}


class Machine:
    """One system, on which programs and profiles are looked for.

    Parameters
    ----------
    system
        As ``sys.platform``.
    variables
        The environment.
    home
        The user's home folder.
    app_path
        The registry's App Path of a program, such as ``chrome.exe``; None where it has none. Windows only.
    """

    def __init__(
        self,
        system: str = sys.platform,
        variables: Mapping[str, str] = os.environ,
        home: Path | None = None,
        app_path: Callable[[str], str | None] | None = None,
    ) -> None:
        self._system = system
        self._variables = variables
        self._home = home or Path.home()
        self._app_path = app_path or registered_program

    def browsers(self) -> list[Installed]:
        """Return every known browser that is installed, the preferred one first."""
        found = []
        for kind in _KINDS:
            program = next((path for path in self._programs(kind) if path.is_file()), None)
            if program is not None:
                found.append(Installed(kind.name, kind.label, program, self._profile(kind, program)))
        return found

    def profiles(self) -> dict[str, Path]:
        """Return the folder of the everyday profiles of each known browser, by its name, installed or not."""
        return {kind.name: self._profile(kind) for kind in _KINDS}

    def _programs(self, kind: _Kind) -> list[Path]:
        if self._system == "win32":
            registered = self._app_path(kind.app_path) if kind.app_path else None
            roots = [self._variables.get(name) for name in ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA")]
            places = [Path(root, *place.split("/")) for root in roots if root for place in kind.windows]
            return [*([Path(registered.strip('"'))] if registered else []), *places]
        on_path = [shutil.which(name, path=self._variables.get("PATH")) for name in kind.on_path]
        found = [Path(path) for path in on_path if path]
        if self._system == "darwin":
            roots_of_apps = (Path("/Applications"), self._home / "Applications")
            return [*(root / f"{kind.mac}.app/Contents/MacOS/{kind.mac}" for root in roots_of_apps), *found]
        return [*found, *map(Path, kind.linux)]

    def _profile(self, kind: _Kind, program: Path | None = None) -> Path:
        if self._system == "win32":
            variable, *parts = kind.windows_profile.split("/")
            roaming = {"APPDATA": "Roaming", "LOCALAPPDATA": "Local"}[variable]
            return Path(self._variables.get(variable) or self._home / "AppData" / roaming, *parts)
        if self._system == "darwin":
            return self._home / "Library/Application Support" / kind.mac_profile
        if program is not None and is_snap(program) and kind.name in PROFILE_FOLDERS_OF_SNAPS:
            return self._home / PROFILE_FOLDERS_OF_SNAPS[kind.name]
        return Path(self._variables.get("XDG_CONFIG_HOME") or self._home / ".config") / kind.linux_profile


def is_snap(program: Path) -> bool:
    """Return whether a program is a snap, which may write only below ``~/snap`` and to what is not hidden in home."""
    return str(program).startswith("/snap/")


def registered_program(name: str) -> str | None:
    """Return the program that Windows starts for a name such as ``chrome.exe``; None where there is none."""
    if sys.platform != "win32":
        return None
    import winreg

    for root in (winreg.HKEY_CURRENT_USER, winreg.HKEY_LOCAL_MACHINE):
        try:
            value = winreg.QueryValue(root, rf"SOFTWARE\Microsoft\Windows\CurrentVersion\App Paths\{name}")
        except OSError:
            continue
        if value:
            return value
    return None


def choose_browser(wanted: str | None = None, machine: Machine | None = None) -> Installed:
    """Return the browser to start.

    Parameters
    ----------
    wanted
        One of ``NAMES``, a program's name on PATH or its full path; None for the first that is installed.
    machine
        Where to look; None for this machine.

    Raises
    ------
    ConfigError
        ``wanted`` is no browser here.
    ChromeUnavailable
        There is none at all.
    """
    machine = machine or Machine()
    found = machine.browsers()
    if wanted is None:
        if found:
            return found[0]
        raise ChromeUnavailable(
            "No Chrome found; install Chrome, or set FLUXCAP_CHROME_BINARY to the full path of your browser's program."
        )
    named = next((browser for browser in found if browser.name == wanted.lower()), None)
    if named is not None:
        return named
    if wanted.lower() in NAMES:
        there = f"here are {', '.join(browser.name for browser in found)}" if found else "no known browser is"
        raise ConfigError(f"The browser {wanted!r} is not installed; {there}.")
    program = shutil.which(wanted)
    if program is None:
        raise ConfigError(
            f"{wanted!r} is no program; write one of {', '.join(NAMES)}, or the full path of the browser's program."
        )
    path = Path(program).absolute()  # it is kept in settings, and started from anywhere
    known = next((browser for browser in found if browser.program == path), None)
    return known or Installed(path.stem, path.name, path, Path())
