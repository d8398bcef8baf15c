"""What importing the client costs, against what it stands on alone: ``python tests/bench/bench_import.py``.

Each import has a fresh interpreter, in turn, with byte code written before, as of an installed package. What counts is
the processor time of the whole process, which other work on the machine changes less than the clock on the wall.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
OURS = "import fluxcap; fluxcap.LiveClient"
THEIRS = "import numpy, msgspec, zmq, flatbuffers"
ROUNDS = 15
AIM = 1 / 1.2
"""Ours takes at most 1.2 times theirs."""


def processor_ms(code: str, byte_code: str) -> float:
    """Processor time of a fresh interpreter that runs some code, in milliseconds; ``byte_code``: folder of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = byte_code
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{code!r} ended with code {process.returncode}")
    return 1_000 * (used.ru_utime + used.ru_stime)


def rows(rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """The one row of this benchmark."""
    with tempfile.TemporaryDirectory() as byte_code:
        for code in (OURS, THEIRS):
            processor_ms(code, byte_code)  # writes the byte code
        measured = [(processor_ms(OURS, byte_code), processor_ms(THEIRS, byte_code)) for _ in range(rounds)]
    ratios = sorted(theirs / ours for ours, theirs in measured)
    return [
        {
            "name": "import the client, against numpy + msgspec + pyzmq + flatbuffers (processor time)",
            "ours": statistics.median(ours for ours, _ in measured),
            "theirs": statistics.median(theirs for _, theirs in measured),
            "unit": "ms",
            "ratio": statistics.median(ratios),
            "ratio_low": ratios[0],
            "ratio_high": ratios[-1],
            "aim": AIM,
        }
    ]


if __name__ == "__main__":
    for row in rows():
        print(row)
