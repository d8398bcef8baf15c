"""The process that collects for a daemon: what it is told, and what it says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fluxcap.capture.collect.collection import CollectSummary, SavedFile
from fluxcap.capture.collect.orders import FailedFile, WorkerNote, WorkOrder
from fluxcap.capture.collect.runner import COMMAND
from fluxcap.capture.collect.worker import STOPPED, outcome, run
from fluxcap.capture.runtime.settings import Settings
from fluxcap.schemas.errors import ChromeUnavailable
from tests.support.patience import PATIENCE_S

SAVED = SavedFile("EURUSD_otc", "1h", "x.csv", 1_100, published=3, revised=1)
FAILED = FailedFile("GBP/USD OTC", "1h", "no history of it came")


def order(folder: Path) -> WorkOrder:
    settings = Settings(data_dir=folder, chrome="127.0.0.1:1", platform_url=("127.0.0.1:1",), source="SIM")
    return WorkOrder("favourites", "1h", False, settings.model_dump(mode="json", exclude={"alerts"}))


def carried_out(folder: Path, collecting: Callable[..., CollectSummary]) -> list[WorkerNote]:
    notes: list[WorkerNote] = []
    run(order(folder), notes.append, collecting)
    return notes


def test_settings_arrive_as_they_were_and_each_history_is_told(tmp_path: Path) -> None:
    seen: list[Settings] = []

    def collecting(settings: Settings, _options: object, begin: Any, **how: Any) -> CollectSummary:
        seen.append(settings)
        how["tell"]("Click Allow.")
        advance = begin(2)
        advance(1)
        return CollectSummary("folder", saved=[SAVED], failed=[FAILED], page_error="The page was left turned.")

    notes = carried_out(tmp_path, collecting)

    assert (seen[0].data_dir, seen[0].platform_url, seen[0].source) == (tmp_path, ("127.0.0.1:1",), "SIM")
    assert [(note.done, note.total) for note in notes] == [(0, 0), (0, 2), (1, 2), (1, 2)]
    assert notes[0].told == "Click Allow."
    assert [note.is_last for note in notes] == [False, False, False, True]
    assert notes[-1].failed == (FAILED,)
    assert notes[-1].error == "The page was left turned."


def test_a_refusal_is_told_in_its_own_sentence(tmp_path: Path) -> None:
    def collecting(*_: object, **__: object) -> CollectSummary:
        raise ChromeUnavailable("No browser answers.")

    (note,) = carried_out(tmp_path, collecting)

    assert (note.error, note.is_last) == ("No browser answers.", True)


def test_one_that_was_stopped_says_that_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    def collecting(*_: object, **__: object) -> CollectSummary:
        raise KeyboardInterrupt

    (note,) = carried_out(tmp_path, collecting)

    assert (note.told, note.error, note.is_last) == (STOPPED, "", True)


@pytest.mark.parametrize(
    ("summary", "said"),
    [
        (CollectSummary("f", saved=[SAVED]), "Saved 1 file with 1,100 candles. In the store: 3 new, 1 corrected."),
        (CollectSummary("f", skipped=2), "Saved 0 files with 0 candles; 2 saved earlier today were left as they are."),
    ],
)
def test_the_outcome_is_said_in_figures(summary: CollectSummary, said: str) -> None:
    assert outcome(summary) == said


@pytest.mark.costly
def test_the_process_ends_with_what_it_reads(tmp_path: Path) -> None:
    given = msgspec.json.encode(order(tmp_path)).decode() + "\n"
    # Nobody listens there: it says so, or that it was stopped, whichever comes first.
    ended = subprocess.run(COMMAND, input=given, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    assert ended.stderr == ""
    note = msgspec.json.decode(ended.stdout.splitlines()[-1], type=WorkerNote)
    assert COMMAND[0] == sys.executable
    assert note.is_last
    assert note.error or note.told == STOPPED
