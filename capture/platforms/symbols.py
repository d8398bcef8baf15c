"""Symbols of a platform as names of streams, and back. Pure.

Names of streams go into topics, subjects and file names, so they hold letters, digits and ``_ # & -`` alone. Any other
character of a symbol is written as ``~`` and the two hexadecimal digits of each of its bytes in UTF-8: ``BTC/USD`` is
``BTC~2FUSD``, and ``BTC-USD`` is another stream. fluxcap 0.1.0 wrote a dash for ``/ : .`` and blanks, so that both were
one; a stream that is there from then keeps its name as long as one symbol alone belongs to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

SYMBOL_MAX = 32
_KEPT_MAX = 4_096
_UNSAFE = re.compile(r"[^A-Za-z0-9_#&-]")
_ASSET = re.compile(r"[#\w]")
_ESCAPES = re.compile(r"(?:~[0-9A-F]{2})+")
_OLD_DASHES = re.compile(r"[/:.\s]")


def encode_symbol(symbol: str) -> str:
    """Return the name of a symbol's stream."""
    return _UNSAFE.sub(lambda found: "".join(f"~{byte:02X}" for byte in found[0].encode()), symbol)


def decode_symbol(name: str) -> str:
    """Return the symbol of a stream's name; of what is no such name, the text as it is."""
    try:
        return _ESCAPES.sub(lambda found: bytes.fromhex(found[0].replace("~", "")).decode(), name)
    except UnicodeDecodeError:
        return name


def is_symbol(text: str) -> bool:
    """Return whether an exchange may call an asset so."""
    return _ASSET.match(text) is not None and len(text) <= SYMBOL_MAX and text.isprintable()


class StreamNames:
    """Names the symbols of one platform, for as long as this process runs."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        """Symbols seen, the oldest first."""
        self._existing: set[str] = set()
        self._owners: dict[str, str] = {}
        """Streams of 0.1.0's that keep their name, and the one symbol of each."""

    def keep(self, existing: Iterable[str]) -> None:
        """Take the streams that the store has. Before the first symbol is named."""
        self._existing.update(existing)

    def name_of(self, symbol: str) -> str:
        """Return the name of a symbol's stream. Raises ValueError for what no exchange calls an asset."""
        name = self._names.get(symbol)
        if name is None:
            if not is_symbol(symbol):
                raise ValueError("symbol")
            name = self._names[symbol] = self._new_name(symbol)
            if len(self._names) > _KEPT_MAX:
                del self._names[next(iter(self._names))]
        return name

    def _new_name(self, symbol: str) -> str:
        name, old_name = encode_symbol(symbol), _OLD_DASHES.sub("-", symbol)
        owner = self._owners.get(old_name)
        if owner is not None and owner != symbol:  # two belong to it: each gets its own
            self._names[owner] = encode_symbol(owner)
            return name
        if old_name not in self._existing or name in self._existing:
            return name
        self._owners[old_name] = symbol
        return old_name if encode_symbol(old_name) == old_name else name
