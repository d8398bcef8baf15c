"""The storm of `make soak`, in short: a fault of every family once, then truth = store = clients.

The seed is drawn anew for each run and printed; ``STORM_SEED`` repeats one.
"""

from __future__ import annotations

import os

import pytest

from tests.soak.storm.faults import ALL_FAULTS
from tests.soak.storm.report import Facts, section
from tests.soak.storm.rig import CLIENTS, VIEWED
from tests.soak.storm.run import run_storm
from tests.support.browser.chromium import chromium_executable
from tests.support.daemon.fault_rig import FOCUS

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.long]

INTERVALS = ("1s", "5s")
ONE_OF_A_KIND = {
    "socket closed without a word",
    "socket silent",
    "ticks late and out of order",
    "tab crashed",
    "Chrome killed, back on its port",
    "page left for another site",
    "daemon killed (kill -9)",
    "daemon stopped and going on",
    "client killed (kill -9)",
    "slow client stopped and going on",
    "bad wire",
    "full disk",
    "daemon killed on a full disk",
    "wall clock stepped",
    "daemon started by a wrong clock",
    "backup put back",
    "trades of one millisecond",
    "viewers come and go",
}


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    if chromium_executable() is None:
        pytest.skip("no Chromium on this machine; install chromium or set FLUXCAP_CHROMIUM")
    seed = int(os.environ.get("STORM_SEED") or int.from_bytes(os.urandom(3)))
    print(f"seed {seed}")
    faults = [fault for fault in ALL_FAULTS if fault.name in ONE_OF_A_KIND]
    assert len(faults) == len(ONE_OF_A_KIND)
    facts = run_storm(None, seed, INTERVALS, tmp_path_factory.mktemp("storm"), faults)
    print(section(facts))
    return facts


def problems(facts: Facts, where: str) -> str:
    return "\n".join(problem.what for problem in facts.verdict.problems if problem.where == where)


def test_after_every_fault_capture_and_clients_went_on(facts: Facts):
    assert [blow for blow in facts.blows if blow.failure] == []
    blown = {name for blow in facts.blows for name in blow.name.split(" + ")}
    assert blown == ONE_OF_A_KIND - facts.skipped.keys()


@pytest.mark.parametrize("symbol", FOCUS)
@pytest.mark.parametrize("interval", INTERVALS)
def test_every_candle_is_true_or_says_what_it_lacks(facts: Facts, interval: str, symbol: str):
    (stream,) = [each for each in facts.verdict.streams if (each.interval, each.symbol) == (interval, symbol)]

    assert stream.whole > 0
    assert problems(facts, f"{interval} {symbol}") == ""


@pytest.mark.parametrize("interval", INTERVALS)
def test_an_asset_that_only_viewers_look_at_is_true_or_in_a_told_gap(facts: Facts, interval: str):
    assert problems(facts, f"{interval} {VIEWED}") == ""


@pytest.mark.parametrize("interval", INTERVALS)
def test_the_store_is_sound(facts: Facts, interval: str):
    assert problems(facts, interval) == ""


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("interval", INTERVALS)
def test_a_clients_copy_is_the_store(facts: Facts, interval: str, client: str):
    assert problems(facts, f"{interval} client {client}") == ""


@pytest.mark.parametrize("client", CLIENTS)
def test_a_consumer_is_told_every_sequence_once_and_in_order(facts: Facts, client: str):
    assert problems(facts, f"client {client}") == ""


def test_every_problem_belongs_to_one_of_these(facts: Facts):
    places = {*INTERVALS, *(f"client {client}" for client in CLIENTS)}
    places |= {f"{interval} {symbol}" for interval in INTERVALS for symbol in (*FOCUS, VIEWED)}
    places |= {f"{interval} client {client}" for interval in INTERVALS for client in CLIENTS}

    assert [problem for problem in facts.verdict.problems if problem.where not in places] == []
