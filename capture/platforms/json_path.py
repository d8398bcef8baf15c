"""Paths into a JSON value, as the settings file writes them: ``data``, ``result.trades[]``, ``trade.0``, ``""``. Pure.

Names and positions with dots between; ``[]`` at the end means each entry of the list that is there.
"""

from __future__ import annotations

from typing import Any

from fluxcap.schemas.errors import ConfigError

POSITION_MAX = 64


class JsonPath:
    """One path. Raises ConfigError for an invalid text."""

    def __init__(self, text: str) -> None:
        self.is_list = text.endswith("[]")
        bare = text.removesuffix("[]").rstrip(".")
        self.keys: tuple[str | int, ...] = tuple(_key(text, part) for part in bare.split(".")) if bare else ()

    def one(self, value: Any) -> Any:
        """Return the value at the path, None if absent."""
        for key in self.keys:
            if isinstance(key, str):
                value = value.get(key) if isinstance(value, dict) else None
            else:
                value = value[key] if isinstance(value, list) and key < len(value) else None
            if value is None:
                return None
        return value

    def all(self, value: Any) -> list[Any]:
        """Return the values at the path: each entry if it ends in ``[]``."""
        found = self.one(value)
        if self.is_list:
            return found if isinstance(found, list) else []
        return [] if found is None else [found]

    def put(self, into: Any, value: Any) -> Any:
        """``into`` (None for nothing yet) with ``value`` at the path; what is missing on the way is made."""
        return _put(into, self.keys, value)

    def wrap(self, entries: list[Any]) -> Any:
        """A value whose ``all`` are these."""
        return _put(None, self.keys, entries if self.is_list else entries[0])


def _key(text: str, part: str) -> str | int:
    if not part or "[" in part or "]" in part:
        raise ConfigError(f"{text!r} is no path; write it like data, result.trades[] or trade.0.")
    if part.isdecimal():
        if int(part) > POSITION_MAX:
            raise ConfigError(f"{text!r} is no path: positions go to {POSITION_MAX}.")
        return int(part)
    return part


def _put(into: Any, keys: tuple[str | int, ...], value: Any) -> Any:
    if not keys:
        return value
    key, rest = keys[0], keys[1:]
    if isinstance(key, str):
        made = dict(into) if isinstance(into, dict) else {}
        made[key] = _put(made.get(key), rest, value)
        return made
    entries = list(into) if isinstance(into, list) else []
    entries += [None] * (key + 1 - len(entries))
    entries[key] = _put(entries[key], rest, value)
    return entries
