"""Settings of the daemon: one TOML file, the environment, the command line, each overriding the one before.

One file counts: ``--config``, else ``FLUXCAP_CONFIG``, else ``./fluxcap.toml``, else the user's own.

Every field but ``NO_OPTION`` is an option of ``fluxcap run`` (``tick_chunk_size`` is ``--tick-chunk-size``), and every
one a key of the file and a variable (``FLUXCAP_TICK_CHUNK_SIZE``). ``FLUX_LIVE_PUB``, ``FLUX_CHUNK_REP``,
``FLUX_SOURCE_ID`` and ``FLUX_INTERVAL`` are honoured as the clients and servers that exist honour them.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from enum import StrEnum
from functools import cache, lru_cache
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from fluxcap.bridge.server.timeframes import check_timeframes, longer_intervals
from fluxcap.bridge.system.folders import STORE_FILE, default_data_dir
from fluxcap.bridge.transport.addresses import DEFAULT_PUB, DEFAULT_REP, without_brackets
from fluxcap.capture.runtime.folders import CONFIG_FILE, own_config_file
from fluxcap.schemas.errors import ConfigError
from fluxcap.schemas.types import interval_ms

DEFAULT_WEB_PORT = 3001
_WINDOWS_PATH = re.compile(rb'"[A-Za-z]:\\')
"""In double quotes, where a backslash begins something else."""
_TIME = r"(?:[01]?\d|2[0-3]):[0-5]\d"
_HOURS = re.compile(rf"{_TIME}\s*-\s*{_TIME}")
_NEXT_ADDRESS = re.compile(r"[\s,]+(?=[A-Za-z][\w.+-]*://)")
_SHOWN = 200
"""Characters of a wrong value that are shown."""

NO_OPTION = ("platforms", "alerts")
"""Settings that are no option: tables, and addresses with passwords in them, which a list of processes would show."""
MASK = "****"
OLD_NAMES = {"grace_ms": "allowed_lateness_ms", "doubt_ms": "idle_timeout_ms"}
"""Names settings had once; they go on working in files, in the environment and as options."""


class CollectMode(StrEnum):
    """The kinds of data written to CSV files."""

    TICK = "tick"
    CANDLE = "candle"
    BOTH = "both"
    NONE = "none"


class Settings(BaseSettings):
    """Validated settings; raises ConfigError through ``load_settings``."""

    model_config = SettingsConfigDict(env_prefix="FLUXCAP_", extra="forbid", frozen=True, populate_by_name=True)
    config_path: ClassVar[Path | None] = None

    chrome: str = "127.0.0.1:9222"
    chrome_profile: Path | None = None
    consent: bool = False
    browser: str | None = None
    page: str = "https://pocketoption.com/"
    keep_chrome: bool = False
    platform: str = "pocketoption"
    platform_url: tuple[str, ...] = ()
    platforms: dict[str, dict[str, Any]] = {}
    """Platforms by name, each as its plug-in takes it; see capture/platforms/registry.py. Tables of the
    file, JSON in the environment; no option."""
    focus: tuple[str, ...] = ()
    interval: str = Field("1m", validation_alias=AliasChoices("interval", "FLUXCAP_INTERVAL", "FLUX_INTERVAL"))
    timeframes: tuple[str, ...] = Field(("5m", "15m", "1h", "4h"), validate_default=False)
    source: str = Field(
        "POCKETOPTION",
        validation_alias=AliasChoices("source", "FLUXCAP_SOURCE", "FLUX_SOURCE_ID"),
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
    )
    collect: CollectMode = CollectMode.NONE
    csv_timeframes: tuple[str, ...] = ()
    tick_chunk_size: int = Field(1_000, ge=1, le=10_000_000)
    candle_chunk_size: int = Field(100, ge=1, le=10_000_000)
    data_dir: Path = Field(default_factory=default_data_dir)
    record: Path | None = None
    pub: str = Field(DEFAULT_PUB, validation_alias=AliasChoices("pub", "FLUXCAP_PUB", "FLUX_LIVE_PUB"))
    rep: str = Field(DEFAULT_REP, validation_alias=AliasChoices("rep", "FLUXCAP_REP", "FLUX_CHUNK_REP"))
    curve: Path | None = None
    forward: str | None = None
    nats_credentials: Path | None = None
    nats_stream: str = Field("FLUX", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    publish_ticks: bool = False
    retention_days: int = Field(0, ge=0, le=36_500)
    web: bool = True
    web_host: str = "127.0.0.1"
    web_port: int = Field(DEFAULT_WEB_PORT, ge=0, le=65_535)
    web_origin: tuple[str, ...] = ()
    control_port: int = Field(DEFAULT_WEB_PORT, ge=0, le=65_535)
    log_json: bool = False
    log_file: Path | None = None
    allowed_lateness_ms: int = Field(2_000, ge=0, le=60_000)
    idle_timeout_ms: int = Field(10_000, ge=0, le=600_000)
    history_wait_ms: int = Field(10_000, ge=0, le=600_000)
    alerts: tuple[SecretStr, ...] = ()
    """Addresses to which alerts are sent, as the library apprise takes them. They hold passwords and tokens."""
    alert_after_s: int = Field(20, ge=2, le=86_400)
    alert_quiet_hours: str = ""
    alert_mute: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _accept_old_names(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Move values of old names, which only a file can have, to the new ones; a value of the new name wins."""
        old = {OLD_NAMES[name]: value for name, value in values.items() if name in OLD_NAMES}
        return old | {name: value for name, value in values.items() if name not in OLD_NAMES}

    @field_validator("interval")
    @classmethod
    def _is_interval(cls, value: str) -> str:
        try:
            interval_ms(value)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return value

    @field_validator("page")
    @classmethod
    def _is_page(cls, value: str) -> str:
        if not value.startswith(("https://", "http://")) or not value.isprintable() or " " in value:
            raise ValueError("it is no address of a page; write https://…")
        return value

    @field_validator("timeframes")
    @classmethod
    def _fit_the_interval(cls, value: tuple[str, ...], known: ValidationInfo) -> tuple[str, ...]:
        """Of the default those that fit are taken; one of the user's that does not fit is refused."""
        try:
            check_timeframes(known.data.get("interval", "1s"), value)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return value

    @field_validator("csv_timeframes")
    @classmethod
    def _are_made(cls, value: tuple[str, ...], known: ValidationInfo) -> tuple[str, ...]:
        """Only what is made can be written."""
        made = longer_intervals(known.data.get("interval", "1s"), known.data.get("timeframes", ()))
        missing = [timeframe for timeframe in value if timeframe not in made]
        if missing:
            raise ValueError(f"{missing[0]} is none of the timeframes that are made: {', '.join(made) or 'none'}")
        return value

    @field_validator("web_host")
    @classmethod
    def _is_host(cls, value: str) -> str:
        host = without_brackets(value.strip())
        if not host:
            raise ValueError("it names no address; write 127.0.0.1, ::1 or an address of this machine")
        return host

    @field_validator("alert_quiet_hours")
    @classmethod
    def _are_quiet_hours(cls, value: str) -> str:
        if any(_HOURS.fullmatch(part.strip()) is None for part in value.split(",") if part.strip()):
            raise ValueError("write times of the day, such as 22:00-07:00")
        return value

    @field_validator("platforms", mode="before")
    @classmethod
    def _read_tables(cls, value: Any) -> Any:
        """The environment holds text: there the tables are written as JSON."""
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError as error:
            raise ValueError(f"it is no JSON: {error}") from None

    @field_validator("alerts", mode="before")
    @classmethod
    def _split_addresses(cls, value: Any) -> Any:
        """Addresses may hold commas themselves: a new one begins with its scheme."""
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list | tuple) or not all(isinstance(text, str | SecretStr) for text in texts):
            raise ValueError("write a list of addresses")
        plain = [text.get_secret_value() if isinstance(text, SecretStr) else text for text in texts]
        parts = [part.strip(" ,\n") for text in plain for part in _NEXT_ADDRESS.split(text)]
        if any("://" not in part for part in parts if part):
            raise ValueError("an address begins with its scheme, such as mailto://")
        return tuple(SecretStr(part) for part in parts if part)

    @field_serializer("alerts", when_used="json")
    def _mask_addresses(self, value: tuple[SecretStr, ...]) -> list[str]:
        return [scheme_of(address.get_secret_value()) for address in value]

    @field_validator("focus", "timeframes", "csv_timeframes", "platform_url", "web_origin", "alert_mute", mode="before")
    @classmethod
    def _split_commas(cls, value: Any) -> Any:
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
            raise ValueError("write a list of texts, or one with commas")
        return tuple(part.strip() for text in texts for part in text.split(",") if part.strip())

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        sources: list[PydanticBaseSettingsSource] = [init_settings, _PlainListEnv(settings_cls)]
        if cls.config_path is not None:
            sources.append(_FileSource(settings_cls, cls.config_path))
        return tuple(sources)

    @property
    def derived_timeframes(self) -> tuple[str, ...]:
        """The longer intervals whose candles are made from those of ``interval``, shortest first."""
        return longer_intervals(self.interval, self.timeframes)

    @property
    def store_path(self) -> Path:
        return self.data_dir / STORE_FILE

    @property
    def listen_port(self) -> int:
        """The port of the control endpoint: the web server's, or its own when the web is off."""
        return self.web_port if self.web else self.control_port


