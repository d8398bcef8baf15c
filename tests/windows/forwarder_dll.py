"""Write a 64-bit DLL that only passes its functions on to another one.

``forwarder_dll.py OUT.dll TARGET NAME[=NAME THERE]...``, or ``@FILE.dll`` for all names of a file.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable
from pathlib import Path

RVA = 0x1000
"""Where the one section lies in memory."""
SECTOR = 512


def exported_names(dll: Path) -> list[str]:
    """The names in a DLL's export table."""
    data = dll.read_bytes()
    header = struct.unpack_from("<I", data, 60)[0]
    (sections,) = struct.unpack_from("<H", data, header + 6)
    (optional,) = struct.unpack_from("<H", data, header + 20)
    table = [struct.unpack_from("<8sIIII", data, header + 24 + optional + 40 * i) for i in range(sections)]

    def offset(rva: int) -> int:
        return next(
            rva - start + raw for _, size, start, raw_size, raw in table if start <= rva < start + max(size, raw_size)
        )

    exports = offset(struct.unpack_from("<I", data, header + 24 + 112)[0])
    (count,) = struct.unpack_from("<I", data, exports + 24)
    names = offset(struct.unpack_from("<I", data, exports + 32)[0])
    places = [offset(struct.unpack_from("<I", data, names + 4 * i)[0]) for i in range(count)]
    return [data[place : data.index(b"\0", place)].decode() for place in places]


def forwarder(name: str, target: str, names: Iterable[str]) -> bytes:
    """The bytes of a DLL called ``name``."""
    pairs = sorted((own, other or own) for own, _, other in (text.partition("=") for text in names))
    count = len(pairs)
    table = bytearray(40 + 10 * count)
    strings = bytearray()

    def put(text: str) -> int:
        place = RVA + len(table) + len(strings)
        strings.extend(text.encode() + b"\0")
        return place

    own_name = put(name)
    for i, (own, other) in enumerate(pairs):
        struct.pack_into("<I", table, 40 + 4 * i, put(f"{target}.{other}"))
        struct.pack_into("<I", table, 40 + 4 * count + 4 * i, put(own))
        struct.pack_into("<H", table, 40 + 8 * count + 2 * i, i)
    places = RVA + 40, RVA + 40 + 4 * count, RVA + 40 + 8 * count
    struct.pack_into("<IIHHIIIIIII", table, 0, 0, 0, 0, 0, own_name, 1, count, count, *places)
    return _with_headers(bytes(table + strings))


def _with_headers(content: bytes) -> bytes:
    size = len(content)
    on_disk, in_memory = -(-size // SECTOR) * SECTOR, -(-size // 4096) * 4096
    dos = b"MZ" + bytes(58) + struct.pack("<I", 64)
    coff = b"PE\0\0" + struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, 240, 0x2022)
    sizes = 0x100000, 0x1000, 0x100000, 0x1000
    optional = struct.pack("<HBBIIIII", 0x20B, 14, 0, 0, on_disk, 0, 0, RVA)
    optional += struct.pack("<QIIHHHHHHI", 0x7F0000000, 4096, SECTOR, 6, 0, 0, 0, 6, 0, 0)
    optional += struct.pack("<IIIHHQQQQII", RVA + in_memory, SECTOR, 0, 2, 0x100, *sizes, 0, 16)
    optional += struct.pack("<II", RVA, size) + bytes(8 * 15)
    section = struct.pack("<8sIIIIIIHHI", b".edata", size, RVA, on_disk, SECTOR, 0, 0, 0, 0, 0x40000040)
    return (dos + coff + optional + section).ljust(SECTOR, b"\0") + content.ljust(on_disk, b"\0")


def main(out: Path, target: str, asked: list[str]) -> None:
    names = [name for text in asked for name in (exported_names(Path(text[1:])) if text[0] == "@" else [text])]
    out.write_bytes(forwarder(out.name, target, names))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
