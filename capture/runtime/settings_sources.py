"""Finds the settings in effect and the origin of each, and writes a first settings file."""

from __future__ import annotations

import enum
import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from fluxcap.bridge.system.files import replace_file
from fluxcap.capture.runtime.folders import CONFIG_FILE
from fluxcap.capture.runtime.settings import (
    NO_OPTION,
    Settings,
    config_file,
    load_settings,
    names_of,
    read_toml,
    variables_of,
)
from fluxcap.schemas.errors import ConfigError


class SettingSource(enum.StrEnum):
    """The origin of a setting; later ones override earlier ones."""

    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"
    OPTION = "option"


class EffectiveSetting(msgspec.Struct, frozen=True):
    """One setting. ``where``: the file, the variable or the option; "" for a default."""

    name: str
    value: Any
    origin: SettingSource
    where: str = ""


def effective_settings(config: Path | None, options: Mapping[str, Any]) -> list[EffectiveSetting]:
    """Every setting, as ``load_settings`` with the same arguments takes them. Raises ConfigError."""
    settings = load_settings(config, **options)
    path = config_file(config)
    in_file = read_toml(path) if path is not None else {}
    found = []
    for name, value in settings.model_dump(mode="json").items():
        variable = next((variable for variable in variables_of(name) if variable in os.environ), None)
        if options.get(name) is not None:
            found.append(EffectiveSetting(name, value, SettingSource.OPTION, option_of(name)))
        elif variable is not None:
            found.append(EffectiveSetting(name, value, SettingSource.ENVIRONMENT, variable))
        elif any(known in in_file for known in names_of(name)):
            found.append(EffectiveSetting(name, value, SettingSource.FILE, str(path)))
        else:
            found.append(EffectiveSetting(name, value, SettingSource.DEFAULT))
    return found


def option_of(name: str) -> str:
    """``tick_chunk_size`` → ``--tick-chunk-size``."""
    return f"--{name.replace('_', '-')}"


_OTHER_VARIABLES = (
    *("CONFIG", "DEBUG", "KEYS", "VIA", "CHROME_BINARY", "CHROMEDRIVER", "STATE_DIR"),
    *("ARTIFACTS", "CAPTURES", "CHROMIUM", "NODE_CACHE"),  # of the tests
)
"""``FLUXCAP_…`` variables that are no settings."""


def unknown_variables() -> list[str]:
    """``FLUXCAP_…`` variables that nothing reads: most likely misspelt."""
    known = {variable for name in Settings.model_fields for variable in variables_of(name)}
    known |= {f"FLUXCAP_{name}" for name in _OTHER_VARIABLES}
    return sorted(name for name in os.environ if name.startswith("FLUXCAP_") and name not in known)


_ALERTS = """
# Where alerts are sent: addresses as apprise takes them. They hold passwords; there is no option for them.
# alerts = ["tgram://BOT_TOKEN/CHAT_ID", "mailtos://USER:PASSWORD@example.com"]
"""
_PLATFORM = """
# A platform of your own: JSON messages over WebSockets. Choose it with platform = "binance".
# [platforms.binance]
# pages = ["https://www.binance.com/*/trade/*"]
# sockets = ["wss://stream.binance.com*"]
# messages = "data"
# symbol = "s"
# time = "T"
# time_unit = "ms"
# price = "p"
# filter = { e = "trade" }
"""
_EXAMPLES = {
    "chrome_profile": "path/to/chrome-profile",
    "browser": "chrome",
    "data_dir": "path/to/data",
    "record": "path/to/recording",
    "log_file": "path/to/fluxcap.log",
    "curve": "keys",
    "forward": "nats://127.0.0.1:4222",
    "nats_credentials": "path/to/nats.creds",
}
"""Of what is not set by default."""


def file_text(explained: Mapping[str, str]) -> str:
    """A settings file in which every setting stands, commented out, with its default. ``explained``: what each does."""
    lines = [
        "# Settings of fluxcap. Everything here is a default: remove the # and change it.",
        "# An environment variable (FLUXCAP_TICK_CHUNK_SIZE) overrides the file, an option (--tick-chunk-size) both.",
        "# `fluxcap config show` shows the values in effect and their origin.",
    ]
    for name, field in Settings.model_fields.items():
        if name in NO_OPTION:
            continue
        default = _EXAMPLES.get(name, field.default)
        lines += ["", f"# {explained[name]}", f"# {name} = {_toml(default)}"]
    return "\n".join(lines) + "\n" + _ALERTS + _PLATFORM


def write_new_file(path: Path | None, text: str) -> Path:
    """Write a settings file where there is none. Raises ConfigError."""
    target = path or Path(CONFIG_FILE)
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{target} exists and was not changed; name another file, or remove it.") from None
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror}.") from None
    return target


def change_settings(path: Path, changes: Mapping[str, Any]) -> None:
    """Set these settings in a file and leave all else in it as it is, comments too; made when it is not there.

    A value of None takes a setting out. Raises ConfigError when the file is no TOML, cannot be written, or says
    something that only a person can change.
    """
    text = path.read_text(encoding="utf-8-sig") if path.is_file() else _FIRST_LINES
    try:
        wanted = tomllib.loads(text) | {name: _plain(value) for name, value in changes.items() if value is not None}
        for name, value in changes.items():
            text = _with_setting(text, name, value)
            if value is None:
                wanted.pop(name, None)
        is_right = tomllib.loads(text) == wanted
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}.") from None
    if not is_right:
        raise ConfigError(f"{path} cannot be changed by a program; write into it: {_lines_of(changes)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = path.with_name(f"{path.name}.new")
        whole.write_text(text, encoding="utf-8")
        replace_file(whole, path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}.") from None


_FIRST_LINES = "# Settings of fluxcap. `fluxcap config show` lists all of them, with their values and origins.\n"


def _plain(value: Any) -> Any:
    """As TOML reads it back."""
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value if isinstance(value, bool | int) else str(value)


def _with_setting(text: str, name: str, value: Any) -> str:
    """Replace the line of a setting among those above the first table, or add one there."""
    top, table, rest = _parted(text)
    lines = [line for line in top.splitlines() if not re.match(rf"\s*{name}\s*=", line)]
    if value is not None:
        at = next((at for at, line in enumerate(top.splitlines()) if re.match(rf"\s*{name}\s*=", line)), len(lines))
        lines.insert(at, f"{name} = {_toml(value)}")
    return "\n".join([*lines, ""]) + table + rest


def _parted(text: str) -> tuple[str, str, str]:
    match = re.search(r"(?m)^\s*\[", text)
    return (text, "", "") if match is None else (text[: match.start()], "\n", text[match.start() :].lstrip("\n"))


def _lines_of(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {_toml(value)}" for name, value in changes.items() if value is not None)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return str(value) if isinstance(value, int) else json.dumps(str(value), ensure_ascii=False)
