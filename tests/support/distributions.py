"""Wheel and sdist of this tree, and the wheel in a fresh environment: all without a network."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement

from tests.support.paths import ROOT


def tracked_files() -> list[str]:
    """Every file that git knows and that is there."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def copy_tree(folder: Path) -> Path:
    """A copy of the tracked files."""
    for name in tracked_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


def build(tree: Path, folder: Path, *targets: str) -> list[Path]:
    """Build ``targets`` (``wheel``, ``sdist``) of a tree into a folder, by its own build backend."""
    wanted = [word for target in targets for word in ("-t", target)]
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder), *wanted]
    subprocess.run(command, cwd=tree, capture_output=True, check=True)
    endings = {"wheel": "*.whl", "sdist": "*.tar.gz"}
    return [next(folder.glob(endings[target])) for target in targets]


def canonical(name: str) -> str:
    """A distribution's name as indexes spell it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needed_by(requirements: Iterable[str]) -> dict[str, Distribution]:
    """The distributions that requirements ask for on this machine, with all that those ask for in turn."""
    found: dict[str, Distribution] = {}
    extras_done: dict[str, set[str]] = {}

    def add(requirement: Requirement) -> None:
        name = canonical(requirement.name)
        done = extras_done.setdefault(name, set())
        if name in found and requirement.extras <= done:
            return
        done |= requirement.extras
        found[name] = distribution(name)
        for text in found[name].requires or ():
            one = Requirement(text)
            if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *done)):
                add(one)

    for text in requirements:
        add(Requirement(text))
    return found


def install(wheel: Path, folder: Path, requirements: Iterable[str]) -> Path:
    """Make an environment of the wheel and what it asks for, and of nothing else; returns its Python.

    The dependencies are links into this environment, so that nothing is downloaded.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", "--python", str(python)]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--no-compile", str(wheel)], check=True)
    site = next((folder / "lib").glob("python*/site-packages"))
    for distributed in needed_by(requirements).values():
        for source, name in _top_level(distributed):
            if not (site / name).exists():
                (site / name).symlink_to(source)
    return python


def _top_level(distributed: Distribution) -> Iterator[tuple[Path, str]]:
    """Files and folders that a distribution has put side by side into site-packages."""
    files = distributed.files
    assert files, f"{distributed.metadata['Name']} says not what it installed"
    for name in sorted({PurePosixPath(file).parts[0] for file in files} - {"..", "__pycache__"}):
        yield Path(str(distributed.locate_file(name))), name
