"""Collections that a daemon was asked for: refusals, progress, outcome, end. The worker is a small program."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fluxcap.capture.collect.orders import FailedFile
from fluxcap.capture.collect.runner import CollectionRunner, CollectionState
from fluxcap.capture.runtime.settings import Settings
from fluxcap.schemas.errors import AlreadyRunning, ConfigError, PageUnavailable
from tests.support.patience import await_that

UNTIL_ITS_END = "import sys; order = sys.stdin.readline(); sys.stdin.read()"
DONE = """
import sys
order = sys.stdin.readline()
print('{"total": 2}', flush=True)
print('{"total": 2, "done": 1}', flush=True)
print('{"total": 2, "done": 1, "told": "Saved 1 file with 99 candles.", "is_last": true, "failed": '
      '[{"asset": "EUR/USD OTC", "timeframe": "1h", "reason": "no history of it came"}]}', flush=True)
"""
Make = Callable[..., CollectionRunner]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made = []

    def runner(program: str = UNTIL_ITS_END, obstacle: str = "", **settings: object) -> CollectionRunner:
        known = Settings(data_dir=tmp_path, **settings)  # type: ignore[arg-type]
        made.append(CollectionRunner(known, lambda: obstacle, (sys.executable, "-c", program)))
        return made[-1]

    yield runner
    for one in made:
        one.stop()
        ended(one)


def ended(runner: CollectionRunner) -> None:
    over = (CollectionState.NONE, CollectionState.ENDED)
    await_that(lambda: runner.view().state in over, "the worker's end")


def test_nothing_was_collected_before_somebody_asked(make: Make) -> None:
    assert make().view().state is CollectionState.NONE


@pytest.mark.parametrize(
    "obstacle",
    [
        "No browser answers at 127.0.0.1:9222.",
        "No tab of the platform is open. Open the trading page in that Chrome.",
        "The trading page is logged out of the platform; log in there.",
    ],
)
def test_it_is_refused_with_the_reason_while_there_is_no_page_to_turn(make: Make, obstacle: str) -> None:
    runner = make(obstacle=obstacle)

    with pytest.raises(PageUnavailable, match=obstacle.split(".")[0]):
        runner.start()

    assert runner.view().state is CollectionState.NONE


def test_a_second_one_is_refused_while_one_runs(make: Make) -> None:
    runner = make()
    runner.start()

    with pytest.raises(AlreadyRunning, match="being collected already"):
        runner.start()


@pytest.mark.parametrize(("assets", "timeframes"), [("favourites", "7m"), ("payout>=high", "1h"), (" ", "1h")])
def test_what_cannot_be_collected_is_refused_before_anything_is_started(
    make: Make, assets: str, timeframes: str
) -> None:
    runner = make()

    with pytest.raises(ConfigError):
        runner.start(assets, timeframes)

    assert runner.view().state is CollectionState.NONE


def test_progress_and_outcome_are_told_and_another_may_follow(make: Make) -> None:
    runner = make(DONE)

    begun = runner.start()
    ended(runner)

    view = runner.view()
    assert begun.state is CollectionState.RUNNING
    assert (view.done, view.total, view.told, view.error) == (1, 2, "Saved 1 file with 99 candles.", "")
    assert view.failed == (FailedFile("EUR/USD OTC", "1h", "no history of it came"),)
    assert view.ended_ms >= view.begun_ms > 0
    assert runner.start().state is CollectionState.RUNNING


def test_stopping_ends_what_the_worker_reads(make: Make) -> None:
    runner = make(UNTIL_ITS_END + """; print('{"told": "Stopped.", "is_last": true}')""")
    runner.start()

    stopping = runner.stop()
    ended(runner)

    assert stopping.state is CollectionState.STOPPING
    assert runner.view().told == "Stopped."


def test_a_worker_that_breaks_is_told_with_its_last_words(make: Make) -> None:
    runner = make("raise SystemError('out of order')")
    runner.start()
    ended(runner)

    assert runner.view().error == "The collection ended before its time: SystemError: out of order"


def test_addresses_of_alerts_are_not_handed_on(make: Make) -> None:
    echo = "import sys, json; print(json.dumps({'told': sys.stdin.readline(), 'is_last': True}))"
    runner = make(echo, alerts=("json://user:secret@example.com",), platform="pocketoption")
    runner.start()
    ended(runner)

    assert '"platform":"pocketoption"' in runner.view().told
    assert "secret" not in runner.view().told
