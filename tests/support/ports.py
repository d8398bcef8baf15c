"""Ports of loopback for what goes and comes back to the same one."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path

FIRST_GIVEN = 32_768
"""Where the range begins from which Linux gives ports of its own accord, unless it says otherwise."""


def lasting_port() -> int:
    """Return a free port that the system gives to nobody of its own accord.

    Another process may get any other port while its owner is away: then a daemon does not start, and Chromium listens
    on ``[::1]`` alone.
    """
    first_given = FIRST_GIVEN
    with contextlib.suppress(OSError):
        first_given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, first_given)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
