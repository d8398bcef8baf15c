"""Who may import whom: capture → bridge → schemas, pure files without I/O, heavy libraries only where they belong.

Read from the syntax trees, so that imports inside functions count too.
"""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = {"schemas": {"schemas"}, "bridge": {"bridge", "schemas"}, "capture": {"capture", "bridge", "schemas"}}
IO_MODULES = {
    "asyncio",
    "duckdb",
    "http",
    "httpx",
    "queue",
    "requests",
    "select",
    "selenium",
    "socket",
    "subprocess",
    "threading",
    "time",
    "urllib3",
    "websocket",
    "websockets",
    "zmq",
}
PURE = (
    "bridge/client/backoff.py",
    "bridge/client/gaps.py",
    "bridge/client/health.py",
    "bridge/sequencer.py",
    "capture/candles.py",
    "capture/chrome/address.py",
    "capture/chrome/commands.py",
    "capture/chrome/events.py",
    "capture/chrome/messages.py",
    "capture/chrome/session.py",
    "capture/chrome/sockets.py",
    "capture/chrome/targets.py",
    "capture/coverage.py",
    "capture/feeds.py",
    "capture/focus.py",
    "capture/market.py",
    "capture/platform_clock.py",
    "capture/platforms/base.py",
    "capture/platforms/pocketoption.py",
    "capture/platforms/socketio.py",
    "capture/tape.py",
    "schemas/codec/candles.py",
    "schemas/errors.py",
    "schemas/types.py",
)
"""Pure by the architecture; beside them every file whose docstring says so."""


def files_of(*packages: str) -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for package in packages for path in (ROOT / package).rglob("*.py"))


@functools.cache
def tree_of(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text(), file)


@functools.cache
def imports_of(file: str) -> set[str]:
    """Every module that a file imports, anywhere in it, with full dotted names."""
    found: set[str] = set()
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("import_module", "importlib.import_module"):
            found |= {
                word.value for word in node.args if isinstance(word, ast.Constant) and isinstance(word.value, str)
            }
    return found


def packages_of(file: str) -> set[str]:
    return {module.partition(".")[0] for module in imports_of(file)}


def pure_files() -> list[str]:
    said = [
        file
        for file in files_of("capture", "bridge", "schemas")
        if "Pure." in (ast.get_docstring(tree_of(file)) or "").replace("Pure:", "Pure.")
    ]
    return sorted({*PURE, *said})


def modules_after(code: str) -> set[str]:
    """What a fresh interpreter has loaded after some code."""
    script = f"import sys\n{code}\nprint(*sys.modules, sep='\\n')"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(result.stdout.splitlines())


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_follow_the_data_downstream(layer: str):
    ours = set(LAYERS)
    wrong = {file: found for file in files_of(layer) if (found := packages_of(file) & ours - LAYERS[layer])}

    assert files_of(layer)
    assert wrong == {}


def test_no_file_of_the_product_imports_the_tests():
    assert [file for file in files_of(*LAYERS) if "tests" in packages_of(file)] == []


@pytest.mark.parametrize("file", pure_files())
def test_pure_files_import_no_io_and_no_clock(file: str):
    assert packages_of(file) & IO_MODULES == set()


@pytest.mark.parametrize("file", pure_files())
def test_pure_files_do_not_ask_the_clock_by_other_ways(file: str):
    calls = {ast.unparse(node.func) for node in ast.walk(tree_of(file)) if isinstance(node, ast.Call)}

    assert {call for call in calls if call.endswith((".now", ".utcnow", ".today", "open"))} - {"self._open"} == set()


def test_only_the_codec_imports_flatbuffers():
    users = [file for file in files_of(*LAYERS) if "flatbuffers" in packages_of(file)]

    assert users
    assert all(file.startswith(("schemas/codec", "schemas/generated")) for file in users)


def test_only_the_browser_connection_imports_websocket_client():
    assert [file for file in files_of(*LAYERS) if "websocket" in packages_of(file)] == ["capture/chrome/connection.py"]


def test_only_what_stands_on_the_log_imports_nats():
    users = [file for file in files_of(*LAYERS) if packages_of(file) & {"nats", "nkeys"}]

    assert users
    assert all(file.startswith("bridge/jetstream/") for file in users)


def test_only_the_bridge_imports_duckdb_and_zeromq():
    users = {file: packages_of(file) & {"duckdb", "zmq"} for file in files_of("capture", "schemas")}

    assert {file: found for file, found in users.items() if found} == {}


def test_the_client_needs_nothing_of_the_capturing_side():
    loaded = {name.partition(".")[0] for name in modules_after("import bridge.client")}

    assert "bridge" in loaded
    assert loaded & {"capture", "selenium", "nicegui", "fastapi", "uvicorn", "socketio", "websocket", "typer"} == set()


def test_help_is_told_without_loading_anything_heavy():
    code = "from capture.cli import run_cli\nassert run_cli(['--help']) == 0\nassert run_cli(['run', '--help']) == 0"
    heavy = {"duckdb", "zmq", "selenium", "fastapi", "nicegui", "numpy", "uvicorn", "apscheduler", "websocket", "httpx"}

    assert {name.partition(".")[0] for name in modules_after(code)} & heavy == set()


def test_no_module_is_called_for_everything_and_nothing():
    vague = {"utils", "helpers", "manager", "common", "misc"}

    assert [file for file in files_of(*LAYERS) if vague & set(Path(file).stem.split("_"))] == []
