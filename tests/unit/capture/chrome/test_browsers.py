"""Which browsers a machine has: each system's places, the registry, and what is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fluxcap.capture.chrome.browsers import NAMES, Installed, Machine, choose_browser, registered_program
from fluxcap.schemas.errors import ChromeUnavailable, ConfigError
from tests.support.systems import not_on_windows


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def machine(system: str, home: Path, *, path: Path | None = None, **more: object) -> Machine:
    variables = {"PATH": str(path or home / "bin"), "PROGRAMFILES": str(home / "Program Files")}
    variables |= {"LOCALAPPDATA": str(home / "AppData" / "Local"), "APPDATA": str(home / "AppData" / "Roaming")}
    return Machine(system, variables, home, **{"app_path": lambda _name: None, **more})  # type: ignore[arg-type]


WINDOWS = {
    "chrome": ("Program Files/Google/Chrome/Application/chrome.exe", "AppData/Local/Google/Chrome/User Data"),
    "chromium": ("AppData/Local/Chromium/Application/chrome.exe", "AppData/Local/Chromium/User Data"),
    "edge": ("Program Files/Microsoft/Edge/Application/msedge.exe", "AppData/Local/Microsoft/Edge/User Data"),
    "brave": (
        "Program Files/BraveSoftware/Brave-Browser/Application/brave.exe",
        "AppData/Local/BraveSoftware/Brave-Browser/User Data",
    ),
    "opera": ("AppData/Local/Programs/Opera/opera.exe", "AppData/Roaming/Opera Software/Opera Stable"),
    "vivaldi": ("AppData/Local/Vivaldi/Application/vivaldi.exe", "AppData/Local/Vivaldi/User Data"),
}
LINUX = {
    "chrome": ("google-chrome-stable", ".config/google-chrome"),
    "chromium": ("chromium", ".config/chromium"),
    "edge": ("microsoft-edge", ".config/microsoft-edge"),
    "brave": ("brave-browser", ".config/BraveSoftware/Brave-Browser"),
    "opera": ("opera", ".config/opera"),
    "vivaldi": ("vivaldi-stable", ".config/vivaldi"),
}
MAC = {
    "chrome": ("Google Chrome", "Google/Chrome"),
    "chromium": ("Chromium", "Chromium"),
    "edge": ("Microsoft Edge", "Microsoft Edge"),
    "brave": ("Brave Browser", "BraveSoftware/Brave-Browser"),
    "opera": ("Opera", "com.operasoftware.Opera"),
    "vivaldi": ("Vivaldi", "Vivaldi"),
}


@pytest.mark.parametrize("name", NAMES)
def test_each_browser_is_found_where_windows_has_it(tmp_path: Path, name: str):
    place, profile = WINDOWS[name]
    made = program(tmp_path / place)

    [found] = machine("win32", tmp_path).browsers()

    assert (found.name, found.program, found.profile) == (name, made, tmp_path / profile)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "chromium"])
def test_a_browser_in_an_unusual_place_is_found_by_the_registry(tmp_path: Path, name: str):
    made = program(tmp_path / "D" / "Tools with spaces" / f"{name}.exe")
    asked = WINDOWS[name][0].rpartition("/")[2]

    [found] = machine("win32", tmp_path, app_path={asked: f'"{made}"'}.get).browsers()

    assert (found.name, found.program) == (name, made)


def test_the_registry_of_another_system_says_nothing():
    assert registered_program("no-such-browser.exe") is None


@not_on_windows("programs are found there by their place, not by their mode")
@pytest.mark.parametrize("name", NAMES)
def test_each_browser_is_found_on_path_and_with_its_everyday_profile(tmp_path: Path, name: str):
    command, profile = LINUX[name]
    made = program(tmp_path / "bin" / command)

    found = {browser.name: browser for browser in machine("linux", tmp_path).browsers()}[name]

    assert (found.program, found.profile) == (made, tmp_path / profile)


@pytest.mark.parametrize("name", NAMES)
def test_each_browser_is_found_among_the_applications_of_a_mac(tmp_path: Path, name: str):
    app, profile = MAC[name]
    made = program(tmp_path / "Applications" / f"{app}.app" / "Contents" / "MacOS" / app)

    found = {browser.name: browser for browser in machine("darwin", tmp_path).browsers()}[name]

    assert found.program == made
    assert found.profile == tmp_path / "Library" / "Application Support" / profile


@not_on_windows("snaps are Ubuntu's")
def test_a_chromium_of_snap_has_its_profile_where_snaps_may_write(tmp_path: Path):
    linux = machine("linux", tmp_path)
    [kind] = [found for found in linux.profiles().items() if found[0] == "chromium"]

    assert kind[1] == tmp_path / ".config" / "chromium"
    assert linux._profile(_kind("chromium"), Path("/snap/bin/chromium")) == tmp_path / "snap/chromium/common/chromium"


def _kind(name: str):  # type: ignore[no-untyped-def]
    from fluxcap.capture.chrome import browsers

    return next(kind for kind in browsers._KINDS if kind.name == name)


@not_on_windows("programs are found there by their place, not by their mode")
def test_the_first_is_preferred_and_any_can_be_named(tmp_path: Path):
    program(tmp_path / "bin" / "vivaldi")
    chrome = program(tmp_path / "bin" / "google-chrome")
    here = machine("linux", tmp_path)

    assert choose_browser(None, here).program == chrome
    assert choose_browser("Vivaldi", here).label == "Vivaldi"


def test_a_program_of_any_name_can_be_named_by_its_path(tmp_path: Path):
    mine = program(tmp_path / "my browser" / "thorium")

    assert choose_browser(str(mine), machine("linux", tmp_path)) == Installed("thorium", "thorium", mine, Path())


def test_a_program_named_by_where_one_stands_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mine = program(tmp_path / "thorium")
    monkeypatch.chdir(tmp_path)

    assert choose_browser(f".{os.sep}thorium", machine("linux", tmp_path)).program == mine


def test_a_known_browser_named_by_its_path_keeps_its_name(tmp_path: Path):
    brave = program(tmp_path / "bin" / "brave")

    assert choose_browser(str(brave), machine("linux", tmp_path)).name == "brave"


def test_what_is_named_and_not_here_is_refused_with_what_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    program(tmp_path / "Program Files/Microsoft/Edge/Application/msedge.exe")
    here = machine("win32", tmp_path)

    with pytest.raises(ConfigError, match="'brave' is not installed; here are edge"):
        choose_browser("brave", here)
    with pytest.raises(ConfigError, match="'netscape' is no program; write one of chrome, chromium"):
        choose_browser("netscape", here)


def test_a_machine_without_any_says_what_to_install(tmp_path: Path):
    with pytest.raises(ChromeUnavailable, match="install Chrome, or set FLUXCAP_CHROME_BINARY"):
        choose_browser(None, machine("win32", tmp_path))
