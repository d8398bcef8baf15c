"""Paths into a JSON value, as the settings file writes them. Pure.

Names and positions with dots between, ``data``, ``trade.0``; ``""`` is the value itself. ``MessagesPath`` says where
the messages of a frame are: ``[]`` means each entry of the list that is there, on as many levels as there are lists,
``events[].trades[]``. ``FieldPath`` names one field of a message; each ``../`` in front of it leads one step out, to
what the message stands in: the entry of the next list further out (``../type``), in the end the frame itself.

A message is handed on with all that it stands in, as a ``Place``: the message first, the frame last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from fluxcap.schemas.errors import ConfigError

POSITION_MAX = 64
LISTS_MAX = 8
_OUT = "../"
_LIKE = "write it like data, events[].trades[] or trade.0."

Keys: TypeAlias = tuple[str | int, ...]
Place: TypeAlias = Sequence[Any]
"""A message, and what it stands in, from the inside out; the last is the frame."""
Arranged: TypeAlias = "Mapping[int, Sequence[FieldPath]]"
"""Fields by how many steps lead out of the message to what they stand in."""


class MessagesPath:
    """The way to the messages of a frame. Raises ConfigError for an invalid text.

    ``depth``: how many steps lead out of a message to its frame.
    """

    def __init__(self, text: str) -> None:
        parts = text.split("[]")
        if len(parts) - 1 > LISTS_MAX:
            raise ConfigError(f"{text!r} is no path: it has more than {LISTS_MAX} lists.")
        if any(part and not part.startswith(".") for part in parts[1:]):
            raise ConfigError(f"{text!r} is no path; {_LIKE}")
        keys = [_keys(text, part.removeprefix(".") if at else part) for at, part in enumerate(parts)]
        self._lists, self._tail = keys[:-1], keys[-1]
        self.depth = len(self._lists) + bool(self._tail)
        self._steps: list[Keys] = [*self._lists, *([self._tail] if self._tail else [])]
        """What leads from each place to the next one further in."""

    def places(self, frame: Any) -> list[Place]:
        """Return the messages of a frame, each with what it stands in."""
        tail = self._tail
        if not self._lists:
            if not tail:
                return [(frame,)]
            found = value_at(frame, tail)
            return [] if found is None else [(found, frame)]
        around: list[Place] = [(frame,)]
        for keys in self._lists:
            around = [
                (entry, *place)
                for place in around
                if isinstance(entries := value_at(place[0], keys), list)
                for entry in entries
            ]
        if tail:
            return [(found, *place) for place in around if (found := value_at(place[0], tail)) is not None]
        return around

    def arranged(self, fields: Sequence[FieldPath]) -> Arranged:
        """Return the fields by where they stand, for ``reduced``.

        Raises ConfigError for one that leads out of the frame, or by another way into the messages.
        """
        found: dict[int, list[FieldPath]] = {}
        for field in fields:
            if field.out > self.depth:
                raise ConfigError(
                    f"{field.text!r} leads out of the frame: a message is {self.depth} times ../ from it."
                )
            step = self._steps[self.depth - field.out] if field.out else None
            if step is not None and field.keys[: len(step)] == step:
                raise ConfigError(f"{field.text!r} leads back into the messages; name the field from within a message.")
            found.setdefault(field.out, []).append(field)
        return found

    def reduced(self, frame: Any, fields: Arranged, is_kept: Callable[[Place], bool]) -> Any:
        """Return a frame with nothing but these fields of the messages that are kept; None without any."""
        return self._reduced((frame,), 0, fields, is_kept)

    def _reduced(self, place: Place, at: int, fields: Arranged, is_kept: Callable[[Place], bool]) -> Any:
        inside: Any = None
        if at == self.depth:
            if not is_kept(place):
                return None
        elif at < len(self._lists):
            entries = value_at(place[0], self._lists[at])
            listed = entries if isinstance(entries, list) else []
            kept = [self._reduced((entry, *place), at + 1, fields, is_kept) for entry in listed]
            inside = [entry for entry in kept if entry is not None]
            if not inside:
                return None
        elif (found := value_at(place[0], self._tail)) is not None:
            inside = self._reduced((found, *place), at + 1, fields, is_kept)
        if at < self.depth and inside is None:
            return None
        made: Any = None
        for field in fields.get(self.depth - at, ()):
            made = put(made, field.keys, value_at(place[0], field.keys))
        if at < self.depth:
            return put(made, self._steps[at], inside)
        return {} if made is None else made  # all of its fields stand outside of it


class FieldPath:
    """One field of a message, or of what it stands in. Raises ConfigError for an invalid text.

    ``out``: how many steps lead out of the message. ``keys``: the way from there. ``of``: the value there in a message,
    None if absent.
    """

    def __init__(self, text: str) -> None:
        self.text, rest, self.out = text, text, 0
        while rest.startswith(_OUT):
            rest, self.out = rest.removeprefix(_OUT), self.out + 1
        self.keys = _keys(text, rest.removesuffix("[]"))
        if self.out and not self.keys:
            raise ConfigError(f"{text!r} names no field.")
        self.of = _getter(self.out, self.keys)


def value_at(value: Any, keys: Keys) -> Any:
    """Return what stands there in a value, None if absent."""
    for key in keys:
        if isinstance(key, str):
            value = value.get(key) if isinstance(value, dict) else None
        else:
            value = value[key] if isinstance(value, list) and key < len(value) else None
        if value is None:
            return None
    return value


def _getter(out: int, keys: Keys) -> Callable[[Place], Any]:
    """Return ``value_at`` for one path. Ticks come through here, nearly all of them by one name: that way is short."""
    if len(keys) == 1 and isinstance(name := keys[0], str):

        def of_name(place: Place) -> Any:
            value = place[out]
            return value.get(name) if isinstance(value, dict) else None

        return of_name
    return lambda place: value_at(place[out], keys)


def put(into: Any, keys: Keys, value: Any) -> Any:
    """``into`` (None for nothing yet) with ``value`` at the path; what is missing on the way is made."""
    if not keys:
        return value
    key, rest = keys[0], keys[1:]
    if isinstance(key, str):
        made = dict(into) if isinstance(into, dict) else {}
        made[key] = put(made.get(key), rest, value)
        return made
    entries = list(into) if isinstance(into, list) else []
    entries += [None] * (key + 1 - len(entries))
    entries[key] = put(entries[key], rest, value)
    return entries


def _keys(text: str, bare: str) -> Keys:
    bare = bare.rstrip(".")
    return tuple(_key(text, part) for part in bare.split(".")) if bare else ()


def _key(text: str, part: str) -> str | int:
    if not part or "[" in part or "]" in part:
        raise ConfigError(f"{text!r} is no path; {_LIKE}")
    if part.isdecimal():
        if int(part) > POSITION_MAX:
            raise ConfigError(f"{text!r} is no path: positions go to {POSITION_MAX}.")
        return int(part)
    return part
