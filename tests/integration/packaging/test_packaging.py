"""Wheel and sdist hold what belongs in them, and the installed wheel does its work beside nothing else of ours.

Built from a copy of the tracked files in which somebody has worked: what git ignores lies about in it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import Any

import pytest

from tests.support.distributions import build, copy_tree, install, tracked_files
from tests.support.paths import ROOT

LEFT_BY_WORK = (
    "capture/__pycache__/leftover.cpython-311.pyc",
    "capture/market/leftover.pyc",
    "bridge/build/leftover.py",
    "bridge/store/.mypy_cache/leftover.json",
    "schemas/fluxcap.egg-info/PKG-INFO",
    "fluxcap/dist/leftover.py",
    "fluxcap/__pycache__/leftover.cpython-311.pyc",
    "data/candles.duckdb",
    "data/universe.csv.bak",
    "tests/.pytest_cache/leftover",
)
"""Files that git ignores: ``pip install .`` of a checkout must not ship them."""
PARTS = {"capture/": "fluxcap/capture/", "bridge/": "fluxcap/bridge/", "schemas/": "fluxcap/schemas/"}
"""Where the folders of the checkout lie in the package."""
FOLDERS = ("fluxcap/", *PARTS)
PICTURES = "bridge/dashboard/screenshots/"
NOTEBOOK = "bridge/history.ipynb"
OUR_FOLDERS = ("schemas", "bridge", "capture", "data")
"""Names that modules of a user's own project may have."""
LOOK = """
import importlib, importlib.metadata, importlib.util, json, pkgutil
import fluxcap

modules = [module.name for module in pkgutil.walk_packages(fluxcap.__path__, "fluxcap.")]
for name in modules:
    if not name.endswith(".__main__"):
        importlib.import_module(name)

from fluxcap.bridge.dashboard.page_files import PageFiles
from fluxcap.bridge.devserver.engine import DevEngine
from fluxcap.bridge.devserver.settings import DevSettings
from fluxcap.capture.api.app import DOCS_PAGE
from fluxcap.capture.simulator.assets import load_assets
from fluxcap.capture.simulator.server.routes import _file

nowhere = "tcp://127.0.0.1:0"
engine = DevEngine(DevSettings(data_dir="store", pub=nowhere, rep=nowhere)).start()
universe = engine.universe()
engine.close()

print(json.dumps({
    "package": fluxcap.__file__,
    "extras": [name for name in ("nats", "nkeys", "pyarrow", "polars", "pytest") if importlib.util.find_spec(name)],
    "modules": len(modules),
    "entry points": {
        point.name: callable(point.load()) for point in importlib.metadata.distribution("fluxcap").entry_points
    },
    "files": [name for name in ("main.js", "lightweight-charts.js") if PageFiles().get(name)],
    "docs": DOCS_PAGE.is_file(),
    "assets": len(load_assets()),
    "simulated page": len(_file("index.html")),
    "universe": len(universe),
}))
"""

Outputs = tuple[Path, Path]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout: git does not say here which files belong in")
    folder = copy_tree(tmp_path_factory.mktemp("tree"))
    for name in LEFT_BY_WORK:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("raise AssertionError\n")
    return folder