class _FileSource(TomlConfigSettingsSource):
    """A settings file. Paths in the user's own one are relative to its folder: it is read wherever fluxcap starts."""

    def __init__(self, settings_cls: type[BaseSettings], path: Path) -> None:
        super().__init__(settings_cls, path)
        self._folder = path.parent if path == own_config_file() else None

    def _read_file(self, file_path: Path | Traversable) -> dict[str, Any]:
        return read_toml(file_path)

    def __call__(self) -> dict[str, Any]:
        values = super().__call__()
        if self._folder is None:
            return values
        return {
            name: str(self._folder / value) if isinstance(value, str) and name in path_settings() else value
            for name, value in values.items()
        }


@cache
def path_settings() -> frozenset[str]:
    """Return the names of the settings that are paths."""
    return frozenset(name for name, field in Settings.model_fields.items() if field.annotation in (Path, Path | None))


def scheme_of(address: str) -> str:
    """Return all that may be shown of an address of alerts: ``tgram://****``."""
    found = re.match(r"([A-Za-z][A-Za-z0-9]{0,19})://", address)
    return f"{found[1].lower()}://{MASK}" if found is not None else MASK


class _PlainListEnv(PydanticBaseSettingsSource):
    """Environment values as plain text: lists are comma-separated, not JSON."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        name = next((name for name in variables_of(field_name) if name in os.environ), None)
        return (None if name is None else os.environ[name]), field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


@cache
def variables_of(field_name: str) -> tuple[str, ...]:
    """Return the environment variables that set a field, in order of precedence."""
    alias = Settings.model_fields[field_name].validation_alias
    names = [str(name) for name in alias.choices] if isinstance(alias, AliasChoices) else []
    own = [f"FLUXCAP_{name.upper()}" for name in names_of(field_name)]
    return (*dict.fromkeys([*(name for name in names if name.isupper()), *own]),)


def names_of(field_name: str) -> tuple[str, ...]:
    """Return the names of a setting in a file: the present one, then its old ones."""
    return (field_name, *(old for old, new in OLD_NAMES.items() if new == field_name))


class ConfigFile(NamedTuple):
    """A place where settings may stand. ``chosen_by``: what makes it the one that is read."""

    path: Path
    chosen_by: str


def config_files(chosen: Path | None = None) -> list[ConfigFile]:
    """Return the places of a settings file, the first that is there being the one in force."""
    named = [ConfigFile(chosen, "--config")] if chosen is not None else []
    if os.environ.get("FLUXCAP_CONFIG"):
        named.append(ConfigFile(Path(os.environ["FLUXCAP_CONFIG"]), "FLUXCAP_CONFIG"))
    return [*named, ConfigFile(Path(CONFIG_FILE), "this folder"), ConfigFile(own_config_file(), "your own")]


def config_file(chosen: Path | None = None) -> Path | None:
    """Return the settings file in force: ``--config``, ``FLUXCAP_CONFIG``, ``./fluxcap.toml``, or the user's own.

    None where there is none. Raises ConfigError when one that was named is not there.
    """
    for path, chosen_by in config_files(chosen):
        if path.is_file():
            return path
        if chosen_by in ("--config", "FLUXCAP_CONFIG"):
            raise ConfigError(f"There is no settings file {path}; `fluxcap config init` writes one.")
    return None


def read_toml(path: Path | Traversable) -> dict[str, Any]:
    """Read a file of UTF-8, with or without the mark that Windows' editors put first. Raises OSError, ValueError."""
    return tomllib.loads(path.read_text(encoding="utf-8-sig"))


