"""The recorded frames of a real page through the real decoding path.

The recording was drained from a log: 287 of its frames carry one arrival time, then come 15 seconds as they were live.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict

import msgspec
import pytest

from fluxcap.capture.chrome.events import ArrivalTime
from fluxcap.capture.market.candles import bucket_start
from fluxcap.capture.market.focus import Focus, FocusMode
from fluxcap.capture.market.market import Market, MarketUpdate
from fluxcap.capture.market.tape import TickTape
from fluxcap.capture.platforms.base import Asset, Assets, Favourites, History, MarketEvent, RawTick
from fluxcap.capture.platforms.pocketoption import PocketOption
from fluxcap.schemas.types import CandleFlags
from tests.support.market.captures import captures, recorded_frames

MINUTE = 60_000
OPEN_ASSET = "EURGBP_otc"
SECRETS = re.compile(rb"REDACTED|redacted|balance|session|\bsid\b|\buid\b|chat_|Deals", re.IGNORECASE)


@pytest.fixture(scope="module")
def events() -> list[tuple[str, MarketEvent]]:
    platform = PocketOption()
    decoders = defaultdict(platform.decoder)
    found = []
    for frame in recorded_frames():
        decoder = decoders[frame["request_id"]]
        found += [(frame["request_id"], event) for event in decoder.received(frame["opcode"], frame["payload"])]
    assert {kind: n for decoder in decoders.values() for kind, n in decoder.malformed.items() if n} == {}
    return found


@pytest.fixture(scope="module")
def history(events: list[tuple[str, MarketEvent]]) -> tuple[History, History]:
    raw, older = [event for _, event in events if isinstance(event, History)]
    return raw, older


class Replay:
    """The recording played to a market as it came; then time passes."""

    def __init__(self, focus: Focus) -> None:
        self.market = Market(PocketOption(), MINUTE, focus)
        self.outcome = MarketUpdate()
        self.told: list[bytes] = []
        frames = recorded_frames()
        first_s = frames[0]["timestamp"]
        for frame, following in zip(frames, [*frames[1:], None], strict=True):
            mono_ms = round((frame["timestamp"] - first_s) * 1_000) + 1_000_000
            drained = following is None or following["timestamp"] > frame["timestamp"]
            self.at = ArrivalTime.from_ms(round(frame["timestamp"] * 1_000), mono_ms, drained)
            self.market.received(frame["request_id"], frame["opcode"], frame["payload"], self.at)
            if drained:
                self.market.advance_time(self.at)
        self._take()

    def pass_ms(self, ms: int) -> None:
        for _ in range(0, ms, 250):
            self.at = ArrivalTime.from_ms(self.at.wall_ms + 250, self.at.mono_ms + 250)
            self.market.advance_time(self.at)
        self._take()

    def _take(self) -> None:
        newer = self.market.drain()
        self.told.append(repr(newer).encode())
        ticks = self.outcome.ticks + newer.ticks
        self.outcome.append(newer)
        self.outcome.ticks = ticks


@pytest.fixture(scope="module")
def replay() -> Replay:
    replay = Replay(Focus(FocusMode.LOCK, (OPEN_ASSET,)))
    replay.pass_ms(30_000)
    return replay


def test_every_frame_is_understood_and_no_payload_is_an_orphan(events: list[tuple[str, MarketEvent]]) -> None:
    ticks = [event for _, event in events if isinstance(event, RawTick)]

    assert len(ticks) == 148
    assert len({tick.symbol for tick in ticks}) == 15
    assert len([event for _, event in events if isinstance(event, Assets)]) == 2
    assert len([event for _, event in events if isinstance(event, Favourites)]) == 1


def test_the_live_tail_is_there_to_the_tick(replay: Replay) -> None:
    live_from_s = recorded_frames()[284]["timestamp"]  # what came before lay in a log
    arrived = [frame for frame in recorded_frames()[285:] if frame["opcode"] == 2 and frame["timestamp"] > live_from_s]
    tail = [tick for tick in replay.outcome.ticks if tick.raw_ts_ms > 1_756_866_814_006]

    assert len(arrived) - 1 == len(tail) >= 29  # one of them is signals/update
    assert tail[-1].raw_ts_ms == 1_756_866_829_031
    assert tail[-1].price == 0.87937


def test_the_offset_of_the_recording_is_two_hours(replay: Replay) -> None:
    assert replay.market.clock.offset_ms == 7_200_000
    assert replay.market.view(replay.at).clock == "synchronised"


def test_raw_history_folds_to_every_full_server_candle(history: tuple[History, History]) -> None:
    raw, _ = history
    tape = TickTape()
    tape.add_history(raw.ticks)
    first_full_ms = bucket_start(raw.ticks[0][0] - 1, MINUTE) + MINUTE
    full = [row for row in raw.candles if row.ts_ms >= first_full_ms]

    folded = [tape.fold(row.ts_ms, row.ts_ms + MINUTE) for row in full]

    assert len(full) == 9
    assert [(c.open, c.high, c.low, c.close) for c in folded if c] == [(c.open, c.high, c.low, c.close) for c in full]


def test_the_oldest_row_joins_the_older_history(history: tuple[History, History]) -> None:
    raw, older = history

    assert older.candles[-1] == raw.candles[0]
    assert (len(raw.ticks), len(raw.candles), len(older.candles)) == (1_659, 97, 150)


def test_the_market_makes_of_the_recording_what_the_server_has(
    replay: Replay, history: tuple[History, History]
) -> None:
    raw, older = history
    server = {row.ts_ms - 7_200_000: row for row in (*older.candles, *raw.candles)}
    sealed = replay.outcome.sealed[OPEN_ASSET]

    starts = [candle.ts_ms for candle in sealed]
    assert starts == sorted(set(starts))
    both = [(candle, server[candle.ts_ms]) for candle in sealed if candle.ts_ms in server]
    assert len(both) >= 22
    assert all((c.open, c.high, c.low, c.close) == (r.open, r.high, r.low, r.close) for c, r in both)
    assert all(candle.flags & CandleFlags.FILLED for candle in sealed)


def test_minutes_younger_than_the_servers_rows_are_built_from_raw_history(
    replay: Replay, history: tuple[History, History]
) -> None:
    raw, _ = history
    newest_row_ms = raw.candles[-1].ts_ms - 7_200_000
    ticks = {(ts - 7_200_000, price) for ts, price in raw.ticks} | {
        (tick.ts_ms, tick.price) for tick in replay.outcome.ticks
    }
    younger = [candle for candle in replay.outcome.sealed[OPEN_ASSET] if candle.ts_ms > newest_row_ms]

    assert len(younger) == 3
    for candle in younger:
        prices = [price for ts, price in sorted(ticks) if candle.ts_ms <= ts < candle.ts_ms + MINUTE]
        assert (candle.open, candle.close, candle.high, candle.low, candle.tick_count) == (
            prices[0],
            prices[-1],
            max(prices),
            min(prices),
            len(prices),
        )


def test_live_ticks_that_history_repeats_count_once(replay: Replay, history: tuple[History, History]) -> None:
    raw, _ = history
    live = {(tick.raw_ts_ms, tick.price) for tick in replay.outcome.ticks}

    repeated = live & set(raw.ticks)

    assert len(repeated) == 4  # the old page's last ones
    assert replay.market.counters["history ticks"] == len(raw.ticks) - 4


def test_the_minute_under_way_at_the_end_is_not_claimed_whole(replay: Replay) -> None:
    last_ms = replay.outcome.ticks[-1].ts_ms

    assert all(not c.flags & CandleFlags.BLIND for c in replay.outcome.sealed[OPEN_ASSET])
    assert bucket_start(last_ms, MINUTE) not in {c.ts_ms for c in replay.outcome.sealed[OPEN_ASSET]}


def test_no_secret_comes_out_of_the_recording(replay: Replay, events: list[tuple[str, MarketEvent]]) -> None:
    told = [
        msgspec.json.encode(replay.market.view(replay.at)),
        *replay.told,
        *(repr(event).encode() for _, event in events),
        repr(replay.market.names.assets).encode(),
    ]

    assert [SECRETS.search(text) for text in told] == [None] * len(told)


def test_the_same_recording_gives_the_same_candles(replay: Replay) -> None:
    again = Replay(Focus(FocusMode.LOCK, (OPEN_ASSET,)))
    again.pass_ms(30_000)

    assert again.outcome == replay.outcome


def typed_variants(symbol: str, name: str) -> set[str]:
    otc = symbol.lower().endswith("_otc")
    bare = symbol[:-4] if otc else symbol
    variants = {symbol, symbol.upper(), symbol.lower(), name, name.lower(), name.upper()}
    if otc:
        variants |= {bare + "_OTC", bare + "OTC", bare.lower() + " otc", bare + " OTC", bare.lower() + "-otc"}
    if re.fullmatch(r"[A-Z]{6}", bare):
        variants.add(f"{bare[:3]}/{bare[3:]}" + (" OTC" if otc else ""))
    return variants


def test_all_recorded_symbols_are_found_by_what_people_type(events: list[tuple[str, MarketEvent]]) -> None:
    text = captures("page", "symbols.txt").read_text(encoding="utf-8")
    rows = list(csv.reader(text.splitlines(), delimiter="\t"))
    assert len(rows) == 183
    table = next(event for _, event in events if isinstance(event, Assets))
    assert {(asset.symbol, asset.name) for asset in table.assets} == {(symbol, name) for symbol, name, _ in rows}
    replay = Replay(Focus())

    wrong = {
        (typed, symbol, replay.market.names.resolve(typed))
        for symbol, name, _ in rows
        for typed in typed_variants(symbol, name)
        if replay.market.names.resolve(typed) != symbol
    }

    assert wrong == set()


def test_the_asset_table_tells_otc_payout_and_activity(events: list[tuple[str, MarketEvent]]) -> None:
    table = msgspec.json.decode(captures("page", "assets_20250903.json").read_bytes())
    told = next(event for _, event in events if isinstance(event, Assets))

    assert [
        Asset(row["symbol"], row["name"], row["kind"], row["payout"], bool(row["is_otc"]), row["active"])
        for row in table
    ] == list(told.assets)


def test_every_recorded_symbol_is_sound(events: list[tuple[str, MarketEvent]]) -> None:
    favourites = next(event for _, event in events if isinstance(event, Favourites))
    table = next(event for _, event in events if isinstance(event, Assets))

    assert len(table.assets) == 183
    assert len(favourites.symbols) == 15
