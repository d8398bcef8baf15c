"""Writes CSV parts until the disk ends, then goes on. Run by the tests as a process.

The end of the disk is the largest size a file may have (RLIMIT_FSIZE): the system takes half a line there, as a full
disk does, and any user can set it.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from fluxcap.capture.csvfiles.rotation import RotatingCsv


def main(folder: Path) -> None:
    parts = RotatingCsv(b"header\n", 1_000_000, lambda series, part: folder / f"part{part}.csv")
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_001, resource.RLIM_INFINITY))
    written, failure = 0, ""
    while not failure:
        try:
            parts.write(("A", ""), f"line {written:04d}\n".encode())
            written += 1
        except OSError as error:
            failure = str(error.strerror)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    parts.write(("A", ""), f"line {written:04d}\n".encode())
    parts.close()
    print(json.dumps({"written": written + 1, "failure": failure}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
