"""The JetStream stream that keeps the messages: made if it is not there, held against what was wanted if it is.

Settings have JetStream's own names and units in JSON; durations there are nanoseconds.
"""

from __future__ import annotations

import enum
import re
from typing import Any

import msgspec

from fluxcap.bridge.jetstream.address import NatsAddress
from fluxcap.bridge.jetstream.connection import close_connection, open_connection
from fluxcap.bridge.jetstream.stream import JetStreamApi
from fluxcap.bridge.jetstream.subjects import ALL_SUBJECTS, STREAM_NAME
from fluxcap.schemas.errors import ConfigError, NatsError, NatsUnavailable

NS = 1_000_000_000
DUPLICATE_WINDOW_NS = 120 * NS
"""JetStream's own default. The forwarder does not depend on it: it asks JetStream what it has."""
_NO_STREAM = 10059
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UNITS_NS = {"s": NS, "m": 60 * NS, "h": 3_600 * NS, "d": 86_400 * NS, "": NS}
_UNITS_BYTES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class StreamConfig(msgspec.Struct, frozen=True):
    """The wanted settings of a JetStream stream. None: unchanged, or JetStream's default for a new one.

    replicas: servers of a cluster that each keep all of it (1, 3 or 5). max_age_ns, max_bytes: what is older, or
    beyond, is discarded, oldest first; 0 keeps all.
    """

    replicas: int | None = None
    max_age_ns: int | None = None
    max_bytes: int | None = None
    duplicate_window_ns: int | None = None


class ConfigDifference(msgspec.Struct, frozen=True):
    """A setting that is not as wanted. ``fixable``: a running stream's may be changed."""

    setting: str
    is_: str
    should_be: str
    fixable: bool


class SetupOutcome(enum.StrEnum):
    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


class SetupResult(msgspec.Struct, frozen=True):
    """Result of a setup: what was done, the stream's settings now, and the remaining differences."""

    stream: str
    done: SetupOutcome
    differences: tuple[ConfigDifference, ...]
    settings: dict[str, Any]


_MUST: dict[str, tuple[Any, bool]] = {
    "storage": ("file", False),
    "retention": ("limits", False),
    "discard": ("old", True),
    "max_msgs": (-1, True),
    "max_msgs_per_subject": (-1, True),
    "max_consumers": (-1, False),
    "no_ack": (False, True),
    "sealed": (False, False),
}
"""Without these JetStream loses what readers need, or stops taking; and whether a running stream's may be changed."""
_ABSENT = {"max_msgs": -1, "max_msgs_per_subject": -1, "max_consumers": -1, "no_ack": False, "sealed": False}


def new_config(name: str, wanted: StreamConfig) -> dict[str, Any]:
    """Settings of a stream that is made."""
    return {
        "name": name,
        "description": "Candles of fluxcap: batches and revisions, one subject a stream",
        "subjects": [ALL_SUBJECTS],
        **{setting: value for setting, (value, _) in _MUST.items() if setting != "sealed"},
        "num_replicas": wanted.replicas or 1,
        "max_age": wanted.max_age_ns or 0,
        "max_bytes": wanted.max_bytes or -1,
        "max_msg_size": -1,
        "duplicate_window": wanted.duplicate_window_ns or _window(wanted.max_age_ns),
        "allow_direct": True,
    }


def _window(max_age_ns: int | None) -> int:
    return min(DUPLICATE_WINDOW_NS, max_age_ns) if max_age_ns else DUPLICATE_WINDOW_NS


def differences(config: dict[str, Any], wanted: StreamConfig) -> list[ConfigDifference]:
    """Return the settings of a stream that differ from those required or wanted."""
    found = []
    if ALL_SUBJECTS not in config.get("subjects", []):
        found.append(ConfigDifference("subjects", ", ".join(config.get("subjects", [])), ALL_SUBJECTS, True))
    for setting, (must, fixable) in _MUST.items():
        has = config.get(setting, _ABSENT.get(setting))
        if has != must:
            found.append(ConfigDifference(setting, _text(setting, has), _text(setting, must), fixable))
    asked = {
        "num_replicas": wanted.replicas,
        "max_age": wanted.max_age_ns,
        "max_bytes": -1 if wanted.max_bytes == 0 else wanted.max_bytes,
        "duplicate_window": wanted.duplicate_window_ns,
    }
    for setting, value in asked.items():
        has = config.get(setting, 0)
        if value is not None and has != value:
            found.append(ConfigDifference(setting, _text(setting, has), _text(setting, value), True))
    return found


