"""Readers of a log on three servers, of which one is killed: client and archive end up with the store, exactly."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fluxcap import LiveClient, Via
from fluxcap.bridge.archive.archiver import Archiver
from fluxcap.bridge.jetstream.subjects import STREAM_NAME
from fluxcap.schemas.errors import NatsError
from fluxcap.schemas.types import StreamKey
from tests.support.nats.archive_rig import archived, assert_archive_is_store
from tests.support.nats.forward_rig import Desk, ask_log, await_current, make_stream
from tests.support.nats.nats_rig import NatsServer, cluster
from tests.support.patience import PATIENCE_S, await_that

pytestmark = pytest.mark.slow

KEYS = tuple(StreamKey("CLUSTER", f"S{n}/x", "1m") for n in range(3))


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[NatsServer]]:
    with ExitStack() as stack:
        nodes = cluster(tmp_path / "cluster")
        for node in nodes:
            stack.callback(node.kill)
            node.start(wait=False)
        for node in nodes:
            node.await_ready()
        yield nodes


def leader(desk: Desk) -> str | None:
    try:
        return str(ask_log(desk.address, f"STREAM.INFO.{STREAM_NAME}")["cluster"].get("leader", "")) or None
    except NatsError:
        time.sleep(0.2)
        return None


def made(desk: Desk) -> bool:
    try:
        make_stream(desk.address, replicas=3)
    except NatsError:
        time.sleep(0.2)
        return False
    return True


def publish(desk: Desk, first: int, last: int) -> None:
    for minute in range(first, last + 1):
        for key in KEYS:
            desk.publish(key, minute, minute)
        if minute % 7 == 0:
            desk.revise(KEYS[0], minute - 2, price=float(minute))


def test_a_server_of_three_dies_and_readers_have_the_store(nodes: list[NatsServer], tmp_path: Path) -> None:
    via, folder = Via(",".join(node.url for node in nodes)), tmp_path / "archive"
    (tmp_path / "desk").mkdir()
    with Desk(tmp_path / "desk", via.servers) as desk:
        await_that(lambda: made(desk), "a stream of three copies")
        forwarder = desk.forward()
        archiver = Archiver(via, folder, flush_s=0.2)
        archiving = threading.Thread(target=archiver.run, daemon=True)
        archiving.start()
        with LiveClient(data_dir=tmp_path / "client", streams=KEYS, via=via) as client:
            publish(desk, 1, 20)
            node = nodes[int(str(await_that(lambda: leader(desk), "a leader")).removeprefix("node"))]
            node.kill()
            publish(desk, 21, 40)
            node.start()
            publish(desk, 41, 50)
            await_current(forwarder, PATIENCE_S)
            for key in KEYS:
                await_that(lambda key=key: (c := client.cursor(key)) and c.latest_sequence == 50, str(key))
                await_that(lambda key=key: archived(folder, key)[0][-1:] == [50], f"{key} in the archive")
            await_that(lambda: (c := client.cursor(KEYS[0])) and c.latest_revision == 7, "the last revision")
            cached = {key: client.candles(key) for key in KEYS}
        archiver.stop()
        archiving.join(PATIENCE_S)
        Archiver(via, folder).run(once=True)

        for key in KEYS:
            page = desk.server.store.reader().page(key, 0, None, 1_000)
            assert cached[key][0].tolist() == list(range(1, 51))
            assert cached[key][1].tobytes() == page.candles.tobytes()
        assert assert_archive_is_store(folder, desk.server.store) == 150
