"""The end of the storm: truth, store and every client's copy must say the same, or tell of each difference.

The judge of ``tests.support.daemon.fault_rig`` holds the store against the truth. A client's copy must be the store
byte for byte, and what its consumer was told must be every sequence once, in order, over all its lives.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fluxcap import fetch_status
from fluxcap.bridge.client.cache import CandleCache
from fluxcap.bridge.export.export import effective_gaps
from fluxcap.bridge.store.store import Store
from fluxcap.bridge.store.verify import verify
from fluxcap.capture.simulator import Fault as SiteFault
from fluxcap.capture.simulator import Truth, read_truth
from fluxcap.schemas.types import Candle, CandleArray, CandleFlags, Gap, candles_from
from tests.soak.storm.rig import NEAR, VIEWED, ClientLives, Lane, StormRig
from tests.soak.storm.site_faults import CLOSED
from tests.support.daemon.fault_rig import EDGE_MS, FOCUS, WITHOUT_HISTORY, Trouble, judge, says, wholly_known
from tests.support.daemon.live_rig import SOURCE, Archive
from tests.support.patience import await_that

OUT_OF_FOCUS = "not in focus"


class StreamVerdict(NamedTuple):
    """One asset of one lane: how many candles there are of each kind."""

    interval: str
    symbol: str
    due: int
    whole: int
    filled: int
    revised: int
    blind: int
    missing: int
    """In a gap that is told."""
    gaps: int
    gap_s: float


class Problem(NamedTuple):
    """An untruth. ``where``: interval, asset or client, as far as they matter; such as ``1s EURUSD_otc``."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class Verdict(NamedTuple):
    """What was compared, and every untruth found."""

    streams: list[StreamVerdict]
    problems: list[Problem]


def judged(rig: StormRig, troubles: Sequence[Trouble], hiccups: Iterable[tuple[float, float]]) -> Verdict:
    """End everything and look. The rig is of no use afterwards."""
    problems: list[Problem] = []
    calm_ms = time.time() * 1_000
    for lane in rig.lanes:
        await_that(lambda lane=lane: _has_calm(lane, calm_ms), "the calm at the end")
    stop_ms = time.time() * 1_000
    for lane in rig.lanes:
        code, _ = lane.daemon.end()
        if code:
            problems.append(Problem(lane.interval, f"the daemon ended with {code}"))
    rig.browser.stop()
    rig.site.stop()
    _let_clients_finish(rig)
    truth = read_truth(rig.site.truth_path)
    causes = [*troubles, *(Trouble(a * 1_000, b * 1_000 + 6_000, ("socket silent",)) for a, b in hiccups)]
    # Whoever closed it: a page that missed a ping in a silence does so half a minute later.
    causes += [Trouble(e["at_ms"], e["at_ms"] + 2_000, CLOSED) for e in truth.of_kind("socket_closed")]
    streams = []
    for lane in rig.lanes:
        for finding in verify(lane.data_dir / "fluxcap.duckdb"):
            problems.append(Problem(lane.interval, f"verify: {finding}"))
        for symbol in (*FOCUS, VIEWED):
            stream, found = _stream(lane, symbol, truth, causes, calm_ms, stop_ms)
            streams += [stream] if stream is not None else []
            problems += [Problem(f"{lane.interval} {symbol}", what) for what in found]
        for client in rig.clients.values():
            problems += [Problem(f"{lane.interval} client {client.name}", what) for what in _copy(lane, client)]
    for client in rig.clients.values():
        restored = {str(lane.key(symbol)): lane.restored for lane in rig.lanes for symbol in FOCUS}
        wrong = telling(client.told.all, client.begins, restored, hears_all=client.name == NEAR)
        problems += [Problem(f"client {client.name}", what) for what in wrong]
    return Verdict(streams, problems)


def _has_calm(lane: Lane, calm_ms: float) -> bool:
    status = lane.status()
    return status is not None and lane.latest_ts_ms(status) >= calm_ms


