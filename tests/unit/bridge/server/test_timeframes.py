"""Candles of longer intervals: what is folded when, how it is flagged, and what is committed with what."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxcap.bridge.server.server import DERIVED_FORMING_NS, WireServer
from fluxcap.bridge.server.timeframes import Timeframes, begin_bucket, check_timeframes, fold_buckets, longer_intervals
from fluxcap.bridge.store.store import Store
from fluxcap.schemas.codec import decode
from fluxcap.schemas.errors import ConfigError, StoreError, StoreFull
from fluxcap.schemas.types import Candle, CandleBatch, CandleFlags, Gap, StreamKey, candles_from
from tests.support.examples import examples
from tests.support.patience import await_that
from tests.support.wire.samples import ANY_PORT, EURUSD, GBPUSD, MINUTE, candle, subscribed

FIVE, HOUR = (StreamKey(EURUSD.source_id, EURUSD.symbol, interval) for interval in ("5m", "1h"))
DERIVED = Timeframes(EURUSD.source_id, EURUSD.interval, ("5m", "1h"))
BLIND, FILLED, REVISED, JOINED_LATE = (
    CandleFlags.BLIND,
    CandleFlags.FILLED,
    CandleFlags.REVISED,
    CandleFlags.JOINED_LATE,
)
NOW = 100_000 * MINUTE


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WireServer]:
    with WireServer(tmp_path / "s.duckdb", ANY_PORT, ANY_PORT, clock_ms=lambda: NOW, timeframes=DERIVED) as server:
        yield server


def standing(server: WireServer, key: StreamKey) -> dict[int, Candle]:
    """By minute of their start."""
    return {c.ts_ms // MINUTE: c for c in candles_from(server.store.reader().between(key, 0, 2**62))}


def flags(server: WireServer, key: StreamKey = FIVE) -> dict[int, int]:
    return {minute: one.flags for minute, one in standing(server, key).items()}


def gap(from_minute: float, to_minute: float) -> Gap:
    return Gap(EURUSD.source_id, EURUSD.symbol, int(from_minute * MINUTE), int(to_minute * MINUTE), "tab closed")


def test_a_bucket_is_folded_from_its_minutes_when_the_last_of_them_is_sealed(server: WireServer) -> None:
    server.publish({EURUSD: [candle(60 + n, close) for n, close in enumerate((1.2, 1.4, 1.1, 1.3))]})
    assert standing(server, FIVE) == {}

    server.publish({EURUSD: [candle(64, 1.25)]})

    minutes = [*standing(server, EURUSD).values()]
    assert standing(server, FIVE)[60] == Candle(
        60 * MINUTE,
        minutes[0].open,
        max(one.high for one in minutes),
        min(one.low for one in minutes),
        1.25,
        sum(one.volume for one in minutes),
        sum(one.tick_count for one in minutes),
        0,
    )


def test_a_bucket_whose_last_minutes_have_no_candle_is_sealed_once_they_are_over(server: WireServer) -> None:
    server.publish({EURUSD: [candle(60), candle(61)]})

    server.publish({}, over={EURUSD: 64 * MINUTE})
    assert standing(server, FIVE) == {}
    server.publish({}, over={EURUSD: 65 * MINUTE})

    assert flags(server) == {60: 0}


def test_a_bucket_without_a_minute_is_no_candle(server: WireServer) -> None:
    server.publish({EURUSD: [candle(60)]})
    server.publish({EURUSD: [candle(75)]}, over={EURUSD: 80 * MINUTE})

    assert list(standing(server, FIVE)) == [60, 75]


def test_a_bucket_that_began_before_its_stream_is_not_published(server: WireServer) -> None:
    server.publish({EURUSD: [candle(minute) for minute in range(62, 70)]})

    assert list(standing(server, FIVE)) == [65]


@pytest.mark.costly
def test_what_comes_to_be_known_of_the_bucket_the_stream_began_in_is_a_revision(server: WireServer) -> None:
    server.publish({EURUSD: [candle(minute) for minute in range(62, 70)]})

    server.revise({EURUSD: [candle(60, flags=FILLED), candle(61, flags=FILLED)]})

    assert flags(server) == {60: FILLED, 65: 0}
    assert server.store.reader().revisions(FIVE).sequences.tolist() == [0]


def test_one_minute_that_was_not_seen_whole_makes_it_blind(server: WireServer) -> None:
    server.publish({EURUSD: [candle(60), candle(61, flags=BLIND), candle(62, flags=FILLED), candle(65)]})

    assert flags(server) == {60: BLIND}


def test_minutes_that_history_made_whole_make_it_filled(server: WireServer) -> None:
    server.publish({EURUSD: [candle(60), candle(61, flags=BLIND | FILLED), candle(62, flags=FILLED), candle(65)]})

    assert flags(server) == {60: FILLED}


def test_it_is_joined_late_as_its_first_minute_is(server: WireServer) -> None:
    server.publish({EURUSD: [candle(60, flags=JOINED_LATE | FILLED), candle(61), candle(65)]})

    assert flags(server) == {60: JOINED_LATE | FILLED}


def test_a_number_of_ticks_that_is_not_known_of_one_minute_is_not_known(server: WireServer) -> None:
    unknown = Candle(61 * MINUTE, 1.0, 1.0, 1.0, 1.0, 4.0, 0, int(FILLED))
    server.publish({EURUSD: [candle(60), unknown, candle(65)]})

    assert standing(server, FIVE)[60].tick_count == 0


def test_a_minute_that_lacks_within_a_gap_makes_it_blind_and_one_without_a_trade_does_not(server: WireServer) -> None:
    server.record_gaps([gap(61.5, 62.5)])
    server.publish({EURUSD: [candle(60), candle(61, flags=FILLED), candle(63), candle(65), candle(67), candle(70)]})

    assert flags(server) == {60: BLIND, 65: 0}


def test_a_gap_that_history_covers_does_not_make_it_blind(server: WireServer) -> None:
    server.derived.is_covered = lambda symbol, from_ms, to_ms: from_ms == 62 * MINUTE
    server.record_gaps([gap(61.5, 63)])
    server.publish({EURUSD: [candle(60), candle(61, flags=FILLED), candle(63), candle(64), candle(65)]})

    assert flags(server) == {60: FILLED}


@pytest.mark.costly
def test_a_gap_that_is_told_later_revises_it_once_and_so_does_its_withdrawal(server: WireServer) -> None:
    server.publish({EURUSD: [candle(60), candle(61), candle(65)]})
    opened = gap(62.5, 0)

    server.record_gaps([opened])
    assert flags(server) == {60: BLIND | REVISED}
    server.record_gaps([gap(62.5, 64)])
    assert server.watermark(FIVE).latest_revision == 1
    server.record_gaps([gap(62.5, 62.5)])

    assert flags(server) == {60: REVISED}
    assert server.watermark(FIVE).latest_revision == 2


@pytest.mark.costly
def test_a_revised_minute_revises_it_in_the_same_commit(server: WireServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.publish({EURUSD: [candle(60), candle(61), candle(65)]})
    commits = []
    commit = Store.commit

    def counted(self: Store, batches: object = (), revisions: object = (), gaps: object = ()) -> object:
        commits.append([revision.key for revision in revisions])  # type: ignore[attr-defined]
        return commit(self, batches, revisions, gaps)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "commit", counted)
    server.revise({EURUSD: [candle(61, 1.9)]})

    assert standing(server, FIVE)[60].close == standing(server, EURUSD)[61].close == 1.9
    assert [EURUSD, FIVE] in commits


def test_what_cannot_be_a_candle_is_none_and_keeps_no_other_back(server: WireServer) -> None:
    most = msgspec.structs.replace(candle(0), volume=1.7e308)
    too_much = [msgspec.structs.replace(most, ts_ms=minute * MINUTE) for minute in range(60, 65)]

    server.publish({EURUSD: too_much, GBPUSD: [candle(minute) for minute in range(60, 65)]})
    server.publish({EURUSD: [candle(minute) for minute in range(65, 70)]})
    revised = server.revise({EURUSD: [msgspec.structs.replace(one, close=one.open) for one in too_much]})

    assert [*standing(server, FIVE)] == [65]
    assert [*standing(server, msgspec.structs.replace(FIVE, symbol=GBPUSD.symbol))] == [60]
    assert [*standing(server, EURUSD)] == [*range(60, 70)]
    assert [len(revision.candles) for revision in revised] == [5]


def test_a_minute_that_comes_after_its_bucket_was_sealed_revises_it(server: WireServer) -> None:
    server.publish({EURUSD: [candle(60), candle(61)]}, over={EURUSD: 65 * MINUTE})

    server.publish({EURUSD: [candle(64, 1.7)]})

    assert standing(server, FIVE)[60].close == 1.7
    assert server.watermark(FIVE).latest_sequence == 1


def test_nothing_is_there_of_a_commit_that_failed_and_all_when_it_is_tried_again(
    server: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.publish({EURUSD: [candle(60), candle(61)]})

    def full(*_: object) -> None:
        raise StoreFull("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "commit", full)
        with pytest.raises(StoreError):
            server.publish({EURUSD: [candle(65)]})
    assert standing(server, FIVE) == {}
    server.publish({EURUSD: [candle(65)]})

    assert standing(server, FIVE)[60].close == standing(server, EURUSD)[61].close


@pytest.mark.costly
def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "r.duckdb"
    for minutes in ([60, 61], [62], [64, 65, 67], [70]):
        with WireServer(path, ANY_PORT, ANY_PORT, clock_ms=lambda: NOW, timeframes=DERIVED) as server:
            server.publish({EURUSD: [candle(minute) for minute in minutes]})

    with WireServer(path, ANY_PORT, ANY_PORT, clock_ms=lambda: NOW, timeframes=DERIVED) as server:
        found = standing(server, FIVE)
    assert {minute: one.volume for minute, one in found.items()} == {
        60: sum(candle(minute).volume for minute in (60, 61, 62, 64)),
        65: sum(candle(minute).volume for minute in (65, 67)),
    }


def test_other_sources_and_intervals_are_left_alone(server: WireServer) -> None:
    others = [StreamKey("OTHER", EURUSD.symbol, "1m"), StreamKey(EURUSD.source_id, EURUSD.symbol, "1s")]

    server.publish({key: [candle(60), candle(70)] for key in others})

    assert set(server.store.watermarks()) == set(others)


def test_a_stream_and_those_derived_from_it_are_known_and_forgotten_together(server: WireServer) -> None:
    server.ensure_stream(GBPUSD)
    derived = {StreamKey(GBPUSD.source_id, GBPUSD.symbol, interval) for interval in ("5m", "1h")}
    assert set(server.status()) == {GBPUSD, *derived}

    server.forget_stream(GBPUSD)

    assert set(server.status()) == set()


def test_what_was_derived_is_told_apart_from_what_was_published(server: WireServer) -> None:
    batches = server.publish({EURUSD: [candle(60), candle(65)]})

    assert [batch.key for batch in batches] == [EURUSD]
    assert [one.key for one in server.take_derived()] == [FIVE]
    assert server.take_derived() == []


def test_retention_leaves_what_is_still_to_be_folded(server: WireServer) -> None:
    hour = NOW // MINUTE // 60 * 60
    server.publish({EURUSD: [candle(hour - 1), candle(hour), candle(hour + 1)]})

    server.prune(NOW)

    assert list(standing(server, EURUSD)) == [hour, hour + 1]


def test_the_candle_under_way_is_that_of_its_minutes_and_goes_out_once_a_second(server: WireServer) -> None:
    server.publish({EURUSD: [candle(60, 1.2), candle(61, 1.4)]})
    with subscribed(server.pub_endpoint) as heard:
        while not heard.poll(10):  # until the subscription has arrived
            server.heartbeat(0)
        for half_seconds, close in enumerate((1.1, 1.2, 1.3), start=2):
            server.forming(EURUSD, candle(62, close), half_seconds * DERIVED_FORMING_NS // 2)
        sent = [next_forming(heard, FIVE) for _ in range(2)]

    assert [(under_way.ts_ms, under_way.close) for under_way in sent] == [(60 * MINUTE, 1.1), (60 * MINUTE, 1.3)]
    assert sent[1].volume == sum(candle(minute).volume for minute in (60, 61, 62))


def test_whoever_subscribes_gets_a_longer_candle_under_way_at_once_though_nothing_has_changed(
    server: WireServer,
) -> None:
    server.publish({EURUSD: [candle(60, 1.2)]})
    sent = []
    for seconds in (1, 2):
        with subscribed(server.pub_endpoint, [FIVE.topic("forming")]) as heard:
            await_that(lambda: server._publisher.is_heard(FIVE, "forming"), "the subscription")
            server.forming(EURUSD, candle(61), seconds * 2 * DERIVED_FORMING_NS)
            sent.append(next_forming(heard, FIVE))
        await_that(lambda: not server._publisher.is_heard(FIVE, "forming"), "its end")
        server.forming(EURUSD, candle(61), (seconds * 2 + 1) * DERIVED_FORMING_NS)

    assert sent[0] == sent[1]


def test_a_longer_candle_under_way_holds_the_minute_not_sealed_yet_though_nobody_heard_it(server: WireServer) -> None:
    server.publish({EURUSD: [candle(60, 1.2)]})
    server.forming(EURUSD, candle(61, 1.9), DERIVED_FORMING_NS)

    under_way = dict(server.derived.forming(EURUSD, candle(62, 1.1)))

    assert (under_way[FIVE].high, under_way[FIVE].volume) == (2.0, sum(candle(n).volume for n in (60, 61, 62)))


def next_forming(heard: zmq.Socket[bytes], key: StreamKey) -> Candle:
    """The next candle under way of that stream, whatever else is heard before."""
    while True:
        topic, payload = heard.recv_multipart()
        if topic == key.topic("forming"):
            message = decode(payload).message
            assert isinstance(message, CandleBatch)
            [under_way] = candles_from(message.candles)
            return under_way


def test_the_candle_under_way_holds_every_minute_of_its_bucket_whenever_it_is_asked_for(server: WireServer) -> None:
    asked_after = {61, 63, 64, 67, 75, 121, 124}
    volumes = {}
    for minute in range(60, 125):
        server.publish({EURUSD: [candle(minute)]})
        if minute in asked_after:
            under_way = dict(server.derived.forming(EURUSD, candle(minute + 1)))
            volumes[minute] = under_way[FIVE].volume, under_way[HOUR].volume

    def volume(begin: int, minute: int) -> float:
        return sum(candle(one).volume for one in range(begin, minute + 2))

    assert volumes == {
        minute: (volume((minute + 1) // 5 * 5, minute), volume((minute + 1) // 60 * 60, minute))
        for minute in sorted(asked_after)
    }
    assert [one.volume for one in standing(server, FIVE).values()] == [volume(n, n + 3) for n in range(60, 125, 5)]


def test_the_candle_under_way_of_a_bucket_that_began_before_the_stream_says_so(server: WireServer) -> None:
    forming = dict(server.derived.forming(EURUSD, candle(62)))

    assert forming[FIVE].flags == JOINED_LATE


def under_way(server: WireServer, minute: int) -> int:
    """Flags of the five-minute candle under way while that minute is."""
    return dict(server.derived.forming(EURUSD, candle(minute)))[FIVE].flags


def test_the_candle_under_way_is_blind_where_a_minute_of_it_lacks_within_a_gap(server: WireServer) -> None:
    server.publish({EURUSD: [candle(60)]}, gaps=[gap(61.5, 62.5)], over={EURUSD: 63 * MINUTE})

    assert under_way(server, 63) == BLIND
    assert under_way(server, 66) == 0


def test_the_candle_under_way_is_not_blind_where_there_was_no_trade_and_for_minutes_to_come(server: WireServer) -> None:
    server.publish({EURUSD: [candle(60)]}, gaps=[gap(50, 55), gap(63, 64)], over={EURUSD: 63 * MINUTE})

    assert under_way(server, 63) == 0


@pytest.mark.costly
def test_the_candle_under_way_says_what_later_gaps_and_histories_say(server: WireServer) -> None:
    server.publish({EURUSD: [candle(60)]}, over={EURUSD: 63 * MINUTE})
    flags = [under_way(server, 63)]

    server.record_gaps([gap(61, 62)])
    flags.append(under_way(server, 63))
    server.record_gaps([gap(61, 61)])
    flags.append(under_way(server, 63))
    server.record_gaps([gap(61, 62)])
    server.derived.is_covered = lambda symbol, from_ms, to_ms: True
    flags.append(under_way(server, 63))
    server.derived.is_covered = lambda symbol, from_ms, to_ms: False
    server.publish({EURUSD: [candle(63)]})
    flags.append(under_way(server, 64))

    assert flags == [0, BLIND, 0, 0, BLIND]


def test_a_candle_under_way_that_begins_within_a_gap_is_blind_at_once(server: WireServer) -> None:
    server.publish({EURUSD: [candle(59)]}, gaps=[gap(60, 62)], over={EURUSD: 62 * MINUTE})

    assert under_way(server, 62) == BLIND


def test_gaps_are_asked_for_once_a_commit_and_not_at_all_where_no_minute_lacks(
    server: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, asked = server.derived._stored, []
    monkeypatch.setattr(stored, "gaps", lambda source_id, from_ms: asked.append(from_ms) or [], raising=False)
    server.publish({EURUSD: [candle(60), candle(61)]})

    under_way(server, 62)
    whole = len(asked)
    server.publish({EURUSD: [candle(63)]})
    for _ in range(3):
        under_way(server, 64)

    assert (whole, len(asked)) == (0, 1)


def test_one_question_for_gaps_is_for_all_assets_and_timeframes(
    server: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.publish({key: [candle(120), candle(127)] for key in (EURUSD, GBPUSD)}, gaps=[gap(121, 122)])
    stored, asked = server.derived._stored, []
    gaps = stored.gaps
    monkeypatch.setattr(stored, "gaps", lambda source_id, from_ms: asked.append(from_ms) or gaps(source_id, from_ms))

    found = {
        key.symbol: [under_way.flags for _, under_way in server.derived.forming(key, candle(128))]
        for key in (EURUSD, GBPUSD)
    }

    assert found == {EURUSD.symbol: [0, BLIND], GBPUSD.symbol: [0, 0]}
    assert asked == [120 * MINUTE]


def test_buckets_are_counted_in_utc() -> None:
    midnight = 20_000 * 1_440
    found = fold_buckets([candle(midnight - 1), candle(midnight)], 1_440 * MINUTE, MINUTE)

    assert [start_ms // MINUTE for start_ms in found] == [midnight - 1_440, midnight]


def test_timeframes_that_fit_come_shortest_first_and_each_once() -> None:
    assert longer_intervals("1m", ["1h", "5m", "60m", "90s", "1m"]) == ("5m", "60m")


@pytest.mark.parametrize("given", [["90s"], ["1m"], ["30s"], ["1h", "60m"]])
def test_timeframes_that_cannot_be_made_are_refused(given: list[str]) -> None:
    with pytest.raises(ConfigError):
        check_timeframes("1m", given)


@settings(max_examples=examples(100), deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0.5, 2), st.floats(0, 1e9), st.integers(0, 3), st.sampled_from([0, 0, 1, 2, 4, 6])),
        min_size=2,
        max_size=15,
    ),
    st.data(),
)
def test_what_is_folded_in_parts_is_the_same_to_the_last_bit(
    minutes: list[tuple[float, float, int, int]], data: st.DataObject
) -> None:
    candles = [
        Candle(number * MINUTE, price, price + 0.1, price - 0.1, price, volume, ticks, flags)
        for number, (price, volume, ticks, flags) in enumerate(minutes, start=1_005)
    ]
    cut = data.draw(st.integers(1, len(candles) - 1))
    start_ms, before, later = 1_000 * MINUTE, candles[:cut], candles[cut:]

    in_parts = begin_bucket(before, start_ms, MINUTE).joined(
        begin_bucket(later, later[0].ts_ms, MINUTE), [one.volume for one in later], MINUTE
    )

    assert in_parts == begin_bucket(candles, start_ms, MINUTE)
