"""How the tree hangs together: one way down, no circle, pure folders pure, heavy libraries only where they belong.

Read from the syntax trees, so that imports inside functions count too.
"""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.source import nodes_of, tree_of

LAYERS = {"schemas": {"schemas"}, "bridge": {"bridge", "schemas"}, "capture": {"capture", "bridge", "schemas"}}
WAYS_DOWN = {
    "capture": (
        *("cli", "tools", "daemon", "collect", "api", "alerts", "csvfiles", "pipeline", "recording", "market"),
        *("simulator", "platforms", "chrome", "runtime"),
    ),
    "bridge": (
        *("devserver", "dashboard", "web", "terminal", "archive", "history", "client", "jetstream", "server", "export"),
        *("http", "store", "transport", "system"),
    ),
}
"""The folders of each part in the order in which they may import: a folder imports those to its right only."""
MOST_MODULES = 20
"""In one folder. More of them is a pile in which nobody finds anything."""
FACE = {"__init__.py", "errors.py", "platforms.py", "py.typed"}
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
PURE_FOLDERS = ("capture/market", "bridge/client/receiver", "schemas/codec")
"""Every file in them takes time and bytes as arguments."""
PURE = (
    "bridge/client/health.py",
    "bridge/server/sequencer.py",
    "bridge/transport/backoff.py",
    "capture/chrome/commands.py",
    "capture/chrome/events.py",
    "capture/chrome/messages.py",
    "capture/chrome/session.py",
    "capture/chrome/target.py",
    "capture/chrome/targets.py",
    "capture/platforms/base.py",
    "capture/platforms/pocketoption.py",
    "capture/platforms/socketio.py",
    "schemas/candles.py",
    "schemas/errors.py",
    "schemas/types.py",
)
"""Pure by the architecture; beside them every file whose docstring says so."""
UNMIRRORED = {
    "tests/unit/bridge/client/test_public_surface.py",  # of the package fluxcap
    "tests/unit/bridge/dashboard/test_static_modules.py",  # of the modules in JavaScript
    "tests/unit/bridge/jetstream/test_extra_missing.py",  # of the whole folder
    "tests/unit/capture/market/test_market_clock.py",
    "tests/unit/capture/market/test_market_same_stamp.py",  # a third file for market.py
    "tests/unit/capture/market/test_market_tabs.py",  # a second file for market.py
    "tests/unit/schemas/codec/test_golden.py",  # of the whole folder
}
"""Unit tests of more or of less than one module."""


def files_of(*packages: str) -> list[str]:
    return sorted(path.relative_to(ROOT).as_posix() for package in packages for path in (ROOT / package).rglob("*.py"))


@functools.cache
def imports_of(file: str) -> set[str]:
    """Every module that a file imports, anywhere in it, with full dotted names."""
    found: set[str] = set()
    for node in nodes_of(ROOT / file, ast.Import, ast.ImportFrom, ast.Call):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and "import_module" in (
            getattr(node.func, "id", ""),
            getattr(node.func, "attr", ""),
        ):
            found |= {
                word.value for word in node.args if isinstance(word, ast.Constant) and isinstance(word.value, str)
            }
    return found


def packages_of(file: str) -> set[str]:
    return {module.partition(".")[0] for module in imports_of(file)}


def parts_of(file: str) -> set[str]:
    """Which of capture, bridge and schemas a file imports."""
    return {module.split(".")[1] for module in imports_of(file) if module.startswith("fluxcap.")} & set(LAYERS)


def module_of(file: str) -> str:
    return "fluxcap." + file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@functools.cache
def graph() -> Mapping[str, frozenset[str]]:
    """Every file of the product, and the files that it imports."""
    files = {module_of(file): file for file in files_of(*LAYERS)}
    found: dict[str, frozenset[str]] = {}
    for file in files.values():
        modules: set[str] = set()
        for node in nodes_of(ROOT / file, ast.Import, ast.ImportFrom):
            if isinstance(node, ast.Import):
                modules |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                modules |= {name if name in files else node.module or "" for name in names}
        found[file] = frozenset(files[module] for module in modules if module in files) - {file}
    return found


