"""Equal rows, equal digests; any other row, another digest."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxcap.bridge.server.sequencer import Sequencer
from fluxcap.bridge.store.digest import StoreDigest, store_digest
from fluxcap.bridge.store.store import Store
from fluxcap.schemas.types import Candle, Gap, StreamKey

pytestmark = pytest.mark.costly

KEY, OTHER = StreamKey("S", "A", "1m"), StreamKey("S", "B", "1m")


def candle(minute: int, close: float = 1.5, flags: int = 0) -> Candle:
    return Candle(minute * 60_000, 1.0, 2.0, 0.5, close, 3.0, 3, flags)


def digest(
    folder: Path,
    batches: list[tuple[StreamKey, list[Candle]]],
    gaps: list[Gap] | None = None,
    revised: list[tuple[int, Candle]] | None = None,
) -> StoreDigest:
    with Store.open(folder / "store.duckdb") as store:
        sequencer = Sequencer({})
        for key, candles in batches:
            batch = sequencer.number(key, candles)
            store.commit([batch])
            sequencer.confirm(batch)
        for sequence, better in revised or []:
            revision = sequencer.revise(KEY, [sequence], [better])
            store.commit(revisions=[revision])
            sequencer.confirm_revision(revision)
        store.commit(gaps=gaps or [])
        return store_digest(store.reader())


BASE = [(KEY, [candle(1), candle(2)]), (OTHER, [candle(1)])]
GAP = Gap("S", "A", 5, 6, "x")


@pytest.fixture
def base(tmp_path: Path) -> StoreDigest:
    return digest(tmp_path / "base", BASE, [GAP])


def test_the_order_of_commits_and_their_size_do_not_matter(tmp_path: Path, base: StoreDigest) -> None:
    other = digest(tmp_path, [(OTHER, [candle(1)]), (KEY, [candle(1)]), (KEY, [candle(2)])], [GAP])

    assert other == base


@pytest.mark.parametrize(
    "batches",
    [
        [(KEY, [candle(1), candle(2, close=1.25)]), (OTHER, [candle(1)])],
        [(KEY, [candle(1), candle(2, flags=4)]), (OTHER, [candle(1)])],
        [(KEY, [candle(1), candle(3)]), (OTHER, [candle(1)])],
        [(KEY, [candle(1)]), (OTHER, [candle(1)])],
        [(KEY, [candle(1), candle(2)])],
    ],
)
def test_any_other_candle_gives_another_digest(
    tmp_path: Path, base: StoreDigest, batches: list[tuple[StreamKey, list[Candle]]]
) -> None:
    assert digest(tmp_path, batches, [GAP]).digest != base.digest


def test_gaps_and_revisions_count(tmp_path: Path, base: StoreDigest) -> None:
    assert digest(tmp_path / "1", BASE).digest != base.digest
    assert digest(tmp_path / "2", BASE, [Gap("S", "A", 5, 7, "x")]).digest != base.digest
    revised = digest(tmp_path / "3", BASE, [GAP], [(2, candle(2))])
    assert revised.streams[0].revisions == 1
    assert revised.digest != base.digest


def test_it_says_what_each_stream_holds(base: StoreDigest) -> None:
    first = base.streams[0]

    assert (first.key, first.candles, first.revisions) == (KEY, 2, 0)
    assert (first.first_ts_ms, first.last_ts_ms) == (60_000, 120_000)
    assert base.gaps == 1
