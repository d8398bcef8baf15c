"""The tools that fluxcap is measured beside, in an environment of their own: ``python -m tests.bench.rivals``.

They are no dependency of fluxcap's, and their pins are not its. ``make bench`` makes the environment once, from
rivals.txt; where that cannot be done the rows say "not installed" and nothing fails.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".venv-bench"
LIST = Path(__file__).with_name("rivals.txt")
_MADE = FOLDER / ".ready"


def python() -> Path:
    """The interpreter that has them."""
    return FOLDER / "bin" / "python"


@functools.cache
def has(module: str) -> bool:
    """Whether one of them can be imported there."""
    if not python().exists():
        return False
    command = [str(python()), "-c", f"import importlib.util, sys; sys.exit(not importlib.util.find_spec({module!r}))"]
    return subprocess.run(command, capture_output=True, timeout=60).returncode == 0


def versions() -> dict[str, str]:
    """Which of them are installed there."""
    folders = [str(folder) for folder in FOLDER.glob("lib/python*/site-packages")]
    found = {each.name.replace("-", "_"): each.version for each in metadata.distributions(path=folders)}
    names = [wanted.partition("==")[0] for wanted in _wanted()]
    return {name: found[name] for name in names if name in found}


def _wanted() -> list[str]:
    lines = (line.strip() for line in LIST.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def install() -> bool:
    """Make the environment, each tool by itself, so that one that cannot be had does not cost the others."""
    wanted = LIST.read_text()
    if _MADE.exists() and _MADE.read_text() == wanted:
        return True
    subprocess.run([sys.executable, "-m", "venv", str(FOLDER)], check=True)
    pip = [str(python()), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--retries", "1"]
    pip += ["--only-binary", ":all:"]
    missing = [name for name in _wanted() if subprocess.run([*pip, name]).returncode]
    for name in missing:
        print(f"{name} cannot be installed here; its rows will say so.", file=sys.stderr)
    if not missing:
        _MADE.write_text(wanted)
    return not missing


if __name__ == "__main__":
    install()
