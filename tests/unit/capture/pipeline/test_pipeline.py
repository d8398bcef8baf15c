"""The pipeline's thread: what reaches it from others, attaching and losing a browser, stopping."""

from __future__ import annotations

import itertools
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fluxcap.bridge.server.server import WireServer
from fluxcap.capture.chrome.events import ArrivalTime
from fluxcap.capture.market.focus import Focus, FocusMode
from fluxcap.capture.market.market import Market
from fluxcap.capture.pipeline import pipeline as pipeline_module
from fluxcap.capture.pipeline.listeners import ChromeState, PublishedUpdate
from fluxcap.capture.pipeline.pipeline import Pipeline
from fluxcap.capture.platforms.pocketoption import PocketOption
from fluxcap.schemas.errors import BrowserGone, NotAnswering, UnknownAsset
from fluxcap.schemas.types import Candle, FeedState, StreamKey
from tests.support.patience import PATIENCE_S

URL = "ws://127.0.0.1:1/devtools/browser/x"


def key_of(symbol: str) -> StreamKey:
    return StreamKey("TEST", symbol, "1s")


class FakeBrowser:
    """Stands in for ``Connection``: the test speaks as the browser. Checked against the real one end to end."""

    def __init__(
        self,
        url: str,
        on_message: Callable[[bytes, ArrivalTime], None],
        on_end: Callable[[str], None],
        on_idle: Callable[[ArrivalTime], None],
    ) -> None:
        self.on_message, self.on_end, self.on_idle = on_message, on_end, on_idle
        self.sent: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.closed = threading.Event()
        self.gone = False

    def send(self, text: str) -> None:
        if self.gone:
            raise BrowserGone("gone")
        self.sent.put(json.loads(text))

    def close(self, timeout_s: float = 2.0) -> None:
        if not self.closed.is_set():
            self.closed.set()
            threading.Thread(target=self.on_end, args=("closed",)).start()

    def say(self, message: dict[str, Any] | bytes) -> None:
        data = message if isinstance(message, bytes) else json.dumps(message, separators=(",", ":")).encode()
        self.on_message(data, ArrivalTime(time.time_ns(), time.monotonic_ns(), True))

    def answer_all(self) -> None:
        while True:
            try:
                command = self.sent.get_nowait()
            except queue.Empty:
                return
            self.say({"id": command["id"], "result": {}})


class Ear:
    def __init__(self) -> None:
        self.states: queue.SimpleQueue[tuple[ChromeState, str]] = queue.SimpleQueue()
        self.updates: list[PublishedUpdate] = []

    def published(self, update: PublishedUpdate) -> None:
        self.updates.append(update)

    def forming(self, key: StreamKey, candle: Candle) -> None: ...

    def chrome_changed(self, state: ChromeState, reason: str) -> None:
        self.states.put((state, reason))


class Bench:
    def __init__(self, folder: Path) -> None:
        self.server = WireServer(folder / "s.duckdb", "tcp://127.0.0.1:0", "tcp://127.0.0.1:0")
        self.market = Market(PocketOption(), 1_000, Focus(FocusMode.LOCK, ("EURUSD_otc",)))
        self.ear = Ear()
        self.browsers: list[FakeBrowser] = []
        self.pipeline = Pipeline(
            self.market,
            self.server,
            key_of,
            PocketOption().is_page,
            listeners=[self.ear],
            connect=self._connect,
        )

    def _connect(self, *arguments: Any) -> FakeBrowser:
        self.browsers.append(FakeBrowser(*arguments))
        return self.browsers[-1]

    def attach(self) -> FakeBrowser:
        self.pipeline.attach(URL, "Chrome/1")
        return self.browsers[-1]

    def settle(self) -> None:
        """Everything posted so far has been handled."""
        self.pipeline.call(lambda: None, PATIENCE_S)

    def next_state(self) -> tuple[ChromeState, str]:
        return self.ear.states.get(timeout=PATIENCE_S)

    def close(self) -> None:
        self.pipeline.stop()
        self.server.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    made.pipeline.start()
    yield made
    made.close()


# --- asking ----------------------------------------------------------------------------------------------------------


def test_work_runs_on_the_pipelines_thread_and_its_result_comes_back(bench: Bench):
    assert bench.pipeline.call(lambda: threading.current_thread().name) == "fluxcap-pipeline"


def test_the_error_of_work_comes_back_and_ends_nothing(bench: Bench):
    def fail() -> None:
        raise UnknownAsset("X")

    with pytest.raises(UnknownAsset):
        bench.pipeline.call(fail)

    assert bench.pipeline.call(lambda: 7) == 7


