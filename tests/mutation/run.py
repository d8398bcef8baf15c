"""Changes the pure core in small ways and sees whether its own tests notice: ``make mutation [MODULE=tape]``.

Each module is mutated by mutmut in a folder of its own (``.mutation/<module>``: a copy of sources and tests), in one
process, and tried against its own unit and property tests alone. What was decided stands until the function changes;
only survivors are tried again, so a run that was interrupted goes on, and one after new tests is short. Ends with a
line for each module, and with the survivors.

mutmut changes what functions say: operators, numbers, texts, arguments, conditions, assignments. It leaves alone what
runs at import (constants) and decorated functions (properties).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORK = ROOT / ".mutation"
SOURCES = ("capture", "bridge", "schemas")

MODULES: dict[str, tuple[str, tuple[str, ...]]] = {
    "candles": (
        "capture/candles.py",
        ("unit/test_candles.py", "unit/test_sealing.py", "unit/test_market.py", "property/test_market_breaks.py"),
    ),
    "tape": ("capture/tape.py", ("unit/test_tape.py", "property/test_tape_model.py")),
    "sealing": (
        "capture/sealing.py",
        ("unit/test_sealing.py", "unit/test_market.py", "property/test_sealing_idles.py"),
    ),
    "sequencer": ("bridge/sequencer.py", ("unit/test_sequencer.py", "property/test_sequencer_model.py")),
    "gaps": ("bridge/client/gaps.py", ("unit/test_gaps.py", "property/test_gaps_model.py")),
    "session": (
        "capture/chrome/session.py",
        ("unit/test_chrome_session.py", "unit/test_chrome_targets.py", "unit/test_chrome_asking.py")
        + ("property/test_chrome_session.py",),
    ),
    "socketio": ("capture/platforms/socketio.py", ("unit/test_socketio.py", "property/test_garbage.py")),
    "platform_clock": (
        "capture/platform_clock.py",
        ("unit/test_platform_clock.py", "property/test_clock_model.py"),
    ),
}
"""Name on the command line → the file that is changed, and the tests (below ``tests/``) that must notice."""

_KILLED = {"killed", "timeout"}


def run(name: str) -> None:
    """Mutate one module and try what is not decided yet. Raises CalledProcessError when mutmut cannot run."""
    folder = _prepared(name)
    _forget_survivors(name)
    command = [str(Path(sys.executable).with_name("mutmut")), "run", "--max-children", "1"]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "TERM": "dumb"}
    with (folder / "log").open("w") as log:
        subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, check=True)


def verdicts(name: str) -> dict[str, str]:
    """Mutant → ``killed``, ``survived``, ``timeout``, ``no tests``, ``not checked`` …"""
    from mutmut.stats import status_by_exit_code

    meta = _meta(name)
    codes = json.loads(meta.read_text())["exit_code_by_key"] if meta.exists() else {}
    return {mutant: status_by_exit_code[code] for mutant, code in codes.items()}


def _prepared(name: str) -> Path:
    """The module's folder, its sources and tests linked to the real ones: mutmut makes its copy from there."""
    file, tests = MODULES[name]
    folder = WORK / name
    folder.mkdir(parents=True, exist_ok=True)
    for part in (*SOURCES, "tests", "data"):
        with contextlib.suppress(FileExistsError):
            (folder / part).symlink_to(ROOT / part)
    selection = json.dumps([f"tests/{test}" for test in tests])
    pytest_table = (ROOT / "pyproject.toml").read_text().partition("[tool.pytest.ini_options]")[2].partition("\n[")[0]
    (folder / "pyproject.toml").write_text(
        f"[tool.pytest.ini_options]{pytest_table}\n"
        "[tool.mutmut]\n"
        f"source_paths = {json.dumps(SOURCES)}\n"
        f'only_mutate = ["{file}"]\n'
        f"pytest_add_cli_args_test_selection = {selection}\n"
        'pytest_add_cli_args = ["-p", "tests.mutation.quick", "-p", "no:cacheprovider"]\n'
        "use_git_change_detection = false\n"
        "timeout_multiplier = 5.0\n"
        "timeout_constant = 2.0\n"
    )
    return folder


def _meta(name: str) -> Path:
    return WORK / name / "mutants" / f"{MODULES[name][0]}.meta"


def _forget_survivors(name: str) -> None:
    meta = _meta(name)
    if meta.exists():
        told = json.loads(meta.read_text())
        told["exit_code_by_key"] = {
            mutant: code if verdicts(name)[mutant] in _KILLED else None
            for mutant, code in told["exit_code_by_key"].items()
        }
        meta.write_text(json.dumps(told, indent=4))


def _difference(name: str, mutant: str) -> str:
    command = [str(Path(sys.executable).with_name("mutmut")), "show", mutant]
    shown = subprocess.run(command, cwd=WORK / name, capture_output=True, text=True, check=False).stdout
    return "\n".join(line for line in shown.splitlines() if line[:1] in "+-@" and line[:3] not in ("+++", "---"))


def main() -> int:
    """Run the modules named, all by default. Exit code 1 when mutmut could not run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=", ".join(MODULES))
    parser.add_argument("--show", action="store_true", help="only tell what the last run found")
    options = parser.parse_args()
    unknown = [name for name in options.modules if name not in MODULES]
    if unknown:
        parser.error(f"there is no module {unknown[0]}; known: {', '.join(MODULES)}")
    table, failed = [], 0
    for name in options.modules or MODULES:
        try:
            if not options.show:
                run(name)
        except subprocess.CalledProcessError:
            print((WORK / name / "log").read_text()[-3_000:], file=sys.stderr)
            failed = 1
            continue
        found = verdicts(name)
        counts = Counter("killed" if verdict in _KILLED else verdict for verdict in found.values())
        others = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if verdict != "killed")
        table.append(f"{MODULES[name][0]:<32} {len(found):>5} mutants  {counts['killed']:>5} killed  {others}")
        for mutant, verdict in found.items():
            if verdict not in _KILLED:
                print(f"{mutant}: {verdict}\n{_difference(name, mutant)}\n", flush=True)
    print("\n".join(table))
    return failed


if __name__ == "__main__":
    sys.exit(main())
