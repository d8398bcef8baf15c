"""Changes the pure core in small ways and sees whether its own tests notice: ``make mutation [MODULE=tape]``.

Each module is mutated by mutmut in a folder of its own (``.mutation/<module>``: a copy of sources and tests), in one
process, and tried against its own unit and property tests alone. What was decided stands until the function changes;
only survivors are tried again, so a run that was interrupted goes on, and one after new tests is short. A survivor that
``equivalent.toml`` does not explain makes the run fail; a run of all modules writes ``report.md``.

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
import tomllib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

ROOT = Path(__file__).parents[2]
WORK = ROOT / ".mutation"
PACKAGE = "fluxcap"
PARTS = ("capture", "bridge", "schemas")

MODULES: dict[str, tuple[str, tuple[str, ...]]] = {
    "candles": (
        "capture/market/candles.py",
        (
            "unit/capture/market/test_candles.py",
            "unit/capture/market/test_aggregator.py",
            "unit/capture/market/test_market.py",
            "unit/capture/market/test_market_tabs.py",
            "property/test_market_breaks.py",
        ),
    ),
    "tape": ("capture/market/tape.py", ("unit/capture/market/test_tape.py", "property/test_tape_model.py")),
    "sealing": (
        "capture/market/aggregator.py",
        (
            "unit/capture/market/test_aggregator.py",
            "unit/capture/market/test_market.py",
            "unit/capture/market/test_market_tabs.py",
            "property/test_sealing_idles.py",
        ),
    ),
    "sequencer": (
        "bridge/server/sequencer.py",
        ("unit/bridge/server/test_sequencer.py", "property/test_sequencer_model.py"),
    ),
    "candle_arrays": ("schemas/candles.py", ("unit/bridge/server/test_sequencer.py",)),
    "gaps": (
        "bridge/client/receiver/receiver.py",
        ("unit/bridge/client/receiver/test_receiver.py", "property/test_gaps_model.py"),
    ),
    "session": (
        "capture/chrome/session.py",
        (
            "unit/capture/chrome/test_session.py",
            "unit/capture/chrome/test_targets.py",
            "unit/capture/chrome/test_page_query.py",
            "property/test_chrome_session.py",
        ),
    ),
    "socketio": (
        "capture/platforms/socketio.py",
        ("unit/capture/platforms/test_socketio.py", "property/test_garbage.py"),
    ),
    "platform_dates": (
        "capture/market/platform_dates.py",
        ("unit/capture/market/test_platform_dates.py",),
    ),
    "platform_clock": (
        "capture/market/clock.py",
        ("unit/capture/market/test_clock.py", "property/test_clock_model.py"),
    ),
}
"""Name on the command line → the file that is changed, and the tests (below ``tests/``) that must notice."""

_KILLED = {"killed", "timeout"}
EQUIVALENT = Path(__file__).with_name("equivalent.toml")
REPORT = Path(__file__).with_name("report.md")
Change: TypeAlias = tuple[str, str]
"""A line, and what became of it."""


class Result(NamedTuple):
    """Where a module stands. ``equivalent``: change and reason; ``unexplained``: mutant, verdict and change."""

    name: str
    mutants: int
    equivalent: list[tuple[Change, str]]
    unexplained: list[tuple[str, str, Change]]

    @property
    def killed(self) -> int:
        return self.mutants - len(self.equivalent) - len(self.unexplained)


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
    package = folder / PACKAGE
    package.mkdir(exist_ok=True)
    # As an installed package lies, not as the checkout does: a mutant's name is its path, and must be its module's too.
    links = {package / part: ROOT / part for part in PARTS}
    links |= {package / path.name: path for path in (ROOT / PACKAGE).iterdir() if path.is_file()}
    links |= {folder / part: ROOT / part for part in ("tests", "data")}
    for link, real in links.items():
        with contextlib.suppress(FileExistsError):
            link.symlink_to(real)
    sources = sorted(str(link.relative_to(folder)) for link in links if link.parent == package)
    selection = json.dumps([f"tests/{test}" for test in tests])
    pytest_table = (ROOT / "pyproject.toml").read_text().partition("[tool.pytest.ini_options]")[2].partition("\n[")[0]
    (folder / "pyproject.toml").write_text(
        f"[tool.pytest.ini_options]{pytest_table}\n"
        "[tool.mutmut]\n"
        f"source_paths = {json.dumps(sources)}\n"
        f'only_mutate = ["{PACKAGE}/{file}"]\n'
        f"pytest_add_cli_args_test_selection = {selection}\n"
        'pytest_add_cli_args = ["-p", "tests.mutation.quick", "-p", "no:cacheprovider"]\n'
        "use_git_change_detection = false\n"
        "timeout_multiplier = 5.0\n"
        "timeout_constant = 2.0\n"
    )
    return folder


def _meta(name: str) -> Path:
    return WORK / name / "mutants" / PACKAGE / f"{MODULES[name][0]}.meta"


def _forget_survivors(name: str) -> None:
    """And which test calls what: mutmut would learn that of new tests only, though a new function has old ones."""
    (WORK / name / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)
    meta = _meta(name)
    with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):  # none yet, or torn when a run was ended
        told = json.loads(meta.read_text())
        told["exit_code_by_key"] = {
            mutant: code if verdicts(name)[mutant] in _KILLED else None
            for mutant, code in told["exit_code_by_key"].items()
        }
        meta.write_text(json.dumps(told, indent=4))
        return
    meta.unlink(missing_ok=True)


def differences(name: str, mutants: Collection[str]) -> dict[str, Change]:
    """What each of them changed."""
    ask = subprocess.run(
        [sys.executable, "-c", _ASK],
        cwd=WORK / name,
        input=json.dumps([f"{PACKAGE}/{MODULES[name][0]}", *mutants]),
        capture_output=True,
        text=True,
        check=True,
    )
    shown: dict[str, str] = json.loads(ask.stdout.splitlines()[-1])
    return {mutant: _change(text) for mutant, text in shown.items()}


_ASK = """
import json, sys
from mutmut.mutation.diff_apply import get_diff_for_mutant
file, *mutants = json.load(sys.stdin)
print(json.dumps({mutant: get_diff_for_mutant(mutant, path=file) for mutant in mutants}))
"""


def _change(difference: str) -> Change:
    lines = [line for line in difference.splitlines() if line[:3] not in ("---", "+++")]
    return tuple(" ".join(line[1:].strip() for line in lines if line[:1] == sign) for sign in "-+")  # type: ignore[return-value]


def reason(entries: Sequence[dict[str, Any]], mutant: str, change: Change) -> str:
    """Why nobody could notice it, from a module's entries in ``equivalent.toml``; "" for one that is not explained.

    An entry with ``where`` holds for changes of these functions only.
    """
    function = mutant.rpartition("__mutmut_")[0].rpartition("ǁ")[2].rpartition(".x_")[2]
    for entry in entries:
        if change[0] == entry["was"] and change[1] in entry["now"] and function in entry.get("where", [function]):
            return str(entry["why"])
    return ""


def judge(name: str) -> Result:
    """Where a module stands after its last run."""
    found = verdicts(name)
    survivors = [mutant for mutant, verdict in found.items() if verdict not in _KILLED]
    entries = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8")).get(name, [])
    changes = differences(name, survivors) if survivors else {}
    told = {mutant: reason(entries, mutant, change) for mutant, change in changes.items()}
    return Result(
        name=name,
        mutants=len(found),
        equivalent=[(changes[mutant], why) for mutant, why in told.items() if why],
        unexplained=[(mutant, found[mutant], changes[mutant]) for mutant, why in told.items() if not why],
    )


def report(results: Sequence[Result]) -> str:
    """The table, and under it every change that nobody could notice, with the reason."""
    lines = [_HEAD, "| module | mutants | killed | equivalent, explained | unexplained |", "|---|---|---|---|---|"]
    for result in results:
        counts = (result.mutants, result.killed, len(result.equivalent), len(result.unexplained))
        lines.append(f"| `{MODULES[result.name][0]}` | {' | '.join(map(str, counts))} |")
    for result in results:
        lines += ["", f"## {MODULES[result.name][0]}", ""]
        by_reason: dict[str, dict[Change, None]] = {}
        for change, why in result.equivalent:
            by_reason.setdefault(why, {})[change] = None
        for why, changes in by_reason.items():
            lines.append(f"- {why}")
            lines += [f"  - `{was}` → `{now}`" for was, now in changes]
        if not result.equivalent:
            lines.append("None survived.")
    return "\n".join(lines) + "\n"


_HEAD = """# Do the tests notice?

