"""The FlatBuffers verifier, as the C++ and Rust runtimes run it before they read; Python's has none.

Driven by the ``.fbs`` text, and written apart from ``schemas/codec``, so that both cannot err alike. ``verify`` raises
AssertionError at the first thing a verifier would refuse: alignment, ranges, missing string terminators.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

_SCALARS = {"long": 8, "ulong": 8, "double": 8, "uint": 4, "ushort": 2, "byte": 1, "ubyte": 1, "bool": 1}


class Verifier:
    """Of one schema; ``tables`` is ``name -> [(field, type), ...]`` in slot order."""

    def __init__(self, schema: Path) -> None:
        text = re.sub(r"//.*", "", schema.read_text())
        enums = dict(re.findall(r"enum (\w+)\s*:\s*(\w+)", text))
        union = re.search(r"union Message \{(.*?)\}", text, re.DOTALL)
        assert union is not None
        self.members = [None, *re.findall(r"\w+", union[1])]
        self.tables: dict[str, list[tuple[str, str]]] = {}
        for name, body in re.findall(r"table (\w+) \{(.*?)\}", text, re.DOTALL):
            fields: list[tuple[str, str]] = []
            for field, kind in re.findall(r"(\w+)\s*:\s*(\[?\w+\]?)", body):
                if kind == "Message":
                    fields += [(f"{field}_type", "ubyte"), (field, "Message")]
                else:
                    fields.append((field, enums.get(kind, kind)))
            self.tables[name] = fields

    def verify(self, data: bytes) -> None:
        """Walk the whole message from its root."""
        self.data = data
        self._table(self._follow(0), "Envelope")

    def _number(self, format_: str, position: int) -> int:
        width = struct.calcsize("<" + format_)
        assert position % width == 0, f"number at {position} is not aligned to {width}"
        assert 0 <= position <= len(self.data) - width, f"{position} is outside"
        return struct.unpack_from("<" + format_, self.data, position)[0]

    def _follow(self, position: int) -> int:
        offset = self._number("I", position)
        assert 0 < offset < 2**31
        return position + offset

    def _table(self, position: int, name: str) -> None:
        vtable = position - self._number("i", position)
        vtable_length, table_length = self._number("H", vtable), self._number("H", vtable + 2)
        assert vtable_length >= 4
        assert vtable_length % 2 == 0
        assert vtable + vtable_length <= len(self.data)
        assert position + table_length <= len(self.data)
        at = {}
        for slot, (field, kind) in enumerate(self.tables[name]):
            known = 6 + 2 * slot <= vtable_length
            offset = self._number("H", vtable + 4 + 2 * slot) if known else 0
            if offset:
                width = _SCALARS.get(kind, 4)
                assert 4 <= offset <= table_length - width, f"{name}.{field} is outside its table"
                assert (position + offset) % width == 0, f"{name}.{field} is not aligned"
                at[field] = position + offset
                self._field(at, field, kind)

    def _field(self, at: dict[str, int], field: str, kind: str) -> None:
        if kind in _SCALARS:
            return
        target = self._follow(at[field])
        if kind == "Message":
            member = self.members[self.data[at[f"{field}_type"]]]
            assert member is not None
            self._table(target, member)
        elif kind == "string":
            end = target + 4 + self._number("I", target)
            assert end < len(self.data)
            assert self.data[end] == 0, "a string has no terminator"
        elif kind.startswith("["):
            self._vector(target, kind[1:-1])
        else:
            self._table(target, kind)

    def _vector(self, position: int, kind: str) -> None:
        count = self._number("I", position)
        width = _SCALARS.get(kind, 4)
        assert position + 4 + count * width <= len(self.data)
        assert count == 0 or (position + 4) % width == 0, "the items of a vector are not aligned"
        if kind not in _SCALARS:
            for index in range(count):
                self._table(self._follow(position + 4 + 4 * index), kind)
