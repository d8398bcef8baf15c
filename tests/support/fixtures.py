"""Fixtures shared by all tests."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser.chromium import Chromium, chromium_executable
from tests.support.nats.nats_rig import NatsServer


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    """What a test sets up for fluxcap's log ends with it: the next one's output is a different stream."""
    loggers = [logging.getLogger(name) for name in ("fluxcap", "uvicorn", None)]
    before = [(list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.fixture
def chromium(tmp_path: Path) -> Iterator[Callable[..., Chromium]]:
    """A factory of headless Chromiums: ``chromium(*args, url="about:blank", port=0) -> Chromium``.

    Each call starts one with a profile of its own under ``tmp_path``; all of them end with the test.
    """
    if chromium_executable() is None:
        pytest.skip("no Chromium on this machine; install chromium or set FLUXCAP_CHROMIUM")
    with ExitStack() as stack:
        count = 0

        def start(*args: str, **options: Any) -> Chromium:
            nonlocal count
            browser = Chromium(tmp_path / f"chromium-{count}", *args, **options)
            count += 1
            stack.callback(browser.stop)
            return browser

        yield start


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """The names of fluxcap's own events, as they are logged."""
    names: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            names.append(record.getMessage())

    logger, keep = logging.getLogger("fluxcap"), Keep()
    level = logger.level
    logger.addHandler(keep)
    logger.setLevel(logging.DEBUG)
    yield names
    logger.removeHandler(keep)
    logger.setLevel(level)


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[Callable[..., NatsServer]]:
    """A factory of running nats-servers: ``nats_server(config="") -> NatsServer``; all of them end with the test."""
    with ExitStack() as stack:
        count = 0

        def start(config: str = "") -> NatsServer:
            nonlocal count
            server = NatsServer(tmp_path / f"nats-{count}", config)
            count += 1
            stack.callback(server.stop)
            return server.start()

        yield start
