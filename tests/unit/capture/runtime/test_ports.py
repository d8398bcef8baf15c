"""Naming the process that listens on a port."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from fluxcap.capture.runtime.ports import process_on_port

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, which only Linux has")


def test_the_process_that_listens_is_named():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        holder = process_on_port(listener.getsockname()[1])

    assert holder.startswith(f"process {os.getpid()} (")


def test_ipv6_counts_too():
    with socket.socket(socket.AF_INET6) as listener:
        try:
            listener.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 on this machine")
        listener.listen()

        assert process_on_port(listener.getsockname()[1]).startswith(f"process {os.getpid()} ")


def test_a_socket_that_does_not_listen_holds_nothing():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))

        assert process_on_port(bound.getsockname()[1]) == ""


def test_where_it_cannot_be_told_nothing_is_said(tmp_path: Path):
    assert process_on_port(80, proc=tmp_path) == ""
