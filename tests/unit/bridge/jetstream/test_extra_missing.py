"""Without the extra ``fluxcap[nats]`` everything else works, and who asks for NATS is told what to install.

One process without nats-py does it all: starting one with all of fluxcap takes its time.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.costly

NOWHERE = ("--pub", "tcp://127.0.0.1:0", "--rep", "tcp://127.0.0.1:0")
COMMANDS = (
    ("forward", "nats://127.0.0.1:1", "--setup"),
    ("forward", "nats://127.0.0.1:1", "--pub", "tcp://127.0.0.1:1", "--rep", "tcp://127.0.0.1:1"),
    ("archive", "--via", "nats://127.0.0.1:1", "--out", "out", "--once"),
    ("tail", "SIM", "EURUSD", "--via", "nats://127.0.0.1:1"),
    ("backfill", "SIM", "EURUSD", "--via", "nats://127.0.0.1:1", "--out", "out.csv"),
    ("watch", "--via", "nats://127.0.0.1:1"),
    ("dashboard", "--via", "nats://127.0.0.1:1", "--port", "0"),
    ("run", "--forward", "nats://127.0.0.1:1", "--no-web", "--control-port", "0", *NOWHERE),
)
CODE = """
import contextlib, importlib, io, json, sys
sys.modules["nats"] = sys.modules["nkeys"] = None  # an import of them fails, wherever it stands
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
from fluxcap.capture.cli.app import run_cli
for arguments in json.loads(sys.argv[2]):
    told = io.StringIO()
    with contextlib.redirect_stderr(told):
        code = run_cli(arguments)
    print(json.dumps([code, told.getvalue().splitlines()[-1]]))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    files = [path.relative_to(ROOT).with_suffix("") for path in (ROOT / "bridge/jetstream").rglob("[a-z]*.py")]
    modules = ["fluxcap." + ".".join(file.parts) for file in files]
    modules += [
        "fluxcap.bridge.client.live",
        "fluxcap.capture.daemon.daemon",
        "fluxcap.capture.daemon.forwarding",
        "fluxcap.capture.daemon.forward_standalone",
    ]
    arguments = [json.dumps(modules), json.dumps(COMMANDS)]
    folder = tmp_path_factory.mktemp("data")
    return subprocess.run([sys.executable, "-c", CODE, *arguments], cwd=folder, capture_output=True, text=True)


def test_everything_is_imported_without_it(run: subprocess.CompletedProcess[str]):
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("number", range(len(COMMANDS)))
def test_who_asks_for_it_is_told_what_to_install(run: subprocess.CompletedProcess[str], number: int):
    code, told = json.loads(run.stdout.splitlines()[number])

    assert code == 2
    assert told.endswith('pip install "fluxcap[nats]"')