Small changes of the pure core, each tried against the unit and property tests of its own module alone: `make mutation`
(`make mutation MODULE=tape` for one). A change that no test could notice is listed below with the reason; any other
that survives fails the run. mutmut changes what functions say; constants and properties it leaves alone.
"""


def main() -> int:
    """Run the modules named, all by default. Exit code 1 when a survivor is not explained, or mutmut could not run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=", ".join(MODULES))
    parser.add_argument("--show", action="store_true", help="only tell what the last run found")
    options = parser.parse_args()
    unknown = [name for name in options.modules if name not in MODULES]
    if unknown:
        parser.error(f"there is no module {unknown[0]}; known: {', '.join(MODULES)}")
    results = []
    for name in options.modules or MODULES:
        try:
            if not options.show:
                run(name)
        except subprocess.CalledProcessError:
            print((WORK / name / "log").read_text()[-3_000:], file=sys.stderr)
            return 1
        result = judge(name)
        results.append(result)
        for mutant, verdict, (was, now) in result.unexplained:
            print(f"{mutant}: {verdict}\n  - {was}\n  + {now}")
        told = f"{result.killed} killed, {len(result.equivalent)} equivalent, {len(result.unexplained)} unexplained"
        print(f"{MODULES[name][0]}: {result.mutants} mutants, {told}", flush=True)
    if not options.modules:
        REPORT.write_text(report(results), encoding="utf-8")
    return int(any(result.unexplained for result in results))


if __name__ == "__main__":
    sys.exit(main())