def load_settings(config: Path | None = None, **options: Any) -> Settings:
    """Settings from file, environment and ``options`` (None: not given). Raises ConfigError with one sentence."""
    path = config_file(config)
    given = {name: value for name, value in options.items() if value is not None}
    try:
        return _reading(path)(**given)
    except ValidationError as error:
        raise ConfigError(_sentence(error, path)) from None
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError, and integers of more digits than Python reads
        raise ConfigError(f"{path} is not TOML: {error}.{_backslash_hint(path)}") from None
    except RecursionError:
        raise ConfigError(f"{path} is nested too deeply to be settings.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None


def _backslash_hint(path: Path | None) -> str:
    if path is None or not _WINDOWS_PATH.search(path.read_bytes()):
        return ""
    return r" Write a path of Windows in single quotes: 'C:\Users\me'."


@lru_cache(maxsize=8)
def _reading(path: Path | None) -> type[Settings]:
    """Settings that read this file: making the class costs a hundred times what reading does."""
    return type("Settings", (Settings,), {"config_path": path, "__module__": __name__})


def _sentence(error: ValidationError, path: Path | None) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"]) or "settings"
    if first["type"] == "extra_forbidden":
        return f"Unknown setting {name!r} in {path or 'the settings'}; `fluxcap config show` lists them."
    reason = first["msg"].removeprefix("Value error, ").rstrip(".")
    value = MASK if first["loc"][:1] == ("alerts",) else repr(first.get("input"))
    shown = value if len(value) <= _SHOWN else f"{value[:_SHOWN]} …"
    return f"Setting {name!r} cannot be {shown}: {reason[:1].lower()}{reason[1:]}."
