"""The small file by which a running daemon is found."""

from __future__ import annotations

import msgspec

RUN_FILE = "fluxcap.run.json"


class RunFile(msgspec.Struct, frozen=True):
    """Where a running daemon can be reached; ``fluxcap.run.json`` in its data folder while it runs."""

    pid: int
    control: str
    pub: str
    rep: str
