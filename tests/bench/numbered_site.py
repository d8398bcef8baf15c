"""The simulated site with numbered ticks, as a process: ``python -m tests.bench.numbered_site FILE --rate 200``.

The price of a tick is its running number, and FILE has, when the process has ended, the monotonic time at which each
was handed to the socket: 8-byte floats, seconds, that of number n at place n - 1. Nothing in a frame tells a reader
more than that, so that all of them decode the same. Prints the page's address; ends when its standard input does.
"""

from __future__ import annotations

import argparse
import sys
import time
from array import array
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from fluxcap.capture.simulator import SimulatedSite, SiteConfig
from fluxcap.capture.simulator.server import sessions
from fluxcap.capture.simulator.server.framing import TickFramer

CLOSE_TO_NOW_MS = (5.0, 5.0)
"""From a tick's time to its sending: no ticks pile up to be sent at once, as they would with a lag that varies."""
ASSETS = (
    *("EURUSD_otc", "GBPUSD_otc", "USDJPY_otc", "AUDCAD_otc", "EURGBP_otc", "USDINR_otc", "AUDUSD_otc", "USDCAD_otc"),
    *("EURJPY_otc", "GBPJPY_otc", "AUDJPY_otc", "CADJPY_otc", "CHFJPY_otc", "EURCHF_otc", "NZDUSD_otc", "AUDNZD_otc"),
    *("EURUSD", "GBPUSD", "USDJPY", "AUDCAD", "EURGBP", "AUDUSD", "USDCAD", "EURJPY"),
    *("GBPJPY", "AUDJPY", "CADJPY", "CHFJPY", "EURCHF", "AUDCHF", "CADCHF", "GBPAUD"),
)
sent_s = array("d")


class NumberedFramer(TickFramer):
    """The same frames, with the tick's number in the place of its price."""

    def frames(self, raw_ts_ms: int, price: float) -> bytes:
        sent_s.append(time.monotonic())
        return super().frames(raw_ts_ms, float(len(sent_s)))


def config(assets: int, ticks_per_s: float) -> SiteConfig:
    """``ticks_per_s``: of all assets together."""
    return SiteConfig(
        assets=ASSETS[:assets],
        rate_hz=ticks_per_s / assets,
        lag_ms=CLOSE_TO_NOW_MS,
        pre_roll_s=10,
        history_s=10,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--assets", type=int, default=16)
    parser.add_argument("--rate", type=float, default=200.0, help="ticks a second, all assets together")
    options = parser.parse_args()
    sessions.TickFramer = NumberedFramer  # type: ignore[misc]
    with SimulatedSite(config(options.assets, options.rate)) as site:
        print(site.url, flush=True)
        sys.stdin.read()
    with options.file.open("wb") as file:
        sent_s.tofile(file)


if __name__ == "__main__":
    main()