def changed_config(config: dict[str, Any], found: list[ConfigDifference], wanted: StreamConfig) -> dict[str, Any]:
    """A stream's settings with what may be changed put right."""
    target = new_config(config["name"], wanted)
    fixed = {d.setting: target[d.setting] for d in found if d.fixable}
    if "subjects" in fixed:
        fixed["subjects"] = [*config.get("subjects", []), ALL_SUBJECTS]
    return config | fixed


async def set_up(
    address: NatsAddress, wanted: StreamConfig, name: str = STREAM_NAME, *, change: bool = False
) -> SetupResult:
    """Make the stream, or say where it differs; with ``change`` put right what can be.

    Raises ConfigError, NatsUnavailable, NatsRejected, NatsError (the server does not do it, in its own words).
    """
    if _NAME.fullmatch(name) is None:
        raise ConfigError(f"{name!r} is no name for a stream; use letters, digits, _ and -.")
    client = await open_connection(address, "fluxcap setup")
    try:
        access = JetStreamApi(client, name, timeout_s=10.0)
        answer = await access.request(f"STREAM.INFO.{name}", {}, absent=_NO_STREAM)
        if answer is None:
            made = await _do(access, f"STREAM.CREATE.{name}", new_config(name, wanted))
            return SetupResult(name, SetupOutcome.CREATED, (), made["config"])
        config = answer["config"]
        found = differences(config, wanted)
        if not change or not any(d.fixable for d in found):
            return SetupResult(name, SetupOutcome.UNCHANGED, tuple(found), config)
        made = await _do(access, f"STREAM.UPDATE.{name}", changed_config(config, found, wanted))
        return SetupResult(name, SetupOutcome.CHANGED, tuple(differences(made["config"], wanted)), made["config"])
    finally:
        await close_connection(client)


async def _do(access: JetStreamApi, what: str, config: dict[str, Any]) -> Any:
    try:
        return await access.request(what, config)
    except NatsUnavailable as error:  # a refusal in the server's words, of which another try changes nothing
        raise NatsError(str(error)) from None


def parse_duration_ns(text: str) -> int:
    """``90s``, ``2m``, ``36h``, ``30d`` as nanoseconds; ``0``: no limit. Raises ConfigError."""
    match = re.fullmatch(r"(\d{1,9})([smhd]?)", text.strip())
    if match is None:
        raise ConfigError(f"{text!r} is no length of time; write a number and s, m, h or d, such as 30d.")
    return int(match[1]) * _UNITS_NS[match[2]]


def parse_bytes(text: str) -> int:
    """``500M``, ``20G``, ``1T`` (powers of 1024) as bytes; ``0``: no limit. Raises ConfigError."""
    match = re.fullmatch(r"(\d{1,15})([KMGT]?)B?", text.strip().upper())
    if match is None:
        raise ConfigError(f"{text!r} is no amount of bytes; write a number and K, M, G or T, such as 20G.")
    return int(match[1]) * _UNITS_BYTES[match[2]]


def _text(setting: str, value: Any) -> str:
    if setting in ("max_age", "duplicate_window"):
        return duration_text(value)
    if setting.startswith("max_") and value in (-1, 0):
        return "no limit"
    return str(value)


def duration_text(ns: int) -> str:
    """``2m``, ``30d``; the largest unit that divides it."""
    if not ns:
        return "no limit"
    unit = next((unit for unit in "dhms" if ns % _UNITS_NS[unit] == 0), "")
    return f"{ns // _UNITS_NS[unit]}{unit}" if unit else f"{ns / NS:g}s"
