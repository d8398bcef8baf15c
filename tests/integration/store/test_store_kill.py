"""A writer killed at any instant: what it said it had committed is there, and nothing is half there."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxcap.bridge.store.store import Store
from fluxcap.bridge.store.verify import verify
from tests.support.paths import ROOT
from tests.support.wire.samples import EURUSD, GBPUSD

Said = tuple[int, int, int]
"""The newest sequences of two streams and the newest revision."""


@pytest.fixture
def writers(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.integration.store.store_writer", str(tmp_path / "store.duckdb")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def last_words(writers: subprocess.Popen[str], seed: int) -> Said:
    """Start a writer, kill it some commits later, and return the last it said."""
    assert writers.stdin is not None
    assert writers.stdout is not None
    rng = random.Random(seed)
    print(seed, file=writers.stdin, flush=True)
    pid = int(writers.stdout.readline())
    said = [writers.stdout.readline() for _ in range(rng.randint(1, 12))]
    time.sleep(rng.random() * 0.006)  # anywhere within a commit, which takes about as long
    os.kill(pid, signal.SIGKILL)
    while said[-1] != "ended\n":
        said.append(writers.stdout.readline())
        assert said[-1], "the writers ended by themselves"
    # The writer may have been killed within its last line: then the line before it is the last.
    whole = [line.split() for line in said if line.count(" ") == 2 and line.endswith("\n")]
    first, second, revision = map(int, whole[-1])
    return first, second, revision


@pytest.mark.parametrize("kills", [5, pytest.param(20, marks=pytest.mark.long)])
def test_no_acknowledged_row_is_lost_however_often_it_is_killed(
    tmp_path: Path, writers: subprocess.Popen[str], kills: int
) -> None:
    path = tmp_path / "store.duckdb"
    identity = None
    for seed in range(kills):
        first, second, revision = last_words(writers, seed)

        assert verify(path) == []
        with Store.open(path) as store:
            marks = store.watermarks()
            assert identity in (None, store.store_id)
            identity = store.store_id
            assert marks[EURUSD].latest_sequence >= first
            assert marks[GBPUSD].latest_sequence >= second
            assert marks[EURUSD].latest_revision >= revision
            assert marks[EURUSD].first_sequence == marks[GBPUSD].first_sequence == 1
            assert marks[EURUSD].latest_ts_ms == marks[EURUSD].latest_sequence * 60_000
