"""The storm in writing: ``tests/soak/report.md``, one section for each length, so that a run replaces only its own."""

from __future__ import annotations

import os
import platform
import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from tests.soak.storm.measure import Memory
from tests.soak.storm.storm import TWO_AT_ONCE, Blow
from tests.soak.storm.verdict import Verdict

HEAD = """# Soak

Made by `make soak MINUTES=n`: real Chromium, the simulated site, daemons and clients as processes, and every fault of
`tests/soak/storm/faults.py` in an order and for times that come from the seed (`--seed` repeats them). At the end
truth, store and every client's copy must say the same, or a flag and a gap must tell of the difference.

- *told*: from the fault until somebody is told of it: status or log of the daemon, or, where the daemon itself or the
  wire is the trouble, the health that a client shows. Ticks that stay out are told after 5 s.
- *captured*: from its end until every daemon captures again and the shortest candles come whole. It holds the page's
  reconnecting, a daemon's start, up to a second until a bucket begins, that bucket, and the 0.8 s that ticks take.
- *clients*: from its end until the copy of every client has such a candle.
"""
_SECTION = re.compile(r"^## (\d+(?:\.\d+)?) minutes$", re.MULTILINE)
PACKAGES = ("fluxcap", "duckdb", "pyzmq", "websocket-client", "msgspec", "numpy")
MOST_PROBLEMS = 40


class Facts(NamedTuple):
    """All that the report tells of a run. ``memory``: by name of process."""

    minutes: float
    seed: int
    begun: str
    browser: str
    blows: Sequence[Blow]
    skipped: dict[str, str]
    verdict: Verdict
    memory: dict[str, Memory]
    hiccups: int
    lives: dict[str, int]

    @property
    def failures(self) -> list[str]:
        """Everything for which the run fails."""
        return [f"{blow.name}: {blow.failure}" for blow in self.blows if blow.failure] + [
            str(problem) for problem in self.verdict.problems
        ]


def section(facts: Facts) -> str:
    """The Markdown of one run."""
    return "\n".join([*_facts(facts), *_streams(facts), *_costs(facts), *_blows(facts), ""])


def _facts(facts: Facts) -> Iterator[str]:
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    failures = facts.failures
    yield f"## {facts.minutes:g} minutes\n"
    yield f"- run: {facts.begun}, seed {facts.seed}"
    yield f"- machine: {os.cpu_count()} cores, {_processor()}, {platform.system()} {platform.release()}"
    yield f"- versions: Python {platform.python_version()}, {facts.browser}, {versions}"
    yield f"- faults: {len(facts.blows)}, of {len({b.name for b in facts.blows if ' + ' not in b.name})} kinds alone"
    yield f"- lives: {', '.join(f'{name} {count}' for name, count in facts.lives.items())}"
    for name, reason in facts.skipped.items():
        yield f"- left out: {name}: {reason}"
    if facts.hiccups:
        yield f"- the machine itself stood still {facts.hiccups} times"
    yield f"- **{'nothing untrue' if not failures else f'{len(failures)} FAILURES'}**\n"
    for failure in failures[:MOST_PROBLEMS]:
        yield f"    {failure}"


def _streams(facts: Facts) -> Iterator[str]:
    yield "\nCandles held against the truth. *filled*: completed from the page's history; *blind*: flagged, within a"
    yield "told gap; *missing*: all in told gaps.\n"
    yield "| candles | asset | due | whole | filled | revised | blind | missing | gaps | blind for |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    for s in facts.verdict.streams:
        counts = f"{s.due} | {s.whole} | {s.filled} | {s.revised} | {s.blind} | {s.missing} | {s.gaps}"
        yield f"| {s.interval} | {s.symbol} | {counts} | {s.gap_s:.0f} s |"


def _costs(facts: Facts) -> Iterator[str]:
    yield "\nMemory and processor time of the longest life of each process, its warm-up left out of the slope.\n"
    yield "| process | life | memory | slope | share of a core |"
    yield "|---|---:|---:|---:|---:|"
    for name, m in facts.memory.items():
        slope = "too short" if m.slope_mb_h is None else f"{m.slope_mb_h:+.1f} MB/h"
        life = f"{m.life_s / 60:.1f} min | {m.first_mb:.0f} to {m.last_mb:.0f} MB"
        yield f"| {name} | {life} | {slope} | {m.cpu_share:.1%} |"


def _blows(facts: Facts) -> Iterator[str]:
    yield "\n| fault | n | told, median | max | captured, median | max | clients, median | max |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|"
    by_name: dict[str, list[Blow]] = defaultdict(list)
    for blow in facts.blows:
        by_name[TWO_AT_ONCE if " + " in blow.name else blow.name].append(blow)
    for name, blows in sorted(by_name.items(), key=lambda item: (item[0] == TWO_AT_ONCE, item[0].lower())):
        columns = [_spread(blow.told_s for blow in blows), _spread(blow.captured_s for blow in blows)]
        columns.append(_spread(blow.clients_s for blow in blows))
        yield f"| {name} | {len(blows)} | {' | '.join(columns)} |"


def _spread(seconds: Iterable[float | None]) -> str:
    known = [value for value in seconds if value is not None]
    return f"{statistics.median(known):.2f} s | {max(known):.2f} s" if known else "| "


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def written(before: str, minutes: float, text: str) -> str:
    """A whole report with one section replaced or added, sections in the order of their length."""
    heads = [*_SECTION.finditer(before)]
    ends = [*(head.start() for head in heads[1:]), len(before)]
    sections = {float(head[1]): before[head.start() : end].strip() for head, end in zip(heads, ends, strict=False)}
    sections[minutes] = text.strip()
    return "\n\n".join([HEAD.strip(), *(sections[length] for length in sorted(sections))]) + "\n"


def save(path: Path, minutes: float, text: str) -> None:
    path.write_text(written(path.read_text() if path.exists() else "", minutes, text))
