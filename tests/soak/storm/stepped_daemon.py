"""`fluxcap` on a computer whose wall clock somebody changes: ``TESTED_WALL_CLOCK`` names a file of eight bytes, by how
many nanoseconds (little-endian, signed) the clock is off now."""

from __future__ import annotations

import mmap
import os
import struct
import time

_true_ns = time.time_ns


def step_clock(path: str) -> None:
    """Let ``time.time_ns`` be off by what the file says, from now on and for whatever is imported later."""
    with open(path, "rb") as file:
        off_ns = mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)

    def stepped_ns() -> int:
        return _true_ns() + int(struct.unpack_from("<q", off_ns)[0])

    time.time_ns = stepped_ns  # type: ignore[assignment]


if __name__ == "__main__":
    step_clock(os.environ["TESTED_WALL_CLOCK"])
    from fluxcap.capture.cli.app import main

    main()
