"""An archive that is killed at any instant ends up with every candle of the store, once each, to the bit."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fluxcap import Via
from fluxcap.bridge.archive.archiver import Archiver
from fluxcap.bridge.jetstream.address import parse_address
from fluxcap.schemas.types import StreamKey, candle_array
from tests.support.daemon.forked_daemons import ForkedDaemons
from tests.support.nats.archive_rig import assert_archive_is_store
from tests.support.nats.forward_rig import Desk, await_current, candle, make_stream
from tests.support.nats.nats_rig import NatsServer
from tests.support.patience import await_that

pytestmark = pytest.mark.slow

KEYS = [StreamKey(f"DESK{n % 2}", f"#S/{n}_otc", "1m") for n in range(4)]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def newest_ns(folder: Path) -> int:
    """When a file of the archive was last replaced."""
    return max((path.stat().st_mtime_ns for path in folder.glob("source=*/**/*.parquet")), default=0)


def publish(desk: Desk, n: int) -> None:
    """Round ``n``: 31 minutes of each stream, the nine after them only ever revised into being."""
    first = 40 * n + 1
    for key in KEYS:
        desk.publish(key, first, first + 30)
        desk.revise(key, first + 3, max(first - 40, 1), price=2.0 + n)
        if n % 5 == 4:
            desk.server.revise({key: candle_array([candle(first - 4, 3.0 + n)])})


@pytest.mark.parametrize("kills", [10, pytest.param(50, marks=pytest.mark.long)])
def test_killed_again_and_again_the_archive_is_the_store(
    nats_server: Callable[..., NatsServer], tmp_path: Path, kills: int
) -> None:
    server_kills = (kills * 3 // 10, kills * 7 // 10)
    server, folder, log = nats_server(), tmp_path / "archive", tmp_path / "archive.log"
    making = folder / "_fluxcap" / "making" / "candles.parquet"
    make_stream(parse_address(server.url))
    command = ["archive", "--via", server.url, "--out", str(folder), "--flush-seconds", "0"]
    chance, died_writing = random.Random(8), 0
    forked = ForkedDaemons("fluxcap.bridge.archive.archiver", "nats.aio.client", "fluxcap.capture.cli.nats")
    (tmp_path / "desk").mkdir()
    with Desk(tmp_path / "desk", server.url) as desk:
        forwarder = desk.forward()
        try:
            for n in range(kills):
                publish(desk, n)
                before_ns = newest_ns(folder)
                pid = forked.start(command, log).pid
                if n in server_kills:
                    server.kill()
                    server.start()
                await_that(lambda ns=before_ns: making.exists() or newest_ns(folder) > ns, f"writing in round {n}")
                time.sleep(chance.choice((0.0, 0.002, 0.01, 0.03)))
                os.kill(pid, signal.SIGKILL)
                await_that(lambda pid=pid: not alive(pid), "its death")
                died_writing += making.exists()
            await_current(forwarder)
        finally:
            forked.close()

        state = Archiver(Via(server.url), folder).run(once=True)

        assert assert_archive_is_store(folder, desk.server.store) == len(KEYS) * (kills * 31 + kills // 5)
    assert died_writing > 0 or kills < 50  # by chance; a few may all miss it
    assert state.missing == ()
