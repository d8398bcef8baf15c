"""Collects ticks without end, and says after each hundred how many are written. Run by the tests as a process."""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path

from fluxcap.capture.csvfiles.writer import CsvWriter
from fluxcap.capture.pipeline.listeners import PublishedUpdate
from fluxcap.capture.runtime.settings import CollectMode
from fluxcap.schemas.types import Tick

T0 = 1_795_305_240_000
ASSETS = ("EURUSD_otc", "#AAPL_otc")


def tick(number: int) -> Tick:
    return Tick(ASSETS[number % 2], T0 + number, 0, 1.0 + number / 1_000_000)


def main(folder: Path) -> None:
    writer = CsvWriter(folder, CollectMode.TICK, 150)
    writer.start()
    for number in itertools.count():
        writer.published(PublishedUpdate((), (), (), (tick(number),)))
        if number % 100 == 99:
            while writer.view().ticks < number - 50:
                time.sleep(0.000_5)
            print(writer.view().ticks, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
