"""An asyncio loop on a thread of its own."""

from __future__ import annotations

import asyncio
import threading

import pytest

from fluxcap.bridge.jetstream.event_loop import EventLoopThread
from tests.support.patience import PATIENCE_S


async def name() -> str:
    return threading.current_thread().name


def test_work_runs_on_the_thread_and_its_result_comes_back():
    with EventLoopThread("its-own") as loop:
        assert loop.run(name(), 10) == "its-own"


def test_an_error_comes_back():
    async def fail() -> None:
        raise ValueError("x")

    with EventLoopThread("loop") as loop, pytest.raises(ValueError, match="x"):
        loop.run(fail(), 10)


def test_work_that_takes_too_long_is_cancelled():
    cancelled = threading.Event()

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with EventLoopThread("loop") as loop:
        with pytest.raises(TimeoutError):
            loop.run(wait(), 0.01)
        assert cancelled.wait(PATIENCE_S)


def test_closing_ends_what_still_runs_and_the_thread():
    ended = threading.Event()

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    loop = EventLoopThread("to-be-closed")
    loop.start(wait())
    loop.run(name(), 10)

    loop.close()
    loop.close()

    assert ended.is_set()
    assert "to-be-closed" not in [thread.name for thread in threading.enumerate()]
    with pytest.raises(RuntimeError):
        loop.start(name())
