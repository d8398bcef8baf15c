"""How all tests are run. Their fixtures are in tests/support/fixtures.py."""

from __future__ import annotations

import gc
import itertools
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil  # noqa: F401 - it is of the system on which it is loaded: before a test claims to be on another one
import pytest
from hypothesis import HealthCheck, settings

from tests.support import fixtures
from tests.support.examples import FULL, examples
from tests.support.schedule import Recorder, longest_first, read_durations
from tests.support.side_by_side import Hand

# No test depends on how fast the machine is: no example has a deadline, and none is drawn too slowly.
settings.register_profile(
    "fluxcap", deadline=None, max_examples=examples(100), suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("fluxcap")

OWN_FOLDER: pytest.StashKey[str] = pytest.StashKey()
_STATE_NUMBERS = itertools.count()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record-durations", action="store_true", help="write anew how long files take; see schedule.py")
    parser.addoption("--hand", type=int, help="the number of a socket that gives files to run; see side_by_side.py")


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
    # Not fixtures of this file, which pytest knows for the first collection alone: side_by_side.py collects many times.
    config.pluginmanager.register(fixtures)
    if (number := config.getoption("--hand")) is not None:
        config.pluginmanager.register(Hand(socket.socket(fileno=number)))
    elif config.getoption("--record-durations") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder())


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
