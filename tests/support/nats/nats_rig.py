"""Real nats-servers with JetStream, on free ports of loopback, each with a folder of its own.

``nats_server`` of fixtures.py starts them and ends them with the test. Where there is no nats-server, the test is
skipped and says so.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from fluxcap.bridge.transport.addresses import in_address
from tests.support.patience import PATIENCE_S
from tests.support.ports import lasting_port

FOUND = shutil.which("nats-server", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin") or shutil.which(
    "nats-server"
)


def require_nats_server() -> str:
    """Its path; skips the test where there is none."""
    if FOUND is None:
        pytest.skip("no nats-server on this machine; install nats-server")
    return FOUND


class NatsServer:
    """One server. Its port and its folder stay over ``kill`` and ``start``.

    ``config``: further lines of its configuration file, such as ``authorization { token: … }``.
    """

    def __init__(self, folder: Path, config: str = "", name: str = "one", host: str = "127.0.0.1") -> None:
        self._executable = require_nats_server()
        self._host = host
        self.folder = folder
        self.port = lasting_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._config = folder / "nats.conf"
        folder.mkdir(parents=True, exist_ok=True)
        self._config.write_text(
            f'server_name: {name}\njetstream {{ store_dir: "{folder / "log"}" }}\nmax_payload: 4MB\n{config}\n'
        )

    @property
    def url(self) -> str:
        return f"nats://{in_address(self._host)}:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, *, wait: bool = True) -> NatsServer:
        """Start it, on the port it had; returns when it answers."""
        with (self.folder / "nats.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._executable, "-c", str(self._config), "-a", self._host, "-p", str(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if wait:
            self.await_ready()
        return self

    def await_ready(self) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            assert self._process is not None
            if self._process.poll() is not None:
                raise AssertionError(f"nats-server ended: {self.log[-2000:]}")
            if self._answers():
                return
            time.sleep(0.02)
        raise AssertionError(f"nats-server does not answer: {self.log[-2000:]}")

    @property
    def log(self) -> str:
        return (self.folder / "nats.log").read_text(errors="replace")

    def pause(self) -> None:
        """Stop it in its tracks, as a machine that hangs; returns when it stands. ``resume`` goes on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        _, status = os.waitpid(self._process.pid, os.WUNTRACED)  # until then other threads of it may answer yet
        assert os.WIFSTOPPED(status)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(how)
            self._process.send_signal(signal.SIGCONT)
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self._host, self.port), timeout=1) as sock:
                sock.settimeout(1)
                return sock.recv(4) == b"INFO"
        except OSError:
            return False


def cluster(folder: Path, count: int = 3) -> list[NatsServer]:
    """Servers that form one cluster, not started yet: start all with ``wait=False``, then ``await_ready`` each."""
    ports = [lasting_port() for _ in range(count)]
    routes = ", ".join(f'"nats-route://127.0.0.1:{port}"' for port in ports)
    return [
        NatsServer(
            folder / f"node{n}",
            f'cluster {{ name: fluxcap, listen: "127.0.0.1:{port}", routes: [{routes}] }}',
            name=f"node{n}",
        )
        for n, port in enumerate(ports)
    ]


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for loopback and its key, files in the folder; skips the test where openssl is absent."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on this machine; install openssl")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", "/CN=fluxcap test"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return cert, key
