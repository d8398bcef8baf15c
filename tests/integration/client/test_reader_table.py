"""The table "Who you are, what you use" of the document for client developers: its lines work as they stand.

Run beside one daemon whose ports are free ones; the lines themselves name the usual ones.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fluxcap.capture.api import server as serving
from fluxcap.capture.cli.app import run_cli
from fluxcap.capture.daemon.daemon import Daemon
from fluxcap.capture.runtime.settings import Settings
from fluxcap.schemas.types import StreamKey
from tests.support.documents import section
from tests.support.paths import ROOT
from tests.support.patience import PATIENCE_S
from tests.support.wire.samples import candles

pytestmark = pytest.mark.costly

CLIENTS = ROOT / "bridge" / "README.md"
KEY = StreamKey("POCKETOPTION", "EURUSD_otc", "1m")
LINES = re.findall(r"(?m)^\| .+ \| .+ \| `(.+)` \|$", section(CLIENTS, "Who you are, what you use"))
ELSEWHERE = {
    "npm install path/to/schemas/js": "tests/integration/client/test_js_client.py",
    "fluxcap devserver --symbols EURUSD_otc": "tests/integration/screens/test_devserver.py",
    "fluxcap export candles --symbol EURUSD_otc --format nautilus --out catalog": (
        "tests/integration/packaging/test_other_programs.py"
    ),
    "fluxcap tail POCKETOPTION EURUSD_otc 1m --json": "tests/integration/daemon/test_live_path_commands.py",
    "fluxcap tail 'DESK1/*' --via nats://log1:4222": "tests/integration/daemon/test_log_commands.py",
}
"""Lines that go on until Ctrl-C or need more than a daemon, and the tests that run what they name."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reader")


@pytest.fixture(scope="module")
def daemon(folder: Path) -> Iterator[Daemon]:
    ends = {"pub": "tcp://127.0.0.1:0", "rep": "tcp://127.0.0.1:0", "web_port": 0}
    with Daemon(Settings(data_dir=folder / "data", chrome="127.0.0.1:1", timeframes=(), **ends)) as daemon:
        daemon.pipeline.call(lambda: daemon.server.publish({KEY: candles(1, 8)}))
        yield daemon


@pytest.fixture(autouse=True)
def _beside_it(daemon: Daemon, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its data folder is, with its ports in place of the usual ones."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("FLUX_LIVE_PUB", daemon.server.pub_endpoint)
    monkeypatch.setenv("FLUX_CHUNK_REP", daemon.server.rep_endpoint)
    monkeypatch.setattr(serving, "run_dashboard_server", lambda target, port: 0 if target.control else 1)


def test_every_reader_has_a_line() -> None:
    assert len(LINES) >= 13
    assert set(ELSEWHERE) <= set(LINES)
    assert [path for path in ELSEWHERE.values() if not (ROOT / path).exists()] == []
    assert len(re.findall(r"(?m)^\| (?!you|-)", section(CLIENTS, "Who you are, what you use"))) == len(LINES)


@pytest.mark.parametrize("line", [line for line in LINES if line not in ELSEWHERE])
def test_the_line_of_a_reader_works(line: str, daemon: Daemon, folder: Path) -> None:
    words = shlex.split(line)

    match words:
        case ["python", "-c", code]:
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(code, {})
            assert "EURUSD_otc" in printed.getvalue() or "1970-01-01T00:01" in printed.getvalue()
        case ["curl", url]:
            address = url.replace("http://127.0.0.1:3001", daemon.identity.control)
            answer = httpx.get(address, timeout=PATIENCE_S, trust_env=False, verify=False)
            assert answer.status_code == 200, answer.text
            assert address != url
        case ["fluxcap", "export", *_, out]:
            assert run_cli(words[1:]) == 0
            assert (folder / out).exists()
        case ["fluxcap", "dashboard"]:
            assert run_cli(words[1:]) == 0
        case _:
            pytest.fail(f"nobody runs {line}")
