"""What an open page costs the daemon in the long run: memory and CPU of its process with three assets live.

    make page MINUTES=60

Writes ``open_page.md``. Exit code 1 when it takes more than 10 % of a core, or grows by 5 MB an hour or more after its
first five minutes, in which threads start and caches fill.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.bench_web import live_daemon, live_page
from tests.soak.storm.measure import Gauge, Memory, Sample

REPORT = Path(__file__).parent / "open_page.md"
WARM_UP_S = 300.0
MOST_MB_H = 5.0
JUDGED_MINUTES = 30.0
"""A shorter run says nothing of an hour: then memory is only shown."""
MOST_SHARE = 0.10
_MB = 1024 * 1024


def measured(minutes: float) -> tuple[Memory, Sequence[Sample]]:
    """The process with the page open for that long."""
    with tempfile.TemporaryDirectory(prefix="fluxcap-page-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with (
            live_daemon(folder) as daemon,
            live_page(folder, daemon.run_file().control),
            Gauge(lambda: {"daemon": daemon.pid}) as gauge,
        ):
            time.sleep(60 * minutes)
        memory = gauge.memory("daemon", min(WARM_UP_S, 15 * minutes))
        assert memory is not None
        return memory, gauge.samples["daemon", daemon.pid]


def report(minutes: float, memory: Memory, samples: Sequence[Sample], begun: datetime) -> Iterator[str]:
    """The lines of ``open_page.md``."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("fluxcap", "fastapi", "litecharts", "duckdb"))
    yield "# An open page in the long run\n"
    yield "Made by `make page MINUTES=60`: the daemon's process, three assets live, the dashboard open on one.\n"
    yield f"- run: {begun:%Y-%m-%d %H:%M} UTC, {minutes:g} minutes"
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    yield f"- machine: {os.cpu_count()} cores, {system}"
    yield f"- versions: {packages}"
    yield f"- processor: {memory.cpu_share:.1%} of a core (aim: at most {MOST_SHARE:.0%})"
    yield f"- memory: {memory.first_mb:.1f} MB after the warm-up, {memory.last_mb:.1f} MB at the end"
    slope = "too short to tell" if memory.slope_mb_h is None else f"{memory.slope_mb_h:+.2f} MB an hour"
    yield f"- growth after the warm-up: {slope} (aim: less than {MOST_MB_H:g})\n"
    yield "| minute | memory, MB |"
    yield "|---:|---:|"
    next_s = 0.0
    for sample in samples:
        if sample.at_s - samples[0].at_s >= next_s:
            yield f"| {next_s / 60:.0f} | {sample.rss_bytes / _MB:.1f} |"
            next_s += 300


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=float(os.environ.get("MINUTES", 60)))
    parser.add_argument("--report", type=Path, default=REPORT)
    options = parser.parse_args()
    begun = datetime.now(UTC)
    memory, samples = measured(options.minutes)
    text = "\n".join(report(options.minutes, memory, samples, begun)) + "\n"
    print(text)
    options.report.write_text(text)
    grows = options.minutes >= JUDGED_MINUTES and (memory.slope_mb_h or 0.0) >= MOST_MB_H
    return int(memory.cpu_share > MOST_SHARE or grows)


if __name__ == "__main__":
    sys.exit(main())