def test_work_that_comes_too_late_is_not_done_any_more(bench: Bench):
    release, done = threading.Event(), []
    blocker = threading.Thread(target=lambda: bench.pipeline.call(lambda: release.wait(PATIENCE_S), PATIENCE_S))
    blocker.start()

    with pytest.raises(NotAnswering, match="too busy"):
        bench.pipeline.call(lambda: done.append(1), 0.05)
    release.set()
    blocker.join()
    bench.settle()

    assert done == []


def test_after_the_end_nobody_waits_for_an_answer(bench: Bench):
    bench.pipeline.stop()

    with pytest.raises(NotAnswering, match="stopping"):
        bench.pipeline.view()


def test_who_waits_while_it_ends_is_told(bench: Bench):
    release, errors = threading.Event(), []

    def ask() -> None:
        try:
            bench.pipeline.call(lambda: None, PATIENCE_S)
        except NotAnswering as error:
            errors.append(str(error))

    bench.pipeline._post(pipeline_module._Task(lambda: release.wait(PATIENCE_S), pipeline_module.Future()))
    bench.pipeline._post(None)
    waiting = threading.Thread(target=ask)
    waiting.start()
    while bench.pipeline._queue.qsize() < 2:
        time.sleep(0.001)
    release.set()
    waiting.join(PATIENCE_S)

    assert errors == ["fluxcap is stopping."]


# --- attaching -------------------------------------------------------------------------------------------------------


def test_attaching_asks_the_browser_for_its_targets(bench: Bench):
    browser = bench.attach()

    assert browser.sent.get(timeout=PATIENCE_S)["method"] == "Target.setDiscoverTargets"
    assert bench.pipeline.attached
    assert bench.next_state() == (ChromeState.ATTACHED, "")
    assert bench.pipeline.view().browser == "Chrome/1"


def test_the_end_of_the_connection_is_told_with_its_reason(bench: Bench):
    browser = bench.attach()
    assert bench.next_state()[0] is ChromeState.ATTACHED

    browser.on_end("closed by the browser")

    assert bench.next_state() == (ChromeState.UNAVAILABLE, "The connection to Chrome ended: closed by the browser.")
    assert not bench.pipeline.attached


def test_an_end_during_the_attach_is_not_lost(bench: Bench):
    """The reader may notice the end before the pipeline has adopted the connection."""
    release = threading.Event()
    blocker = threading.Thread(target=lambda: bench.pipeline.call(lambda: release.wait(PATIENCE_S), PATIENCE_S))
    blocker.start()
    attaching = threading.Thread(target=bench.attach)
    attaching.start()
    while not bench.browsers:
        time.sleep(0.001)
    ending = threading.Thread(target=bench.browsers[0].on_end, args=("gone at once",))
    ending.start()
    release.set()
    for thread in (blocker, attaching, ending):
        thread.join(PATIENCE_S)
    bench.settle()

    assert not bench.pipeline.attached


def test_a_connection_that_is_adopted_too_late_is_closed(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Pipeline.call, "__defaults__", (0.05,))
    release = threading.Event()
    blocker = threading.Thread(target=lambda: bench.pipeline.call(lambda: release.wait(PATIENCE_S), PATIENCE_S))
    blocker.start()

    with pytest.raises(NotAnswering):
        bench.attach()
    release.set()
    blocker.join()
    bench.settle()

    assert bench.browsers[0].closed.is_set()
    assert not bench.pipeline.attached


def test_of_two_that_attach_at_once_one_is_closed(bench: Bench):
    first = bench.attach()

    with pytest.raises(BrowserGone, match="quicker"):
        bench.attach()

    assert bench.browsers[1].closed.wait(PATIENCE_S)
    assert not first.closed.is_set()
    assert bench.pipeline.attached


def test_what_an_earlier_connection_still_says_is_ignored(bench: Bench):
    first = bench.attach()
    first.on_end("gone")
    bench.settle()
    bench.attach()
    bench.settle()
    before = bench.pipeline.view().messages

    first.say({"method": "Target.targetDestroyed", "params": {"targetId": "T"}})
    first.on_end("gone again")
    bench.settle()

    assert bench.pipeline.view().messages == before
    assert bench.pipeline.attached


def test_a_probe_that_found_nothing_says_nothing_against_a_connection(bench: Bench):
    bench.attach()

    bench.pipeline.on_chrome_unavailable("Nothing answers.")

    assert bench.pipeline.view().chrome is ChromeState.ATTACHED


