"""The descriptions of platforms that ship: ``presets.toml`` beside this module, in the words of the settings file.

A preset may name another one as its ``kind``: then it is that one with some entries of its own.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import msgspec

MARK = "from public documents, not from a recording"
"""What is to be known of every one of them."""
_OF_READERS = ("about", "documents")


class Preset(msgspec.Struct, frozen=True):
    """One description.

    ``about``: what it reads. ``documents``: where that is described. ``table``: as ``GenericPlatform`` takes it.
    ``text``: its lines of the file, as a table of the settings.
    """

    name: str
    about: str
    documents: str
    table: dict[str, Any]
    text: str


@cache
def presets() -> Mapping[str, Preset]:
    """Return every preset by its name, in the order of the file."""
    written = files(__package__).joinpath("presets.toml").read_text(encoding="utf-8")
    entries = tomllib.loads(written)
    return MappingProxyType({name: _preset(name, entries, written) for name in entries})


def _preset(name: str, entries: Mapping[str, dict[str, Any]], written: str) -> Preset:
    own = entries[name]
    whole = entries.get(own.get("kind", ""), {}) | own
    table = {key: value for key, value in whole.items() if key not in (*_OF_READERS, "kind")}
    lines = f"\n{written}".partition(f"\n[{name}]\n")[2].partition("\n[")[0].splitlines()
    text = "\n".join(line for line in lines if line.partition(" = ")[0] not in _OF_READERS).strip()
    return Preset(name, whole["about"], whole["documents"], table, f"[platforms.{name}]\n{text}\n")
