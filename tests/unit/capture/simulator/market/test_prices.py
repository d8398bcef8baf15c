"""capture/simulator/market/prices.py: the price is a function of time, in the platform's rhythm."""

from __future__ import annotations

import numpy as np
import pytest

from fluxcap.capture.simulator.assets import load_assets
from fluxcap.capture.simulator.market.prices import SimulatedMarket

START_MS = 1_795_303_500_000
HOUR_MS = 3_600_000


def market(
    symbol: str = "EURUSD_otc", *, seed: int = 1, rate_hz: float = 2.1, mean_pause_s: float = 0.0
) -> SimulatedMarket:
    return SimulatedMarket(load_assets()[symbol], seed=seed, rate_hz=rate_hz, mean_pause_s=mean_pause_s)


@pytest.mark.parametrize("piece_ms", [1, 137, 7_777, 60_000])
def test_ticks_are_the_same_in_whatever_pieces_they_are_asked_for(piece_ms: int) -> None:
    span_ms = min(600_000, piece_ms * 500)
    whole = market().ticks(START_MS, START_MS + span_ms)

    pieces = [market().ticks(at, at + piece_ms) for at in range(START_MS, START_MS + span_ms, piece_ms)]

    assert np.concatenate([ts for ts, _ in pieces]).tolist()[: len(whole[0])] == whole[0].tolist()
    assert np.concatenate([points for _, points in pieces]).tolist()[: len(whole[0])] == whole[1].tolist()


def test_the_seed_and_the_symbol_make_the_price() -> None:
    def points(symbol: str, seed: int) -> list[int]:
        return list(market(symbol, seed=seed).ticks(START_MS, START_MS + 60_000)[1].tolist())

    assert points("EURUSD_otc", 1) == points("EURUSD_otc", 1)
    assert points("EURUSD_otc", 1) != points("EURUSD_otc", 2)
    assert points("EURUSD_otc", 1) != points("GBPUSD_otc", 1)


def test_an_otc_asset_ticks_as_measured_on_the_platform() -> None:
    ts, points = market().ticks(START_MS, START_MS + HOUR_MS)
    gaps_ms = np.diff(ts)

    assert 2.05 <= len(ts) / 3600 <= 2.13
    assert 480 <= np.median(gaps_ms) <= 510
    assert gaps_ms.min() > 0
    assert gaps_ms.max() < 1_000
    assert 0.2 <= float(np.mean(np.diff(points) == 0)) <= 0.33


def test_every_third_second_a_keep_alive_repeats_the_price() -> None:
    ts, points = market().ticks(START_MS, START_MS + HOUR_MS)
    close_behind = np.flatnonzero((np.diff(ts) > 250) & (np.diff(ts) < 340))  # 0.65 of a slot, jittered

    repeats = points[close_behind + 1] == points[close_behind]

    assert len(close_behind) >= 1_000
    assert repeats.mean() > 0.95


def test_an_ordinary_asset_ticks_less_and_with_gaps() -> None:
    ts, _ = market("EURUSD").ticks(START_MS, START_MS + HOUR_MS)

    assert 1.3 <= len(ts) / 3600 <= 2.0
    assert np.diff(ts).max() > 1_000


def test_rate_is_settable_and_no_two_ticks_share_a_millisecond_at_the_highest() -> None:
    ts, _ = market(rate_hz=250).ticks(START_MS, START_MS + 60_000)

    assert 245 <= len(ts) / 60 <= 255
    assert np.diff(ts).min() >= 1


@pytest.mark.parametrize("symbol", ["EURUSD_otc", "USDJPY_otc", "USDIDR_otc", "LBPUSD_otc", "BCHJPY", "#INTC"])
def test_prices_have_the_decimals_of_the_asset_and_stay_positive(symbol: str) -> None:
    asset = load_assets()[symbol]
    _, points = market(symbol).ticks(START_MS, START_MS + 6 * HOUR_MS)

    prices = [market(symbol).price(int(level)) for level in np.unique(points)]

    assert all(price == float(f"{price:.{asset.decimals}f}") > 0 for price in prices)
    assert len(prices) > 10


