"""Recorded tick files, folded by our candle code and by DuckDB: equal in every full minute."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import duckdb
import pytest

from fluxcap.capture.market.candles import CandleBuilder, CandleTimeouts
from fluxcap.capture.market.feeds import FeedTracker, TickResult
from fluxcap.schemas.types import Candle, CandleFlags
from tests.support.market.captures import captures

MINUTE = 60_000
DAY_MS = 86_400_000
BASE_MS = 1_756_684_800_000
"""A midnight. The files tell no date, so one is made up."""
FILES = [
    "AUDCHF_otc_ticks_2025_10_14_13_39_15_merged.csv",
    "AUDCHF_ticks_2025_09_29_15_26_29_merged.csv",
    "DOGE_otc_ticks_2025_10_14_13_39_15_merged.csv",
    "EURUSD_otc_pocketoptionapi-v2_live.csv",
    "EURUSD_otc_ticks_2025_10_14_13_39_15_merged.csv",
    "LBPUSD_otc_ticks_2025_09_29_15_26_29_merged.csv",
    "USDIDR_otc_ticks_2025_09_29_15_26_29_merged.csv",
    "ZARUSD_otc_ticks_20250930_time-1208_compiled.csv",
]


def read(path: Path) -> list[tuple[int, float]]:
    """Ticks as ``(ts_ms, price)`` in the file's order. The n-th tick within one told second gets n ms, so that each
    stays a tick of its own; files with full stamps keep them."""
    found: list[tuple[int, float]] = []
    day_ms = last_s = within = 0
    for row in csv.reader(path.read_text().splitlines()):
        if not row or row[0] in ("timestamp", "time"):  # one file repeats its header
            continue
        price = float(row[-1])
        if ":" not in row[0]:
            found.append((round(float(row[0]) * 1_000), price))
            continue
        hours, minutes, seconds = row[0].rstrip("Z").split(":")
        told_s = int(hours) * 3_600 + int(minutes) * 60 + int(seconds)
        day_ms += DAY_MS if told_s < last_s - 43_200 else 0
        within = within + 1 if told_s == last_s else 0
        last_s = told_s
        found.append((BASE_MS + day_ms + told_s * 1_000 + within, price))
    return found


def by_duckdb(ticks: list[tuple[int, float]]) -> list[tuple[int, float, float, float, float, int]]:
    """Full minutes: each tick once, ties in order of the file. The first minute and the last are not full."""
    columns = {"seq": list(range(len(ticks))), "ts": [ts for ts, _ in ticks], "price": [price for _, price in ticks]}
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE told (seq BIGINT, ts BIGINT, price DOUBLE)")
        connection.execute(
            "INSERT INTO told SELECT unnest($seq::BIGINT[]), unnest($ts::BIGINT[]), unnest($price::DOUBLE[])", columns
        )
        return connection.execute(
            """
            WITH once AS (SELECT ts, price, min(seq) AS seq FROM told GROUP BY ts, price),
                 minutes AS (
                     SELECT ts // 60000 * 60000 AS minute, first(price ORDER BY ts, seq) AS open, max(price) AS high,
                            min(price) AS low, last(price ORDER BY ts, seq) AS close, count(*) AS ticks
                     FROM once GROUP BY minute)
            SELECT * FROM minutes
            WHERE minute > (SELECT min(minute) FROM minutes) AND minute < (SELECT max(minute) FROM minutes)
            ORDER BY minute
            """
        ).fetchall()


def by_our_code(ticks: list[tuple[int, float]]) -> list[Candle]:
    """The candle code as the market drives it, the last revision of each minute winning."""
    feeds = FeedTracker(history_wait_ms=0)
    feed = feeds.feed("A")
    builder = CandleBuilder(feed.tape, feed.server_candles(MINUTE), CandleTimeouts(MINUTE))
    found: dict[int, Candle] = {}
    for ts_ms, price in ticks:
        if feeds.tick("s", "A", ts_ms, price, ts_ms) is not TickResult.NEW:
            continue
        if ts_ms < builder.next_ms:
            builder.add_late_tick(ts_ms)
        elif builder.closes_bucket(ts_ms):
            found |= {candle.ts_ms: candle for candle in builder.sealed(ts_ms, feeds.coverage(feed))}
        found |= {revision.candle.ts_ms: revision.candle for revision in builder.revisions(feeds.coverage(feed))}
    return [found[ts_ms] for ts_ms in sorted(found)]


def minutes_with_holes(ticks: list[tuple[int, float]]) -> set[int]:
    """Minutes of which the recording itself may lack ticks: it pauses for 3 s or more in them."""
    times = sorted({ts_ms for ts_ms, _ in ticks})
    holes = [(before, after) for before, after in itertools.pairwise(times) if after - before >= 3_000]
    return {
        minute for before, after in holes for minute in range(before - before % MINUTE, after + 1, MINUTE)
    }  # up to and with the one in which it went on


@pytest.mark.parametrize("name", FILES)
def test_our_candles_equal_duckdbs_in_every_full_minute(name: str) -> None:
    ticks = read(captures("ticks", name))

    ours = {
        candle.ts_ms: (candle.ts_ms, candle.open, candle.high, candle.low, candle.close, candle.tick_count)
        for candle in by_our_code(ticks)
        if not candle.flags & ~CandleFlags.REVISED
    }
    theirs = {row[0]: row for row in by_duckdb(ticks)}

    assert theirs
    assert {minute: row for minute, row in theirs.items() if ours.get(minute, row) != row} == {}
    assert set(theirs) - set(ours) <= minutes_with_holes(ticks)


def test_the_duplicates_of_the_public_clients_file_count_once() -> None:
    ticks = read(captures("ticks", "EURUSD_otc_pocketoptionapi-v2_live.csv"))

    assert len(ticks) == 25_297
    assert len(set(ticks)) == 8_772
    assert sum(later < earlier for (earlier, _), (later, _) in itertools.pairwise(ticks)) == 248
    assert sum(candle.tick_count for candle in by_our_code(ticks)) <= 8_772