def folder_of(file: str) -> str:
    """``capture/market`` of ``capture/market/tape.py``; deeper folders belong to that of the second level."""
    return "/".join(file.split("/")[:-1][:2])


def circles(edges: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Every set of nodes that reach each other, by Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in edges.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for node in edges:
        if node not in index:
            visit(node)
    return found


@functools.cache
def pure_files() -> list[str]:
    said = [
        file
        for file in files_of("capture", "bridge", "schemas")
        if file.startswith(PURE_FOLDERS)
        or "Pure." in (ast.get_docstring(tree_of(ROOT / file)) or "").replace("Pure:", "Pure.")
    ]
    return sorted({*PURE, *said})


def modules_after(code: str) -> set[str]:
    """What a fresh interpreter has loaded after some code."""
    script = f"import sys\n{code}\nprint(*sys.modules, sep='\\n')"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(result.stdout.splitlines())


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_follow_the_data_downstream(layer: str):
    wrong = {file: found for file in files_of(layer) if (found := parts_of(file) - LAYERS[layer])}

    assert files_of(layer)
    assert wrong == {}, "capture imports bridge, bridge imports schemas, never the other way: move what both need down."


def test_everything_is_imported_by_its_one_name():
    wrong = {file: found for file in files_of(*LAYERS) if (found := packages_of(file) & set(LAYERS))}

    assert wrong == {}, "import fluxcap.capture, fluxcap.bridge, fluxcap.schemas."


@pytest.mark.parametrize("part", WAYS_DOWN)
def test_every_folder_has_its_place_in_the_way_down(part: str):
    folders = {path.name for path in (ROOT / part).iterdir() if path.is_dir() and any(path.glob("*.py"))}

    assert folders == set(WAYS_DOWN[part]), "A new folder is written into WAYS_DOWN, where its imports allow it to be."


@pytest.mark.parametrize("part", WAYS_DOWN)
def test_folders_import_one_way(part: str):
    rank = {f"{part}/{name}": at for at, name in enumerate(WAYS_DOWN[part])}
    wrong = [
        f"{file} imports {other}"
        for file, others in graph().items()
        for other in sorted(others)
        if rank.get(folder_of(other), -1) < rank.get(folder_of(file), -1) and folder_of(other) in rank
    ]

    assert wrong == [], f"Folders import to the right only: {' → '.join(WAYS_DOWN[part])}. Move what is needed down."


def test_no_files_import_each_other_in_a_circle():
    assert circles(graph()) == [], "Give what both need a file below both, or make one file of them."


def test_no_folders_import_each_other_in_a_circle():
    folders: dict[str, set[str]] = {}
    for file, others in graph().items():
        folders.setdefault(folder_of(file), set()).update(folder_of(other) for other in others)

    assert circles({name: others - {name} for name, others in folders.items()}) == [], "Move what both need down."


def test_a_circle_is_found():
    assert circles({"a": ["b"], "b": ["c"], "c": ["b"], "d": ["a"]}) == [["b", "c"]]


def test_no_folder_is_a_pile_of_modules():
    counts: dict[str, int] = {}
    for file in files_of(*LAYERS):
        counts[file.rpartition("/")[0]] = counts.get(file.rpartition("/")[0], 0) + 1

    assert {folder: count for folder, count in counts.items() if count > MOST_MODULES} == {}, "Part it by subject."


def test_no_module_lies_beside_the_folders():
    assert [file for file in files_of("capture", "bridge") if file.count("/") == 1 and "__init__" not in file] == []


def test_the_package_itself_is_a_face_and_nothing_else():
    tracked = {path.name for path in (ROOT / "fluxcap").iterdir() if path.name != "__pycache__"}

    assert tracked == FACE, "fluxcap/ holds the public names only; what does the work lies in the three folders."


def test_no_file_of_the_product_imports_the_tests():
    assert [file for file in files_of(*LAYERS) if "tests" in packages_of(file)] == []


def test_pure_files_import_no_io_and_no_clock():
    wrong = {file: found for file in pure_files() if (found := packages_of(file) & IO_MODULES)}

    assert len(pure_files()) >= len(PURE)
    assert wrong == {}, "What is pure takes time and bytes as arguments."


def test_pure_files_do_not_ask_the_clock_by_other_ways():
    wrong = {file: found for file in pure_files() if (found := clock_and_file_calls(file))}

    assert wrong == {}, "What is pure takes time and bytes as arguments."


def clock_and_file_calls(file: str) -> set[str]:
    calls = {ast.unparse(node.func) for node in nodes_of(ROOT / file, ast.Call)}
    return {call for call in calls if call.endswith((".now", ".utcnow", ".today", "open"))} - {"self._open"}


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
    loaded = modules_after("import fluxcap\nfluxcap.LiveClient")
    heavy = {
        *("duckdb", "selenium", "fastapi", "uvicorn", "socketio", "websocket", "typer", "apscheduler"),
        *("httpx", "pydantic", "rich", "asyncio", "nats"),
    }

    assert "fluxcap.bridge.client.live" in loaded
    assert [name for name in loaded if name.startswith("fluxcap.capture")] == []
    assert {name.partition(".")[0] for name in loaded} & heavy == set()


def test_help_is_told_without_loading_anything_heavy():
    code = "from fluxcap.capture.cli.app import run_cli\n"
    code += "assert run_cli(['--help']) == 0\nassert run_cli(['run', '--help']) == 0"
    heavy = {"duckdb", "zmq", "selenium", "fastapi", "numpy", "uvicorn", "apscheduler", "websocket", "httpx"}

    assert {name.partition(".")[0] for name in modules_after(code)} & heavy == set()


def test_no_module_is_called_for_everything_and_nothing():
    vague = {"utils", "helpers", "manager", "common", "misc"}

    assert [file for file in files_of(*LAYERS) if vague & set(Path(file).stem.split("_"))] == []


def test_every_file_of_unit_tests_mirrors_a_module_of_the_product():
    files = {
        path.relative_to(ROOT).as_posix(): path.parent.relative_to(ROOT / "tests/unit")
        / path.name.removeprefix("test_")
        for part in LAYERS
        for path in (ROOT / "tests/unit" / part).rglob("test_*.py")
    }

    assert len(files) > 100
    assert {file for file, module in files.items() if not (ROOT / module).is_file()} == UNMIRRORED


def test_whatever_is_printed_goes_through_what_makes_it_harmless():
    """Text of a page, a browser or a server could steer the terminal: ``say``, ``say_json`` and SafeConsole show it."""
    raw = re.compile(r"\btyper\.echo\(|(?<![\w.])print\(|(?<!Safe)Console\((?!\w*\):)|std(?:out|err)\.write\(")
    allowed = {
        "bridge/terminal/console.py",
        "capture/runtime/output.py",
        "bridge/devserver/process.py",  # its own addresses, and its own settings
        "schemas/generate.py",
    }
    found = [
        f"{path.relative_to(ROOT).as_posix()}:{number}: {line.strip()}"
        for path in [file for part in ("capture", "bridge", "schemas") for file in (ROOT / part).rglob("*.py")]
        if path.relative_to(ROOT).as_posix() not in allowed
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if raw.search(line) and not line.lstrip().startswith((">>>", "..."))
    ]

    assert found == [], "use fluxcap.capture.runtime.output or fluxcap.bridge.terminal.console"


@pytest.mark.costly
def test_a_daemon_starts_without_what_only_commands_and_extras_need():
    loaded = modules_after("import fluxcap.capture.daemon.daemon")

    assert loaded & {"fastapi", "httpx", "rich", "selenium", "nats", "apprise", "pandas", "pyarrow"} == set(), (
        "Import it where it is used: each costs every start of a daemon, and its memory."
    )
