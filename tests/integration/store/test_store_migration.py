"""A start that is killed at any instant while it brings a store of 0.1.0 to the present version."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from fluxcap.bridge.store.digest import StoreDigest, store_digest
from fluxcap.bridge.store.offline import OfflineStore
from fluxcap.bridge.store.store import Store
from fluxcap.bridge.store.verify import verify
from tests.support.golden import opened
from tests.support.paths import ROOT

ROWS = 300_000
STARTER = """
import os, sys
from pathlib import Path
from fluxcap.bridge.store.store import Store
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        print(os.getpid(), flush=True)
        Store.open(Path(sys.argv[1])).close()
        os._exit(0)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""


def digest(path: Path) -> StoreDigest:
    with Store.open(path) as store:
        return store_digest(store.reader())


@pytest.mark.slow
@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.long)])
def test_a_start_killed_while_it_migrates_loses_nothing(tmp_path: Path, kills: int) -> None:
    """Each kill meets a store of version 1 that takes a while to copy and to change."""
    path = opened("store/closed", tmp_path) / "fluxcap.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("INSERT INTO streams VALUES (99, 'SIM', 'BIG', '1m')")
        connection.execute(
            "INSERT INTO candles_settled SELECT 99, n, n * 60000, 1.5 + x, 1.6 + x, 1.4 + x, 1.5 + x, 9, 9, 0 "
            f"FROM (SELECT n, hash(n) % 9973 / 1e5 AS x FROM range(1, {ROWS + 1}) AS r(n))"
        )
    path.with_name("fluxcap.duckdb.mark").unlink()
    before = path.read_bytes()
    whole = tmp_path / "whole.duckdb"
    whole.write_bytes(before)
    began_s = time.monotonic()
    Store.open(whole).close()
    takes_s = time.monotonic() - began_s
    wanted = digest(whole)
    rng = random.Random(11)

    with subprocess.Popen(
        [sys.executable, "-c", STARTER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True
    ) as starter:
        assert starter.stdin is not None
        assert starter.stdout is not None
        for _ in range(kills):
            for left in path.parent.iterdir():
                left.unlink()
            path.write_bytes(before)
            print("start", file=starter.stdin, flush=True)
            pid = int(starter.stdout.readline())
            time.sleep(rng.random() * takes_s)  # anywhere within; on a busy machine rather at its beginning
            with contextlib.suppress(ProcessLookupError):  # it was done already
                os.kill(pid, signal.SIGKILL)
            assert starter.stdout.readline() == "ended\n"

            assert verify(path) == []
            assert digest(path) == wanted
            copy = path.with_name("fluxcap.duckdb.version-1")
            if copy.exists():
                with OfflineStore(copy) as old:
                    assert sum(size.candles for size in old.streams()) == sum(s.candles for s in wanted.streams)
        starter.stdin.close()
