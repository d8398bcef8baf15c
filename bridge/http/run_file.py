"""The small file by which a running daemon is found."""

from __future__ import annotations

from pathlib import Path

import msgspec

from fluxcap.bridge.system.files import replace_file
from fluxcap.bridge.system.processes import is_running
from fluxcap.bridge.transport.addresses import reachable_here

RUN_FILE = "fluxcap.run.json"


class RunFile(msgspec.Struct, frozen=True):
    """Addresses of a running daemon; ``fluxcap.run.json`` in its data folder while it runs.

    A killed daemon leaves it behind: ``is_stale`` tells, and the next daemon on the folder writes its own.
    """

    pid: int
    control: str
    pub: str
    rep: str

    def is_stale(self) -> bool:
        """Return whether its process is known to be gone."""
        return not is_running(self.pid)


def write_run_file(data_dir: Path, run: RunFile) -> None:
    """Write it in one piece: who reads it sees all of it or the one before."""
    whole = data_dir / f"{RUN_FILE}.new"
    whole.write_bytes(msgspec.json.encode(run))
    replace_file(whole, data_dir / RUN_FILE)


def read_run_file(data_dir: Path) -> RunFile | None:
    """Read the run file of a data folder; None when it is absent or invalid.

    Addresses are those at which this machine reaches the daemon, also where it listens on all of its addresses.
    """
    try:
        run = msgspec.json.decode((data_dir / RUN_FILE).read_bytes(), type=RunFile)
    except (OSError, msgspec.DecodeError):
        return None
    addresses = {name: reachable_here(getattr(run, name)) for name in ("control", "pub", "rep")}
    return msgspec.structs.replace(run, **addresses)
