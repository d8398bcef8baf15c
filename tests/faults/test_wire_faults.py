"""Whatever happens on the wire, the client's table ends up as the server's store. See
tests/support/wire/wire_storm.py."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
import pytest

from fluxcap.bridge.client.cache import CandleCache
from fluxcap.bridge.devserver.faults import Faults
from fluxcap.schemas.types import StreamKey
from tests.support.paths import ROOT
from tests.support.wire.wire_storm import DevServerProcess, Phase, Scenario, dev_server, random_scenario, run_scenario


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServerProcess]:
    with dev_server(tmp_path_factory.mktemp("devserver")) as running:
        yield running


def alone(name: str, **faults: float) -> Scenario:
    return Scenario(name, (Phase(Faults(**faults)),))  # type: ignore[arg-type]


SCENARIOS = [
    Scenario("no fault", (Phase(),), revise_every=5),
    Scenario("history in small pages while live goes on", (Phase(),), history=3_000, page_limit=100),
    Scenario("large batches", (Phase(),), batch_size=500, history=20_000),
    alone("a third is dropped", drop_percent=33),
    alone("all is dropped", drop_percent=100),
    alone("every third batch is skipped", skip_every=3),
    alone("jitter", jitter_ms=80),
    alone("reordered", reorder_percent=50),
    alone("duplicated", duplicate_percent=70),
    alone("garbage", garbage_percent=40),
    alone("silence", stall=True),
    alone("late answers", drop_percent=30, answer_delay_ms=150),
    alone("answers later than anybody waits", drop_percent=30, answer_delay_ms=5_000),
    alone("failing backfill", drop_percent=30, answer_fail_percent=100),
    alone("empty backfill", drop_percent=30, answer_empty_percent=100),
    Scenario("lost revisions", (Phase(Faults(drop_percent=50)),), revise_every=2),
    Scenario("restart with the store", (Phase(), Phase(event="restart"))),
    Scenario("restart with a new store", (Phase(), Phase(event="new store"))),
    Scenario("a new store twice over, losing half", (Phase(Faults(drop_percent=50), event="new store"),) * 2),
    Scenario("the client restarts", (Phase(Faults(drop_percent=20)), Phase(Faults(), 0.3, "new client"))),
    Scenario("the oldest candles go", (Phase(Faults(stall=True)), Phase(event="prune")), batch_size=5, history=200),
]
MIXTURES = [random_scenario(seed) for seed in range(6)]


@pytest.mark.parametrize("scenario", SCENARIOS + MIXTURES, ids=lambda scenario: scenario.name)
def test_the_clients_table_ends_up_as_the_servers_store(
    server: DevServerProcess, tmp_path: Path, scenario: Scenario
) -> None:
    outcome = run_scenario(server, scenario, scenario.name.replace(" ", "-"), tmp_path)

    assert outcome.candles > 0


TAIL = """
import json, sys
from fluxcap.bridge.terminal.tail import tail
from fluxcap.schemas.types import StreamKey
tail(StreamKey("SIM", sys.argv[1], "1s"), pub=sys.argv[2], rep=sys.argv[3], data_dir=sys.argv[4], as_json=True)
"""


def test_a_client_killed_at_any_instant_resumes_exactly(server: DevServerProcess, tmp_path: Path) -> None:
    symbol, random, told = "killed", Random(7), 0
    key = StreamKey("SIM", symbol, "1s")
    server.call("PUT", "/streams", {"symbols": [symbol], "tick_ms": 5, "history": 500, "revise_every": 7})
    server.call("PUT", "/faults", Faults(drop_percent=20))
    server.call("POST", "/start")

    for _ in range(3):
        told = max(told, _tail_until_killed(server, symbol, tmp_path, random.randrange(1, 200)))
        cache = CandleCache(tmp_path)
        sequences, cursor = cache.candles(key)[0], cache.cursor(key)
        cache.close()
        assert cursor is not None
        assert np.array_equal(sequences, np.arange(1, cursor.latest_sequence + 1))
        assert cursor.latest_sequence >= told, "something was told that was not stored"

    server.call("POST", "/stop")
    outcome = run_scenario(server, Scenario("after the kills", (Phase(),)), symbol, tmp_path)
    assert outcome.candles >= told


def _tail_until_killed(server: DevServerProcess, symbol: str, data_dir: Path, lines: int) -> int:
    """Kill -9 a tailing client after so many candles; the last sequence it told."""
    command = [sys.executable, "-c", TAIL, symbol, server.pub, server.rep, str(data_dir)]
    last = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as client:
        assert client.stdout is not None
        for line in client.stdout:
            # The line in which it died may be cut.
            told = json.loads(line) if line.endswith("\n") else {}
            if told.get("type") == "candle":
                last, lines = told["sequence"], lines - 1
                if lines == 0:
                    client.kill()
    return last
