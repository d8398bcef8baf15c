"""Fixtures shared by all tests."""

from __future__ import annotations

import gc
import itertools
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil  # noqa: F401 - it is of the system on which it is loaded: before a test claims to be on another one
import pytest
from hypothesis import HealthCheck, settings

from tests.support.browser.chromium import Chromium, chromium_executable
from tests.support.examples import FULL, examples
from tests.support.nats.nats_rig import NatsServer
from tests.support.schedule import LongestFirst, Recorder, longest_first, read_durations

# No test depends on how fast the machine is: no example has a deadline, and none is drawn too slowly.
settings.register_profile(
    "fluxcap", deadline=None, max_examples=examples(100), suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("fluxcap")

OWN_FOLDER: pytest.StashKey[str] = pytest.StashKey()
_STATE_NUMBERS = itertools.count()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record-durations", action="store_true", help="write anew how long files take; see schedule.py")


def pytest_configure(config: pytest.Config) -> None:
    """A shell that runs the tests in the background lets them ignore Ctrl-C, and with them every process they start."""
    # The user's own folders are not the tests'.
    config.stash[OWN_FOLDER] = own = tempfile.mkdtemp(prefix="fluxcap-state-")
    os.environ["FLUXCAP_STATE_DIR"] = own
    for variable in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "WIN_PD_OVERRIDE_LOCAL_APPDATA"):
        os.environ[variable] = str(Path(own) / variable)
    config.add_cleanup(lambda: shutil.rmtree(own, ignore_errors=True))
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("--record-durations") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder())


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LongestFirst | None:
    return LongestFirst(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if FULL:  # every example is more of them than elsewhere: what tries examples belongs to the long tests then
        for item in items:
            if item.path.parent.name == "property" or hasattr(getattr(item, "obj", None), "hypothesis"):
                item.add_marker("long")
    items[:] = longest_first(items, read_durations())


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Leave out the garbage collector: what collecting makes stays, so it would look through all of it for nothing."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # so that extension modules can let go of everything at the end


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Golden stores are opened by many tests, and each of them is a store of its own."""
    os.environ["FLUXCAP_STATE_DIR"] = f"{item.config.stash[OWN_FOLDER]}/state-{next(_STATE_NUMBERS)}"


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
