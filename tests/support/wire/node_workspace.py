"""A folder in which Node finds its packages and the JavaScript that flatc and tsc made of the wire schema."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from fluxcap.schemas.generate import SCHEMA_FOLDER

NODE_SOURCES = Path(__file__).parent / "node"
INSTALL_SECONDS = 90


def node_workspace(folder: Path) -> Path:
    """``folder``, with ``node_modules`` and ``market_data_generated.js``; skips the test where that cannot be had.

    Packages are installed once, into the user's cache or ``FLUXCAP_NODE_CACHE``, never into the project's tree.
    """
    for program in ("node", "npm", "flatc"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    modules = _installed_packages() / "node_modules"
    (folder / "node_modules").symlink_to(modules)
    generated = folder / "generated"
    subprocess.run(["flatc", "--ts", "-o", str(generated), str(SCHEMA_FOLDER / "market_data.fbs")], check=True)
    options = ["--module", "commonjs", "--moduleResolution", "node", "--target", "es2020", "--skipLibCheck"]
    source = str(generated / "market_data_generated.ts")
    compiler = str(modules / "typescript" / "bin" / "tsc")
    subprocess.run(["node", compiler, *options, "--outDir", str(folder), source], check=True, timeout=120)
    return folder


def node_packages(folder: Path) -> Path:
    """``folder`` with ``node_modules`` alone; skips as ``node_workspace``."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    (folder / "node_modules").symlink_to(_installed_packages() / "node_modules")
    return folder


def _installed_packages() -> Path:
    manifest = (NODE_SOURCES / "package.json").read_bytes()
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "fluxcap-tests"
    cache = Path(os.environ.get("FLUXCAP_NODE_CACHE", default))
    installed = cache / f"node-{hashlib.sha256(manifest).hexdigest()[:12]}"
    if not installed.exists():
        cache.mkdir(parents=True, exist_ok=True)
        # Installed beside its place and moved there whole, so that an interrupted install is never taken for one.
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            (Path(folder) / "package.json").write_bytes(manifest)
            _install(Path(folder))
            (Path(folder) / "node_modules").rename(_made(installed) / "node_modules")
    if not (installed / "node_modules").exists():
        pytest.skip(f"the Node packages in {installed} are incomplete; remove it")
    return installed


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _install(folder: Path) -> None:
    options = [
        "--no-package-lock",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
        "--prefer-offline",
        "--fetch-retries=0",
    ]
    try:
        subprocess.run(
            ["npm", "install", *options],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        pytest.skip(f"npm cannot install the packages: {' '.join(error.stderr.split())[:200]}")
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not install the packages within {INSTALL_SECONDS} s")
