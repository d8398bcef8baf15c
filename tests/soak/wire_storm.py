"""A storm of random faults: ``python tests/soak/wire_storm.py --scenarios 200``.

Every scenario mixes faults, server restarts, new stores and client restarts by its seed, and must end with the client's
table equal to the server's store. A failing one is named by its seed, which makes the same scenario again
(``--seed N --scenarios 1``). Exit code 1 when any failed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.wire.wire_storm import SETTLED_WITHIN_S, Outcome, dev_server, random_scenario, run_scenario

SCENARIOS_A_MINUTE = 10


def storm(seeds: list[int], folder: Path) -> dict[int, Outcome | str]:
    """Run these seeds, one after the other, against one dev server; an outcome or the trace of a failure each."""
    results: dict[int, Outcome | str] = {}
    with dev_server(folder / "server") as server:
        for seed in seeds:
            try:
                results[seed] = run_scenario(server, random_scenario(seed), f"S{seed}", folder / f"client-{seed}")
            except Exception:
                results[seed] = traceback.format_exc()
                print(f"seed {seed} failed\n{results[seed]}", file=sys.stderr, flush=True)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    most = round(SCENARIOS_A_MINUTE * float(os.environ.get("MINUTES", 30)))
    parser.add_argument("--scenarios", type=int, default=min(200, most), help="200, fewer for a short MINUTES")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--workers", type=int, default=2, help="dev servers side by side")
    options = parser.parse_args()
    seeds = list(range(options.seed, options.seed + options.scenarios))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fluxcap-storm-") as folder, ThreadPoolExecutor(options.workers) as pool:
        shares = [seeds[worker :: options.workers] for worker in range(options.workers)]
        runs = [pool.submit(storm, share, Path(folder) / str(n)) for n, share in enumerate(shares) if share]
        results = {seed: result for run in runs for seed, result in run.result().items()}
    outcomes = [result for result in results.values() if isinstance(result, Outcome)]
    settled = sorted(outcome.settled_s for outcome in outcomes) or [0.0]
    times = {seed: result.settled_s for seed, result in results.items() if isinstance(result, Outcome)}
    slowest = sorted(times.items(), key=lambda item: -item[1])[:5]
    report = {
        "scenarios": len(results),
        "failed_seeds": sorted(seed for seed, result in results.items() if isinstance(result, str)),
        "candles": sum(outcome.candles for outcome in outcomes),
        "settled_s": {
            "median": round(statistics.median(settled), 2),
            "p95": round(settled[int(0.95 * (len(settled) - 1))], 2),
            "max": round(settled[-1], 2),
            "promised": SETTLED_WITHIN_S,
            "late": sum(seconds > SETTLED_WITHIN_S for seconds in settled),
        },
        "slowest_seeds": {str(seed): round(seconds, 2) for seed, seconds in slowest},
        "seconds": round(time.monotonic() - began, 1),
    }
    print(json.dumps(report))
    return 1 if report["failed_seeds"] else 0


if __name__ == "__main__":
    sys.exit(main())