def _let_clients_finish(rig: StormRig) -> None:
    """Start the daemons again without a browser, until every client has all; then end them all."""
    archives = [(lane, Archive(lane.folder / "archive", lane.daemon, _where(lane))) for lane in rig.lanes]
    try:
        for lane, archive in archives:
            theirs = {str(lane.key(symbol)) for symbol in FOCUS}
            wire_streams = {
                s["stream"]: s["latest_sequence"] for s in archive.status()["streams"] if s["stream"] in theirs
            }
            for client in rig.clients.values():
                await_that(lambda c=client, w=wire_streams: _stands_at(c, w), f"the rest at {client.name}")
            _await_revisions(rig, lane)
        for client in rig.clients.values():
            code, _ = client.process.end()
            assert code == 0, client.process.err[-2000:]
    finally:
        for _lane, archive in archives:
            archive.discard()


class _Endpoints(NamedTuple):
    pub: str
    rep: str


def _where(lane: Lane) -> _Endpoints:
    return _Endpoints(lane.pub, lane.rep)


def _stands_at(client: ClientLives, latest: dict[str, int]) -> bool:
    client.read()
    return all(client.standing.get(stream, [0])[0] == sequence for stream, sequence in latest.items())


def _await_revisions(rig: StormRig, lane: Lane) -> None:
    """Revisions are numbered too."""
    wire = _asking(lane)
    latest = {str(lane.key(symbol)): wire[symbol] for symbol in FOCUS}

    def all_have() -> bool:
        for client in rig.clients.values():
            client.read()
        return all(
            client.standing.get(stream, [0, 0, 0])[2] == revision
            for client in rig.clients.values()
            for stream, revision in latest.items()
        )

    await_that(all_have, "the last revisions at every client")


def _asking(lane: Lane) -> dict[str, int]:
    """The latest revision by symbol."""
    return {symbol: fetch_status(lane.key(symbol), rep=lane.rep).latest_revision for symbol in FOCUS}


def _stream(
    lane: Lane, symbol: str, truth: Truth, causes: Sequence[Trouble], calm_ms: float, stop_ms: float
) -> tuple[StreamVerdict | None, list[str]]:
    """None: nobody looked at the asset for long enough."""
    key = lane.key(symbol)
    with Store.open(lane.data_dir / "fluxcap.duckdb") as store:
        reader = store.reader()
        rows = reader.page(key, 0, None, 1_000_000).candles
        gaps = [gap for gap in effective_gaps(reader.gaps(SOURCE, symbol)) if gap.from_ms < stop_ms - EDGE_MS]
        # Each late tick makes one; it is the last that counts.
        revisions = {c.ts_ms: c for c in candles_from(reader.revisions(key, 0, 1_000_000).candles)}
    candles = list(candles_from(rows))
    problems = []
    if symbol == VIEWED:
        causes = [*causes, Trouble(0, stop_ms, (OUT_OF_FOCUS,))]
        if not candles:
            return None, []
    elif candles[-1].ts_ms < calm_ms:
        problems.append("the calm at the end is missing")
    due = {c.ts_ms: c for c in truth.candles(symbol, lane.interval_ms, candles[0].ts_ms, candles[-1].ts_ms + 1)}
    if symbol in (WITHOUT_HISTORY, VIEWED):
        received = {c.ts_ms: c for c in candles if wholly_known(c)}
        due |= as_far_as_sent(truth, symbol, lane.interval_ms, received)
    problems += judge(due, candles, gaps, causes, lane.interval_ms)
    for revision in revisions.values():
        true = due.get(revision.ts_ms)
        if true and wholly_known(revision) and not says(revision, true):
            problems.append(f"wrong revision: {revision} is not {true}")
    return _counted(lane, symbol, due, candles, gaps), problems


