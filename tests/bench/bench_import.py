"""What starting costs, against what it stands on alone: ``python tests/bench/bench_import.py``.

The client is imported beside its libraries, and ``fluxcap --help`` run beside an import of typer. Each has a fresh
interpreter, in turn, with byte code written before, as of an installed package. What counts is the processor time of
the whole process, which other work on the machine changes less than the clock on the wall.
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
ROUNDS = 15
COMPARED = (
    (
        "import the client, against numpy + msgspec + pyzmq + flatbuffers (processor time)",
        ("-c", "import fluxcap; fluxcap.LiveClient"),
        ("-c", "import numpy, msgspec, zmq, flatbuffers"),
        1.2,
    ),
    (
        "fluxcap --help, against importing typer (processor time)",
        ("-m", "fluxcap.capture.cli", "--help"),
        ("-c", "import typer"),
        1.6,
    ),
)
"""What each row is, what Python is given, ours and theirs, and how many times theirs ours may take."""


def processor_ms(arguments: tuple[str, ...], byte_code: str) -> float:
    """Processor time of a fresh interpreter with these arguments, in milliseconds; ``byte_code``: folder of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = byte_code
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{arguments} ended with code {process.returncode}")
    return 1_000 * (used.ru_utime + used.ru_stime)


def rows(rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """One row a comparison."""
    return [compared(*comparison, rounds) for comparison in COMPARED]


def compared(name: str, ours: tuple[str, ...], theirs: tuple[str, ...], limit: float, rounds: int) -> dict[str, Any]:
    """One row: ours and theirs in turn. ``limit``: how many times theirs ours may take."""
    with tempfile.TemporaryDirectory() as byte_code:
        for arguments in (ours, theirs):
            processor_ms(arguments, byte_code)  # writes the byte code
        measured = [(processor_ms(ours, byte_code), processor_ms(theirs, byte_code)) for _ in range(rounds)]
    ratios = sorted(their_ms / our_ms for our_ms, their_ms in measured)
    return {
        "name": name,
        "ours": statistics.median(our_ms for our_ms, _ in measured),
        "theirs": statistics.median(their_ms for _, their_ms in measured),
        "unit": "ms",
        "ratio": statistics.median(ratios),
        "ratio_low": ratios[0],
        "ratio_high": ratios[-1],
        "aim": 1 / limit,
    }


if __name__ == "__main__":
    for row in rows():
        print(row)