@pytest.fixture(scope="module")
def built(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    """Wheel and sdist."""
    wheel, sdist = build(tree, tmp_path_factory.mktemp("dist"), "wheel", "sdist")
    return wheel, sdist


@pytest.fixture(scope="module")
def metadata(built: Outputs) -> PathDistribution:
    return PathDistribution(zipfile.Path(built[0], "fluxcap-0.2.0.dist-info/"))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def python(built: Outputs, metadata: PathDistribution, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment with the wheel and its dependencies, without any extra."""
    needed = [text for text in metadata.requires or () if "extra ==" not in text]
    assert needed
    return install(built[0], tmp_path_factory.mktemp("plain"), needed)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose own modules have the names of our folders."""
    folder = tmp_path_factory.mktemp("hostile")
    for name in OUR_FOLDERS:
        (folder / f"{name}.py").write_text(f"raise AssertionError('{name} of the user')\n")
    return folder


@pytest.fixture(scope="module")
def told(python: Path, hostile: Path) -> Mapping[str, Any]:
    """What one process, in which every module is loaded from the wheel, has found."""
    found: Mapping[str, Any] = json.loads(run(python, "-c", LOOK, cwd=hostile))
    return found


def run(*command: object, cwd: Path, **environment: str) -> str:
    """Run a command; returns what it printed."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "HOME": str(cwd), "COLUMNS": "100", **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def in_wheel(name: str) -> str:
    """Where a file of the checkout lies in the wheel."""
    for part, place in PARTS.items():
        if name.startswith(part):
            return place + name.removeprefix(part)
    return "fluxcap/data/universe.csv" if name == "data/universe.csv" else name


def contents(wheel: Path) -> Mapping[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


# --- what is in them -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LEFT_BY_WORK)
def test_what_work_leaves_behind_is_ignored_by_git(name: str):
    subprocess.run(["git", "check-ignore", "-q", "--no-index", name], cwd=ROOT, check=True)


def test_the_wheel_holds_the_tracked_files_of_the_product_and_no_other(built: Outputs):
    expected = {in_wheel(name) for name in tracked_files() if name.startswith(FOLDERS) or name == "data/universe.csv"}
    pictures = {in_wheel(name) for name in tracked_files() if name.startswith(PICTURES)}
    for_node = {in_wheel(name) for name in tracked_files() if name.startswith("schemas/js/")}

    held = {name for name in contents(built[0]) if ".dist-info/" not in name}

    assert pictures
    assert for_node
    assert held == expected - pictures - for_node - {in_wheel(NOTEBOOK)}


def test_the_wheel_has_one_top_level_name(built: Outputs):
    assert {name.partition("/")[0] for name in contents(built[0])} == {"fluxcap", "fluxcap-0.2.0.dist-info"}


def test_the_sdist_holds_the_tracked_files_and_no_other(built: Outputs):
    expected = {name for name in tracked_files() if not name.startswith(".ci/")}

    with tarfile.open(built[1]) as archive:
        held = {member.name.partition("/")[2] for member in archive if member.isfile()}

    assert held == expected | {"PKG-INFO"}


def test_the_wheel_of_the_sdist_is_that_of_the_checkout(built: Outputs, tmp_path: Path):
    with tarfile.open(built[1]) as archive:
        archive.extractall(tmp_path, filter="data")

    [again] = build(tmp_path / "fluxcap-0.2.0", tmp_path / "dist", "wheel")

    assert contents(again) == contents(built[0])


def test_the_wheel_says_what_it_is_and_under_which_licences(metadata: PathDistribution, built: Outputs):
    said = metadata.metadata

    assert (said["Name"], said["Version"], said["License-Expression"]) == ("fluxcap", "0.2.0", "MIT")
    assert said.get_all("License-File") == ["LICENSE", "THIRD_PARTY.md"]
    assert {f"fluxcap-0.2.0.dist-info/licenses/{name}" for name in said.get_all("License-File") or ()} <= set(
        contents(built[0])
    )


# --- what is installed does its work ---------------------------------------------------------------------------------


def test_the_client_is_imported_beside_modules_of_our_folders_names(python: Path, hostile: Path):
    assert run(python, "-c", "import fluxcap; print(fluxcap.LiveClient.__module__)", cwd=hostile).strip() == (
        "fluxcap.bridge.client.live"
    )


@pytest.mark.parametrize("command", [("fluxcap",), ("python", "-m", "fluxcap.capture.cli")])
def test_the_command_line_starts_beside_modules_of_our_folders_names(
    python: Path, hostile: Path, command: tuple[str, ...]
):
    assert "fluxcap [OPTIONS] COMMAND" in run(python.with_name(command[0]), *command[1:], "--help", cwd=hostile)


def test_every_module_is_loaded_from_the_wheel_without_any_extra(told: Mapping[str, Any]):
    assert "site-packages" in told["package"]
    assert told["extras"] == []
    assert told["modules"] == sum(name.endswith(".py") for name in tracked_files() if name.startswith(FOLDERS)) - 1


def test_every_entry_point_leads_to_something(told: Mapping[str, Any]):
    assert told["entry points"] == {"fluxcap": True, "generic": True, "pocketoption": True, "quotex": True}


def test_files_that_are_no_code_are_found(told: Mapping[str, Any]):
    assert told["files"] == ["main.js", "lightweight-charts.js"]
    assert told["docs"]
    assert told["assets"] > 50
    assert told["simulated page"] > 1_000


def test_a_dev_server_finds_the_universe_in_the_wheel(told: Mapping[str, Any]):
    assert told["universe"] == len((ROOT / "data" / "universe.csv").read_text().splitlines()) - 1


# --- types -----------------------------------------------------------------------------------------------------------

USER_CODE = """
from fluxcap import Candles, LiveClient, StreamKey
from fluxcap.errors import FluxcapError
from fluxcap.platforms import Platform, RawTick


def last_close(client: LiveClient) -> float | None:
    try:
        for event in client.events(timeout=1.0):
            if isinstance(event, Candles):
                return float(event.candles["close"][-1])
    except FluxcapError as error:
        print(error)
    return None


def tick_of(platform: Platform, tick: RawTick) -> str:
    return f"{platform} {tick}"


with LiveClient(streams=[StreamKey("POCKETOPTION", "EURUSD_otc", "1m")]) as client:
    print(last_close(client))
"""
WRONG_CODE = """
from fluxcap import LiveClient, StreamKey

LiveClient(streams=[StreamKey("POCKETOPTION", "EURUSD_otc", 60)])
"""


@pytest.mark.slow
@pytest.mark.long  # mypy reads all of the package's dependencies; that our own types are sound is shown by make lint
def test_the_types_of_the_installed_package_reach_a_strict_user(python: Path, hostile: Path):
    (hostile / "right.py").write_text(USER_CODE)
    (hostile / "wrong.py").write_text(WRONG_CODE)
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python), "right.py", "wrong.py"]

    checked = subprocess.run(command, cwd=hostile, capture_output=True, text=True)

    assert [line.partition(" error: ")[0] for line in checked.stdout.splitlines() if "error:" in line] == [
        "wrong.py:4:"
    ]
    assert "[arg-type]" in checked.stdout
