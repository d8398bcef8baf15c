"""A storm of every fault around a real Chromium: ``python tests/soak/browser_storm.py --minutes 30 [--seed N]``.

A simulated site with its truth, daemons and clients as processes, and faults of site, browser, daemon, clients, wire
and disk in an order that comes from the seed. Ends with truth = store = clients, or a flag and a gap for each
difference; see ``tests/soak/storm``. Writes its section of ``report.md``. Exit code 1 for any untruth.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.soak.storm.report import save, section
from tests.soak.storm.run import run_storm

ROOT = Path(__file__).parents[2]
REPORT = Path(__file__).parent / "report.md"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=float(os.environ.get("MINUTES", 30)))
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3)))
    parser.add_argument("--intervals", default="1s,1m", help="one daemon each, the shortest first")
    parser.add_argument("--report", type=Path, default=REPORT)
    parser.add_argument("--keep", type=Path, help="folder for logs, stores and copies, which are dropped otherwise")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # nothing is left behind
    os.chdir(ROOT)  # the processes find the tests from there
    print(f"seed {options.seed}, {options.minutes:g} minutes", flush=True)
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fluxcap-storm-")))
        facts = run_storm(options.minutes, options.seed, options.intervals.split(","), folder)
    text = section(facts)
    print(text)
    save(options.report, options.minutes, text)
    return 1 if facts.failures else 0


if __name__ == "__main__":
    sys.exit(main())