def test_a_probe_that_found_nothing_shows_in_the_status(bench: Bench):
    bench.pipeline.on_chrome_unavailable("Nothing answers.")

    view = bench.pipeline.view()
    assert (view.chrome, view.chrome_reason) == (ChromeState.UNAVAILABLE, "Nothing answers.")


def test_waiting_for_consent_is_a_state_of_its_own_and_each_step_is_told(bench: Bench, logged: list[str]):
    for reason in ("Click Allow.", "Click Allow.", "You clicked Cancel."):
        bench.pipeline.on_waiting_for_consent(reason)
    view = bench.pipeline.view()

    told = [bench.next_state(), bench.next_state()]
    assert told == [(ChromeState.WAITING_FOR_CONSENT, text) for text in ("Click Allow.", "You clicked Cancel.")]
    assert (view.chrome, view.chrome_reason) == told[1]
    assert logged == ["chrome.waiting_for_consent"] * 2


def test_who_waits_for_consent_says_nothing_against_a_connection(bench: Bench):
    bench.attach()

    bench.pipeline.on_waiting_for_consent("Click Allow.")

    assert bench.pipeline.view().chrome is ChromeState.ATTACHED


def test_a_message_that_cannot_be_handled_ends_the_connection_and_not_the_pipeline(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, logged: list[str]
):
    browser = bench.attach()
    bench.next_state()
    monkeypatch.setattr("fluxcap.capture.chrome.session.CdpSession.receive", lambda *_: 1 / 0)

    browser.say({"method": "Target.targetCreated", "params": {}})

    state, reason = bench.next_state()
    assert (state, "fluxcap could not" in reason) == (ChromeState.UNAVAILABLE, True)
    assert browser.closed.wait(PATIENCE_S)
    assert bench.pipeline.alive
    assert "chrome.message_error" in logged


def test_no_browser_shows_in_the_heartbeat(bench: Bench):
    bench.pipeline.call(lambda: bench.market.track(["EURUSD_otc"]))
    deadline_s = time.monotonic() + PATIENCE_S
    while not (statuses := bench.server.status()) and time.monotonic() < deadline_s:
        time.sleep(0.01)

    assert statuses[key_of("EURUSD_otc")].feed_state == FeedState.NO_BROWSER


# --- stopping --------------------------------------------------------------------------------------------------------


def test_stopping_lets_what_is_queued_be_handled(bench: Bench):
    handled: list[int] = []
    for number in range(100):
        bench.pipeline._post(pipeline_module._Task(lambda n=number: handled.append(n), pipeline_module.Future()))

    bench.pipeline.stop()

    assert handled == list(range(100))


def test_stopping_does_not_wait_for_a_backlog_without_end(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pipeline_module, "DRAIN_NS", 0)
    handled = itertools.count()

    def again() -> None:
        next(handled)
        bench.pipeline._post(pipeline_module._Task(again, pipeline_module.Future()))

    for _ in range(3):
        again()
    bench.pipeline.stop(PATIENCE_S)

    assert not bench.pipeline.alive


def test_stopping_closes_the_connection_and_a_full_queue_keeps_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pipeline_module, "QUEUE_MAX", 2)
    bench = Bench(tmp_path)
    bench.pipeline.start()
    browser = bench.attach()
    release = threading.Event()
    bench.pipeline._post(pipeline_module._Task(lambda: release.wait(PATIENCE_S), pipeline_module.Future()))
    talking = threading.Thread(target=lambda: [browser.say(b"{}") for _ in range(20)])
    talking.start()
    while not bench.pipeline._queue.full():
        time.sleep(0.001)

    stopping = threading.Thread(target=bench.pipeline.stop)
    stopping.start()
    release.set()
    stopping.join(PATIENCE_S)
    talking.join(PATIENCE_S)
    bench.close()

    assert browser.closed.is_set()
    assert not bench.pipeline.alive
    assert not talking.is_alive()


def test_stopping_twice_or_before_the_start_is_no_harm(tmp_path: Path):
    bench = Bench(tmp_path)
    bench.pipeline.stop()
    bench.pipeline.start()
    bench.pipeline.stop()
    bench.pipeline.stop()
    bench.server.close()

    assert not bench.pipeline.alive
    assert bench.pipeline.failure is None


def test_a_fault_of_the_market_itself_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    bench = Bench(tmp_path)
    monkeypatch.setattr(bench.market, "advance_time", lambda at: 1 / 0)
    bench.pipeline.start()
    bench.pipeline._thread.join(PATIENCE_S)

    assert isinstance(bench.pipeline.failure, ZeroDivisionError)
    bench.close()
