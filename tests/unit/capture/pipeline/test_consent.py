"""Asking a browser that counts its prompts: Allow, Cancel, no answer, restarts of the browser and of fluxcap."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fluxcap.capture.chrome.connection import Connection
from fluxcap.capture.chrome.consent import HOUR_MS, Answer
from fluxcap.capture.chrome.endpoint import find_by_consent
from fluxcap.capture.pipeline.consent import CONSENT_FILE, ConsentFile, ConsentKeeper
from fluxcap.capture.pipeline.reconnect import ChromeReconnector
from fluxcap.schemas.errors import ChromeUnavailable, ConfigError
from tests.support.browser.consent_browser import ConsentBrowser
from tests.support.patience import PATIENCE_S, await_that

NOW_MS = 1_796_000_000_000


class Pipeline:
    """Takes connections and sentences as the real one does."""

    alive = True

    def __init__(self) -> None:
        self.told: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self.connection: Connection | None = None

    @property
    def attached(self) -> bool:
        return self.connection is not None

    def add_listener(self, listener: object) -> None: ...

    def attach(self, url: str, browser: str, connect: Callable[..., Connection]) -> None:
        self.connection = connect(url, lambda _message, _stamp: None, self._ended, lambda _stamp: None)
        self.told.put(("attached", browser))

    def on_waiting_for_consent(self, reason: str) -> None:
        self.told.put(("waiting", reason))

    def on_chrome_unavailable(self, reason: str) -> None:
        self.told.put(("unavailable", reason))

    def next(self) -> tuple[str, str]:
        return self.told.get(timeout=PATIENCE_S)

    def _ended(self, _reason: str) -> None:
        self.connection = None
        self.told.put(("ended", ""))


class Run:
    """One run of fluxcap on a data folder: its watch over Chrome looks when ``look`` says so."""

    def __init__(self, profile: Path, data_dir: Path, now_ms: Callable[[], int]) -> None:
        self.pipeline = Pipeline()
        self.keeper = ConsentKeeper(ConsentFile(data_dir), now_ms)
        scheduler: Any = None
        pipeline: Any = self.pipeline
        self.watch = ChromeReconnector(
            pipeline, scheduler, lambda: find_by_consent({"Chrome": profile}, PATIENCE_S), self.keeper
        )

    def look(self) -> tuple[str, str]:
        """One look; what the pipeline is told at once."""
        self.watch.poll()
        return self.pipeline.next()

    def await_answer(self) -> tuple[str, str]:
        """What the pipeline is told once the user has answered."""
        told = self.pipeline.next()
        await_that(lambda: not self.keeper.asking, "the end of the wait")
        return told

    def end(self) -> None:
        self.watch.stop()
        if self.pipeline.connection is not None:
            self.pipeline.connection.close()


class Bench:
    """A browser, a data folder and a clock, on which fluxcap runs again and again."""

    def __init__(self, folder: Path) -> None:
        self.profile, self.data_dir = folder / "profile", folder / "data"
        self.profile.mkdir()
        self.browser = ConsentBrowser(self.profile)
        self.now_ms = NOW_MS
        self.runs: list[Run] = []

    def run(self) -> Run:
        self.runs.append(Run(self.profile, self.data_dir, lambda: self.now_ms))
        return self.runs[-1]

    def restart(self) -> Run:
        """End the run under way and begin another."""
        self.runs[-1].end()
        return self.run()

    def close(self) -> None:
        for run in self.runs:
            run.end()
        self.browser.quit()

    @property
    def prompts(self) -> int:
        return len(self.browser.dialogs)

    @property
    def answer(self) -> Answer:
        return ConsentFile(self.data_dir).read().answer


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr("fluxcap.capture.pipeline.consent.CLOSING_S", 0.0)
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def allowed(bench: Bench) -> Run:
    run = bench.run()
    run.look()
    bench.browser.dialog().allow()
    assert run.await_answer() == ("attached", "Chrome")
    return run


def refused(bench: Bench) -> Run:
    run = bench.run()
    run.look()
    bench.browser.dialog().cancel()
    assert run.await_answer()[0] == "waiting"
    return run


def test_allow_attaches(bench: Bench):
    run = bench.run()

    told = run.look()
    bench.browser.dialog().allow()

    assert told == (
        "waiting",
        "Chrome asks whether fluxcap may read the trading page; click Allow in its dialog “Allow remote debugging?”.",
    )
    assert run.await_answer() == ("attached", "Chrome")
    assert (bench.prompts, bench.answer) == (1, Answer.ALLOWED)


def test_while_nobody_answers_there_is_one_dialog_however_often_is_looked(bench: Bench):
    run = bench.run()
    run.look()
    dialog = bench.browser.dialog()

    for _ in range(5):
        run.watch.poll()
        bench.now_ms += 2 * HOUR_MS
    dialog.allow()

    assert run.pipeline.next() == ("attached", "Chrome")
    assert bench.prompts == 1


def test_after_cancel_nobody_is_asked_again(bench: Bench):
    run = refused(bench)

    bench.now_ms += 100 * HOUR_MS
    told = run.look()

    assert (told[0], "`fluxcap chrome --ask`" in told[1]) == ("waiting", True)
    assert (bench.prompts, bench.answer) == (1, Answer.REFUSED)


def test_a_refusal_outlives_a_restart_of_both(bench: Bench):
    refused(bench)
    bench.browser.quit()
    bench.browser.start()

    run = bench.restart()

    assert run.look()[0] == "waiting"
    assert bench.prompts == 1


def test_the_users_word_asks_once_more_after_cancel(bench: Bench):
    run = refused(bench)

    run.watch.ask()
    bench.browser.dialog().allow()

    assert [run.pipeline.next()[0], run.pipeline.next()[0]] == ["waiting", "attached"]
    assert bench.prompts == 2


def test_the_users_word_left_for_the_next_start_asks_once(bench: Bench):
    refused(bench)
    file = ConsentFile(bench.data_dir)
    file.write(file.read().wanting())

    run = bench.restart()
    run.look()
    bench.browser.dialog().cancel()
    run.await_answer()

    assert run.look()[0] == "waiting"
    assert bench.prompts == 2


def test_the_users_word_opens_no_second_dialog_beside_an_open_one(bench: Bench):
    run = bench.run()
    run.look()
    dialog = bench.browser.dialog()

    run.watch.ask()
    dialog.cancel()

    assert run.await_answer()[0] == "waiting"
    assert run.look()[0] == "waiting"
    assert bench.prompts == 1


@pytest.mark.parametrize("answered", [True, False])
def test_fluxcap_started_again_within_the_hour_does_not_ask(bench: Bench, answered: bool):
    if answered:
        allowed(bench)
    else:
        bench.run().look()
        bench.browser.dialog()

    bench.now_ms += HOUR_MS - 1
    told = bench.restart().look()

    assert (told[0], "asks again by itself at" in told[1]) == ("waiting", True)
    assert bench.prompts == 1


def test_fluxcap_started_again_ten_times_asks_once_an_hour(bench: Bench):
    allowed(bench)

    for _ in range(10):
        bench.now_ms += HOUR_MS // 4
        if bench.restart().look()[1].startswith("Chrome asks"):
            bench.browser.dialog()

    assert bench.prompts == 1 + 2


def test_each_start_of_the_browser_is_asked_once(bench: Bench):
    run = allowed(bench)

    bench.browser.quit()
    assert run.pipeline.next()[0] == "ended"
    without = run.look()
    bench.browser.start()
    run.look()
    bench.browser.dialog().allow()

    assert (without[0], "chrome://inspect" in without[1]) == ("unavailable", True)
    assert run.pipeline.next()[0] == "attached"
    assert bench.prompts == 2


def test_a_connection_that_is_lost_beside_the_same_browser_waits_for_the_hour(bench: Bench):
    run = allowed(bench)

    bench.browser.drop_connections()
    assert run.pipeline.next()[0] == "ended"

    assert run.look()[0] == "waiting"
    assert bench.prompts == 1


def test_a_browser_closed_with_its_dialog_open_has_not_refused(bench: Bench):
    run = bench.run()
    run.look()
    bench.browser.dialog()

    bench.browser.quit()
    gone = run.await_answer()
    bench.browser.start()

    assert gone[0] == "unavailable"
    assert (run.look()[0], bench.answer) == ("waiting", Answer.NONE)
    bench.browser.dialog().allow()
    assert run.pipeline.next()[0] == "attached"


def test_an_end_of_fluxcap_ends_the_wait_and_is_no_refusal(bench: Bench):
    run = bench.run()
    run.look()
    bench.browser.dialog()

    run.end()

    assert not run.keeper.asking
    assert bench.answer is Answer.NONE


def test_a_damaged_file_counts_as_none(bench: Bench):
    bench.data_dir.mkdir()
    (bench.data_dir / CONSENT_FILE).write_text("{")

    bench.run().look()
    bench.browser.dialog()

    assert bench.prompts == 1


def test_a_file_that_cannot_be_written_holds_for_this_run(bench: Bench):
    bench.data_dir.write_text("no folder")
    run = bench.run()
    run.look()
    bench.browser.dialog().cancel()
    run.await_answer()

    assert run.look()[0] == "waiting"
    assert bench.prompts == 1


def test_looking_alone_opens_no_dialog(bench: Bench):
    for _ in range(3):
        assert find_by_consent({"Chrome": bench.profile}, PATIENCE_S).websocket_url

    assert bench.prompts == 0


def test_where_nothing_is_asked_by_consent_the_users_word_is_refused():
    pipeline: Any = Pipeline()

    def find() -> Any:
        raise ChromeUnavailable("Nothing.")

    watch = ChromeReconnector(pipeline, None, find)  # type: ignore[arg-type]

    with pytest.raises(ConfigError, match="fluxcap run --consent"):
        watch.ask()


def test_a_second_pursuit_while_a_dialog_is_open_opens_none(bench: Bench):
    run = bench.run()
    run.look()
    dialog = bench.browser.dialog()
    bench.now_ms += 2 * HOUR_MS

    found: Any = find_by_consent({"Chrome": bench.profile}, PATIENCE_S)
    run.keeper.pursue(found, run.pipeline)
    dialog.allow()

    assert run.await_answer() == ("attached", "Chrome")
    assert bench.prompts == 1
