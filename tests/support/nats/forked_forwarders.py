"""Starts forwarders in a few milliseconds each, to be killed: forks from a process that has everything imported.

``python -m tests.support.nats.forked_forwarders URL PUB REP DATA_DIR LOG`` starts one for each line it reads, and
answers with its process number. The child forwards a server's wire as ``fluxcap forward`` does, until it is killed; it
writes to LOG when it begins to. Ended by closing its input.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nats  # noqa: F401 - imported once here, not by every child

from fluxcap.bridge.jetstream.address import parse_address
from fluxcap.bridge.jetstream.forward.forwarder import Forwarder
from fluxcap.bridge.jetstream.forward.status import ForwardEvent
from fluxcap.bridge.jetstream.forward.wire_source import WireSource


class ForkedForwarders:
    """The other side."""

    def __init__(self, url: str, pub: str, rep: str, data_dir: Path, log: Path) -> None:
        arguments = [url, pub, rep, str(data_dir), str(log)]
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.nats.forked_forwarders", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self) -> int:
        """Start one; its process number."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write("\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def close(self) -> None:
        self._server.communicate()


def main(url: str, pub: str, rep: str, data_dir: str, log: str) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead need nobody to wait for them
    for _ in sys.stdin:
        pid = os.fork()
        if not pid:
            _become(url, pub, rep, Path(data_dir), Path(log))
        print(pid, flush=True)


def _become(url: str, pub: str, rep: str, data_dir: Path, log: Path) -> None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def tell(notice: ForwardEvent, fields: Mapping[str, Any]) -> None:
        os.write(file, f"{notice.name} {dict(fields)}\n".encode())

    try:
        Forwarder(WireSource(pub, rep), parse_address(url), data_dir, on_event=tell).start()
        threading.Event().wait()
    finally:
        os._exit(70)


if __name__ == "__main__":
    main(*sys.argv[1:])