def as_far_as_sent(truth: Truth, symbol: str, interval_ms: int, received: dict[int, Candle]) -> dict[int, Candle]:
    """Candles that lack only ticks which the site let others overtake and then never sent, since their socket was
    closed: without a history nobody can know of them."""
    begun, ended = (
        [event["at_ms"] for event in truth.of_kind(kind) if event["fault"] == SiteFault.LATE_TICKS]
        for kind in ("fault_begun", "fault_ended")
    )
    windows = [(from_ms - EDGE_MS, to_ms) for from_ms, to_ms in zip(begun, ended, strict=True)]
    ticks = truth.ticks(symbol)
    lost = [t for t in ticks if not t.sent and any(a <= t.ts_ms < b for a, b in windows)]
    starts = {t.ts_ms - t.ts_ms % interval_ms for t in lost}
    sent = Truth([t for t in ticks if t not in lost], [])
    found = {c.ts_ms: c for start in starts for c in sent.candles(symbol, interval_ms, start, start + 1)}
    known = found.keys() & received.keys()
    return {start: found[start] for start in known if says(received[start], found[start])}


def _counted(
    lane: Lane, symbol: str, due: dict[int, Candle], candles: Sequence[Candle], gaps: Sequence[Gap]
) -> StreamVerdict:
    kinds: Counter[str] = Counter()
    for candle in candles:
        kinds["blind" if not wholly_known(candle) else "filled" if candle.flags & CandleFlags.FILLED else "whole"] += 1
        kinds["revised"] += bool(candle.flags & CandleFlags.REVISED)
    return StreamVerdict(
        lane.interval,
        symbol,
        len(due),
        kinds["whole"],
        kinds["filled"],
        kinds["revised"],
        kinds["blind"],
        len(due.keys() - {candle.ts_ms for candle in candles}),
        len(gaps),
        sum(max(0, gap.to_ms - gap.from_ms) for gap in gaps) / 1_000,
    )


def _copy(lane: Lane, client: ClientLives) -> Iterator[str]:
    """Where a client's copy is not the store."""
    cache = CandleCache(client.data_dir(lane))
    try:
        for symbol in FOCUS:
            key = lane.key(symbol)
            with Store.open(lane.data_dir / "fluxcap.duckdb") as store:
                rows = store.reader().page(key, 0, None, 1_000_000).candles
            sequences, copied = cache.candles(key)
            if sequences.tolist() != list(range(1, len(rows) + 1)):
                yield f"{symbol}: {len(sequences)} candles, not 1 to {len(rows)}"
            elif copied.tobytes() != rows.tobytes():
                yield from _different(symbol, rows, copied)
    finally:
        cache.close()


def _different(symbol: str, rows: CandleArray, copied: CandleArray) -> Iterator[str]:
    for mine, theirs in zip(candles_from(copied), candles_from(rows), strict=True):
        if mine != theirs:
            yield f"{symbol}: {mine} is not {theirs}"


def telling(
    lines: Sequence[dict[str, Any]],
    begins: Iterable[int],
    restored: Mapping[str, int] | None = None,
    *,
    hears_all: bool = False,
) -> Iterator[str]:
    """What is wrong with what a consumer was told: it must be every sequence, once and in order. ``begins``: numbers
    of the lines with which its lives began. What a killed client had stored and not yet told is not told again: a
    later life may begin further on, never further back.

    ``restored``: by stream, how often a backup was put back. So often, and no more, it may be told that its sequences
    start over; exactly so often with ``hears_all``.
    """
    first_lines = set(begins)
    next_of: dict[str, int] = {}
    in_new_life: set[str] = set()
    started_over: Counter[str] = Counter()
    for number, line in enumerate(lines):
        if number in first_lines:
            in_new_life = set(next_of)
        stream = line["stream"]
        if line["kind"] == "gap":
            yield f"{line}"
        if line["kind"] == "replaced":
            started_over[stream] += 1
            if started_over[stream] > (restored or {}).get(stream, 0):
                yield f"{line}"
            next_of[stream] = 1
        if line["kind"] != "candles":
            continue
        start = line["start"]
        due = next_of.get(stream, 1)
        if start != due and not (stream in in_new_life and start > due):
            yield f"{stream}: told {start} where {due} was due"
        next_of[stream] = start + line["count"]
        in_new_life.discard(stream)
    for stream, count in (restored or {}).items():
        if hears_all and started_over[stream] < count:
            yield f"{stream}: told {started_over[stream]} times that it starts over, not {count}"
