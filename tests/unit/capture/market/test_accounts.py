"""Two kinds of account bring one asset: which counts, and that no candle is made of both."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fluxcap.capture.market.accounts import Accounts
from fluxcap.capture.market.feeds import GapReason, SymbolFeed
from fluxcap.schemas.types import CandleFlags
from tests.support.market.simulated_market import EUR, GBP, START_MS, Stage

MINUTE = 60_000
DEMO, REAL = "wss://demo-api-eu.po.market/socket.io/", "wss://api-eu.po.market/socket.io/"


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A demo tab's socket ``demo`` and a real one's, ``real``."""
    made = Stage()
    made.market.socket_opened("demo", DEMO)
    made.market.socket_opened("real", REAL)
    yield made
    made.assert_truthful()


def both(stage: Stage, from_ms: int, to_ms: int, *, first: str = "demo") -> None:
    """Both tell of every tick at the same time, the other one its own price, which no candle may have."""
    other = {"demo": "real", "real": "demo"}[first]
    for ts_ms in range(from_ms, to_ms, 500):
        stage.tick(ts_ms, EUR, first)
        row = [EUR, (ts_ms + 1 + stage.offset_ms) / 1_000, 2.5]
        stage.event(other, "updateStream", [row], ts_ms + 760)


def test_the_account_that_brought_the_asset_first_counts_while_it_brings_it(stage: Stage) -> None:
    both(stage, START_MS, START_MS + 3 * MINUTE)

    assert stage.flags() == {0: CandleFlags.NONE, 1: CandleFlags.NONE}
    assert max(candle.high for candle in stage.sealed[EUR]) < 2
    assert stage.market.accounts == {EUR: "demo"}
    assert stage.market.view(stage.at()).counters[f"other_account.{EUR}"] > 300


def test_another_asset_may_be_of_the_other_account(stage: Stage) -> None:
    for ts_ms in range(START_MS, START_MS + 2 * MINUTE + 1_000, 500):
        stage.tick(ts_ms, EUR, "demo")
        stage.tick(ts_ms + 1, GBP, "real")

    assert stage.flags(EUR)[1] == stage.flags(GBP)[1] == CandleFlags.NONE
    assert stage.market.accounts == {}


def test_the_other_account_follows_from_the_next_bucket_on(stage: Stage) -> None:
    both(stage, START_MS, START_MS + MINUTE + 20_000)
    stage.lose("demo", GapReason.TAB_CLOSED)
    for ts_ms in range(START_MS + MINUTE + 21_000, START_MS + 2 * MINUTE, 500):
        row = [EUR, (ts_ms + stage.offset_ms) / 1_000, 2.5]
        stage.event("real", "updateStream", [row], ts_ms + 750)
    stage.ticks_of(START_MS + 2 * MINUTE, START_MS + 4 * MINUTE + 1_000, socket="real")

    assert stage.flags()[0] == CandleFlags.NONE
    assert stage.flags()[3] == CandleFlags.NONE
    assert stage.market.accounts == {EUR: "real"}
    between = [candle for candle in stage.sealed[EUR] if candle.ts_ms == START_MS + MINUTE]
    assert [candle.flags for candle in between] == [CandleFlags.BLIND]
    assert between[0].high < 2
    assert any(gap.reason is GapReason.TAB_CLOSED and gap.to_ms >= START_MS + 2 * MINUTE for gap in stage.gaps)


def test_the_history_of_the_other_account_is_left_out(stage: Stage) -> None:
    both(stage, START_MS, START_MS + MINUTE)
    payload = {
        "asset": EUR,
        "period": 60,
        "history": [[(START_MS + at + 250 + stage.offset_ms) / 1_000, 2.5] for at in range(0, MINUTE, 1_000)],
        "candles": [],
    }
    stage.event("real", "updateHistoryNewFast", payload, START_MS + MINUTE + 800)
    stage.ticks_of(START_MS + MINUTE, START_MS + 2 * MINUTE + 1_000, socket="demo")

    assert stage.flags() == {0: CandleFlags.NONE, 1: CandleFlags.NONE}


def test_of_the_history_of_the_account_that_follows_only_the_new_buckets_count(stage: Stage) -> None:
    both(stage, START_MS, START_MS + MINUTE + 20_000)
    stage.lose("demo", GapReason.NAVIGATED)
    stage.ticks_of(START_MS + 2 * MINUTE, START_MS + 2 * MINUTE + 20_000, socket=None)
    told = [[(START_MS + at + 250 + stage.offset_ms) / 1_000, 2.5] for at in range(0, 2 * MINUTE, 1_000)]
    payload = {"asset": EUR, "period": 60, "history": told, "candles": []}
    stage.event("real", "updateHistoryNewFast", payload, START_MS + 2 * MINUTE + 20_000)
    stage.history(START_MS + 2 * MINUTE, START_MS + 2 * MINUTE + 20_000, socket="real")
    stage.ticks_of(START_MS + 2 * MINUTE + 20_000, START_MS + 4 * MINUTE + 1_000, socket="real")

    assert {at: flags for at, flags in stage.flags().items() if at >= 2}[3] == CandleFlags.NONE
    assert max(candle.high for candle in stage.sealed[EUR]) < 2


def test_a_dead_socket_of_one_account_does_not_keep_the_other_out(stage: Stage) -> None:
    both(stage, START_MS, START_MS + MINUTE)
    stage.pass_time(START_MS + MINUTE + 10_000)
    stage.ticks_of(START_MS + 2 * MINUTE, START_MS + 4 * MINUTE + 1_000, socket="real")
    row = [EUR, (START_MS + 4 * MINUTE + 1_000 + stage.offset_ms) / 1_000, 2.5]
    stage.event("demo", "updateStream", [row])

    assert stage.flags()[3] == CandleFlags.NONE
    assert stage.market.accounts == {EUR: "real"}


def test_a_socket_of_unknown_kind_counts_as_ever() -> None:
    accounts = Accounts(MINUTE)
    accounts.opened("a", "demo", ())
    accounts.opened("b", "", ())

    assert not accounts.is_mixed
    assert accounts.from_ms("b", SymbolFeed(EUR), START_MS) == 0


def test_what_was_known_before_the_second_kind_came_is_of_the_first() -> None:
    accounts = Accounts(MINUTE)
    accounts.opened("a", "demo", ())
    accounts.opened("b", "real", (EUR,))

    assert (accounts.kind_of(EUR), accounts.kind_of(GBP)) == ("demo", "")


def test_a_clock_that_was_wrong_moves_the_time_from_which_an_account_counts() -> None:
    accounts = Accounts(MINUTE)
    accounts.opened("a", "demo", ())
    accounts.opened("b", "real", (EUR,))
    feed = SymbolFeed(EUR)
    feed.tape.add(START_MS + 1, 1.0)
    assert accounts.from_ms("b", feed, START_MS + MINUTE) == START_MS + MINUTE

    accounts.shift(-900_000)

    assert accounts.from_ms("b", feed, START_MS + MINUTE) == START_MS + MINUTE - 900_000