def test_a_quiet_market_has_no_ticks_and_goes_on_where_it_would_have_been() -> None:
    quiet = market()
    quiet.pause(START_MS + 10_000)
    quiet.resume(START_MS + 20_000)

    ts, points = quiet.ticks(START_MS, START_MS + 30_000)

    all_ts, all_points = market().ticks(START_MS, START_MS + 30_000)
    kept = (all_ts < START_MS + 10_000) | (all_ts >= START_MS + 20_000)
    assert ts.tolist() == all_ts[kept].tolist()
    assert points.tolist() == all_points[kept].tolist()
    assert quiet.paused_at(START_MS + 10_000)
    assert not quiet.paused_at(START_MS + 20_000)


def test_a_market_still_quiet_has_no_ticks_after_the_pause() -> None:
    quiet = market()
    quiet.pause(START_MS + 10_000)

    ts, _ = quiet.ticks(START_MS, START_MS + 30_000)

    assert ts.max() < START_MS + 10_000


@pytest.mark.costly
@pytest.mark.parametrize("symbol", ["EURUSD_otc", "EURUSD"])
@pytest.mark.parametrize("mean_pause_s", [4.0, 30.0])
def test_trades_of_a_thin_market_come_at_random_about_their_mean(symbol: str, mean_pause_s: float) -> None:
    ts, _ = market(symbol, mean_pause_s=mean_pause_s).ticks(START_MS, START_MS + 48 * HOUR_MS)
    pauses_s = np.diff(ts) / 1_000

    assert pauses_s.mean() == pytest.approx(mean_pause_s, rel=0.1)
    assert pauses_s.std() == pytest.approx(mean_pause_s, rel=0.2)


def test_a_thin_market_is_the_usual_one_with_most_ticks_left_out() -> None:
    usual = dict(zip(*(column.tolist() for column in market().ticks(START_MS, START_MS + HOUR_MS)), strict=True))
    thin = dict(
        zip(*(column.tolist() for column in market(mean_pause_s=30).ticks(START_MS, START_MS + HOUR_MS)), strict=True)
    )

    assert thin.items() <= usual.items()
    assert market(mean_pause_s=0.01).ticks(START_MS, START_MS + HOUR_MS)[0].tolist() == list(usual)


def bunched() -> SimulatedMarket:
    found = market(rate_hz=20)
    found.bunch(START_MS + 10_050)
    found.unbunch(START_MS + 20_000)
    return found


def test_in_a_bunched_market_several_ticks_share_a_millisecond_and_none_repeats_the_one_before() -> None:
    ts, points = bunched().ticks(START_MS, START_MS + 30_000)
    usual_ts, usual_points = market(rate_hz=20).ticks(START_MS, START_MS + 30_000)

    within = (ts >= START_MS + 10_050) & (ts < START_MS + 20_000)
    counts = np.unique(ts[within], return_counts=True)[1]
    assert counts.mean() > 3
    assert not ((np.diff(ts) == 0) & (np.diff(points) == 0)).any()
    assert (ts[within] % 1_000 != 0).all()
    outside = (usual_ts < START_MS + 10_050) | (usual_ts >= START_MS + 20_000)
    assert ts[~within].tolist() == usual_ts[outside].tolist()
    assert points[~within].tolist() == usual_points[outside].tolist()


@pytest.mark.parametrize("piece_ms", [70, 400, 1_000, 7_000])
def test_a_bunched_market_is_the_same_in_any_pieces(piece_ms: int) -> None:
    pieces = [bunched().ticks(START_MS + at, START_MS + at + piece_ms) for at in range(0, 28_000, piece_ms)]

    whole = bunched().ticks(START_MS, START_MS + len(pieces) * piece_ms)
    assert np.concatenate([ts for ts, _ in pieces]).tolist() == whole[0].tolist()
    assert np.concatenate([points for _, points in pieces]).tolist() == whole[1].tolist()


def test_a_market_may_become_thin_for_a_while_and_be_quiet_within() -> None:
    thin = market()
    thin.pause(START_MS + 100_000, 4.0)
    thin.pause(START_MS + 300_000)
    thin.resume(START_MS + 400_000)
    thin.resume(START_MS + 600_000, 4.0)

    ts, _ = thin.ticks(START_MS, START_MS + 700_000)

    counts = np.histogram(ts - START_MS, bins=range(0, 700_001, 100_000))[0].tolist()
    assert min(counts[0], counts[6]) > 190
    assert counts[3] == 0
    assert all(10 < counts[at] < 50 for at in (1, 2, 4, 5))
    happened = [at for at in market().ticks(START_MS, START_MS + 700_000)[0].tolist() if not thin.paused_at(at)]
    assert happened == ts.tolist()
