"""The watch over Chrome: one look at a time, one sentence per reason, sooner looks after a loss."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from fluxcap.capture.chrome.endpoint import BrowserInfo
from fluxcap.capture.pipeline.listeners import ChromeState
from fluxcap.capture.pipeline.reconnect import POLL_S, RETRY_S, ChromeReconnector
from fluxcap.schemas.errors import BrowserGone, ChromeUnavailable, NotAnswering
from tests.support.patience import PATIENCE_S

INFO = BrowserInfo("ws://127.0.0.1:9222/devtools/browser/x", "Chrome/156", "1.3", "agent")


class FakePipeline:
    """Takes what the watch finds."""

    def __init__(self) -> None:
        self.alive = True
        self.attached = False
        self.absent: list[str] = []
        self.urls: list[str] = []
        self.failure: Exception | None = None
        self.listeners: list[object] = []

    def add_listener(self, listener: object) -> None:
        self.listeners.append(listener)

    def attach(self, url: str, browser: str) -> None:
        self.urls.append(url)
        if self.failure is not None:
            raise self.failure
        self.attached = True

    def on_chrome_unavailable(self, reason: str) -> None:
        self.absent.append(reason)


class FakeScheduler:
    def __init__(self) -> None:
        self.running = True
        self.jobs: list[tuple[str, dict[str, Any]]] = []

    def add_job(self, work: Callable[[], None], trigger: str, **options: Any) -> None:
        self.jobs.append((trigger, options))


class Bench:
    def __init__(self) -> None:
        self.pipeline, self.scheduler = FakePipeline(), FakeScheduler()
        self.answer: BrowserInfo | Exception = INFO
        self.asked = 0
        self.on_probe: Callable[[], None] = lambda: None
        self.watch = ChromeReconnector(self.pipeline, self.scheduler, self._find)  # type: ignore[arg-type]

    def _find(self) -> BrowserInfo:
        self.asked += 1
        self.on_probe()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_the_pipeline_tells_it_of_a_loss(bench: Bench):
    assert bench.pipeline.listeners == [bench.watch]


def test_a_browser_that_answers_is_attached(bench: Bench):
    bench.watch.poll()

    assert bench.pipeline.urls == [INFO.websocket_url]


def test_while_attached_nothing_is_asked(bench: Bench):
    bench.pipeline.attached = True

    bench.watch.poll()

    assert not bench.asked


def test_after_the_pipelines_end_nothing_is_asked(bench: Bench):
    bench.pipeline.alive = False

    bench.watch.poll()

    assert not bench.asked


@pytest.mark.parametrize("failure", [ChromeUnavailable("Nothing answers."), BrowserGone("Gone again.")])
def test_the_same_reason_is_logged_once_and_told_every_time(bench: Bench, failure: Exception, logged: list[str]):
    if isinstance(failure, BrowserGone):
        bench.pipeline.failure = failure
    else:
        bench.answer = failure

    bench.watch.poll()
    bench.watch.poll()

    assert logged == ["chrome.unavailable"]
    assert bench.pipeline.absent == [str(failure)] * 2


def test_a_reason_is_logged_again_after_chrome_was_there(bench: Bench, logged: list[str]):
    bench.answer = ChromeUnavailable("Nothing answers.")
    bench.watch.poll()
    bench.answer = INFO
    bench.watch.poll()
    bench.pipeline.attached, bench.answer = False, ChromeUnavailable("Nothing answers.")

    bench.watch.poll()

    assert logged == ["chrome.unavailable"] * 2


def test_a_pipeline_too_busy_to_attach_is_tried_again_later(bench: Bench, logged: list[str]):
    bench.pipeline.failure = NotAnswering("too busy")

    bench.watch.poll()

    assert logged == ["chrome.attach_deferred"]
    assert bench.pipeline.absent == []


def test_two_looks_at_once_are_one(bench: Bench):
    looking, release = threading.Event(), threading.Event()

    def wait() -> None:
        looking.set()
        assert release.wait(PATIENCE_S)

    bench.on_probe = wait
    first = threading.Thread(target=bench.watch.poll)
    first.start()
    assert looking.wait(PATIENCE_S)

    bench.watch.poll()
    release.set()
    first.join(PATIENCE_S)

    assert bench.asked == 1


def test_it_looks_at_once_and_then_every_five_seconds(bench: Bench):
    bench.watch.start()

    [(trigger, options)] = bench.scheduler.jobs
    assert (trigger, options["seconds"], POLL_S) == ("interval", 5, 5)
    assert options["next_run_time"] <= datetime.now(UTC)


def test_after_a_loss_it_looks_sooner_than_the_poll(bench: Bench):
    bench.watch.chrome_changed(ChromeState.UNAVAILABLE, "gone")

    assert [trigger for trigger, _ in bench.scheduler.jobs] == ["date"] * len(RETRY_S)
    assert max(RETRY_S) < POLL_S


@pytest.mark.parametrize("state", [ChromeState.ATTACHED, ChromeState.SILENT])
def test_what_is_no_loss_changes_nothing(bench: Bench, state: ChromeState):
    bench.watch.chrome_changed(state, "")

    assert bench.scheduler.jobs == []


def test_a_loss_while_stopping_changes_nothing(bench: Bench):
    bench.scheduler.running = False

    bench.watch.chrome_changed(ChromeState.UNAVAILABLE, "gone")

    assert bench.scheduler.jobs == []
