"""Metrics for Prometheus, served as ``/metrics`` on the control port. All names begin with ``fluxcap_``.

Nearly all values are read from a snapshot of the pipeline at each scrape, so that handling a tick costs nothing more.
Only durations of commits and publishing, and gaps, are counted as they happen.

Times are in seconds. Counters begin at 0 with the process, except ``fluxcap_candles_total`` and
``fluxcap_revisions_total``, which are the sequences themselves, and those of the agreement with the platform, which the
store keeps: these survive restarts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fluxcap.bridge.jetstream.forward.status import ForwardState, ForwardStatus
from fluxcap.bridge.store.agreement import AgreementSummary
from fluxcap.capture.alerts.rules import AlertKind
from fluxcap.capture.alerts.watch import AlertsStatus
from fluxcap.capture.csvfiles.writer import CsvStatus
from fluxcap.capture.market.market import MarketSnapshot
from fluxcap.capture.pipeline.listeners import Listener, PublishedUpdate
from fluxcap.capture.pipeline.pipeline import PipelineView
from fluxcap.schemas.errors import NotAnswering
from fluxcap.schemas.types import FeedState, Gap, StreamStatus

COMMIT_BUCKETS_S = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1.0, 2.5)
"""A durable commit takes 2-4 ms on a good disk; a checkpoint behind it 10-40 ms."""
PUBLISH_BUCKETS_S = (0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25)


class MetricsSnapshot(msgspec.Struct, frozen=True):
    """The values behind the metrics, at one instant.

    ``wire``: the wire server's counters by name. ``forward``, ``alerts``: None where not used.
    """

    pipeline: PipelineView
    collect: CsvStatus
    wire: Mapping[str, int]
    now_ms: int
    forward: ForwardStatus | None = None
    agreement: AgreementSummary = AgreementSummary()
    alerts: AlertsStatus | None = None


class Metrics(Listener):
    """The registry, and the counters that are not in snapshots. A listener of the pipeline.

    ``version``: for ``fluxcap_build_info``. ``process``: with the figures of this process (CPU, memory, open files).
    """

    def __init__(self, version: str, *, process: bool = True) -> None:
        self.registry = CollectorRegistry()
        self._steps = {
            "commit": Histogram(
                "fluxcap_commit_seconds",
                "Seconds to commit sealed candles durably to the store.",
                buckets=COMMIT_BUCKETS_S,
                registry=self.registry,
            ),
            "publish": Histogram(
                "fluxcap_publish_seconds",
                "Seconds from the commit until the batches were handed to the wire.",
                buckets=PUBLISH_BUCKETS_S,
                registry=self.registry,
            ),
        }
        self._gaps = Counter(
            "fluxcap_gaps", "Gaps in the data that began, by reason.", labelnames=("reason",), registry=self.registry
        )
        self._open_gaps: set[tuple[str, str, int]] = set()
        self._version = version
        if process:
            ProcessCollector(registry=self.registry)

    def register_source(self, snapshot: Callable[[], MetricsSnapshot]) -> None:
        """Set the function that takes snapshots; it raises NotAnswering when there is none. Call once."""
        self.registry.register(_SnapshotCollector(snapshot, self._version))

    def observe(self, step: str, seconds: float) -> None:
        """Count one ``commit`` or ``publish`` and its duration."""
        self._steps[step].observe(seconds)

    def published(self, update: PublishedUpdate) -> None:
        """Count each gap once, when it begins; one of the past when it becomes known. Called as a listener."""
        for gap in update.gaps:
            self._count(gap)

    def _count(self, gap: Gap) -> None:
        name = (gap.source_id, gap.symbol, gap.from_ms)
        if gap.to_ms == 0:
            if name not in self._open_gaps:
                self._open_gaps.add(name)
                self._gaps.labels(gap.reason).inc()
        elif name in self._open_gaps:
            self._open_gaps.discard(name)
        elif gap.to_ms > gap.from_ms:
            self._gaps.labels(gap.reason).inc()


class _SnapshotCollector(Collector):
    """Makes metrics of a snapshot taken for each scrape."""

    def __init__(self, snapshot: Callable[[], MetricsSnapshot], version: str) -> None:
        self._snapshot = snapshot
        self._version = version

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        yield _gauge("build_info", "Always 1; the label is the running version.", {(self._version,): 1}, "version")
        try:
            snapshot = self._snapshot()
        except NotAnswering:
            yield _gauge("pipeline_up", "1 if the pipeline answers, else 0.", {(): 0})
            return
        yield _gauge("pipeline_up", "1 if the pipeline answers, else 0.", {(): 1})
        yield from _pipeline(snapshot.pipeline)
        yield from _market(snapshot.pipeline.market, snapshot.now_ms)
        yield from _streams(snapshot.pipeline.streams, snapshot.pipeline.derived)
        yield from _agreement(snapshot.agreement)
        yield from _collecting(snapshot.collect)
        if snapshot.forward is not None:
            yield from _forwarding(snapshot.forward)
        if snapshot.alerts is not None:
            yield from _alerts(snapshot.alerts)
        yield _counter("wire", "Messages sent and requests answered on the wire, by kind.", _by(snapshot.wire), "kind")


def _pipeline(view: PipelineView) -> Iterator[Metric]:
    attached = view.chrome.connected
    yield _gauge("chrome_attached", "1 if connected to Chrome, else 0.", {(): attached})
    yield _gauge("tabs", "Attached tabs of the platform.", {(): len(view.session.tabs) if view.session else 0})
    yield _gauge("sockets", "Open WebSockets of the platform.", {(): len(view.session.sockets) if view.session else 0})
    yield _gauge("queue_depth", "Messages waiting in the pipeline's queue.", {(): view.queue_depth})
    yield _counter("messages", "DevTools messages handled.", {(): view.messages})
    yield _counter("commits", "Commits of sealed candles.", {(): view.commits})
    yield _gauge("store_trouble", "1 if the store cannot be written, else 0.", {(): bool(view.store_error)})


def _market(view: MarketSnapshot, now_ms: int) -> Iterator[Metric]:
    ticks = {(asset.symbol,): asset.ticks for asset in view.assets}
    yield _counter("ticks", "Live ticks accepted, without duplicates.", ticks, "asset")
    ages = {
        (asset.symbol,): max(0, now_ms - asset.last_tick_ts_ms) / 1_000
        for asset in view.assets
        if asset.last_tick_ts_ms
    }
    yield _gauge("tick_age_seconds", "Seconds since an asset's last tick.", ages, "asset")
    late = sum(n for name, n in view.counters.items() if name.startswith("late."))
    yield _counter("late_ticks", "Ticks that arrived after their candle was sealed.", {(): late})
    duplicates = view.counters.get("duplicate", 0)
    yield _counter("duplicate_ticks", "Ticks dropped because they had arrived before.", {(): duplicates})
    kinds = {(kind,): n for kind, n in _below("malformed.", view.counters)}
    yield _counter("decode_errors", "Frames and ticks of the platform that failed to decode, by kind.", kinds, "kind")
    dropped = sum(n for _, n in _below("dropped_incomplete.", view.counters))
    yield _counter("candles_dropped", "Unpublished candles that began before the attach.", {(): dropped})
    yield _gauge("clock_in_question", "1 if the clock is in question, else 0.", {(): view.clock_in_question})
    off_s = view.wall_off_ms / 1_000
    yield _gauge("computer_clock_off_seconds", "Seconds this clock is ahead of the platform's own.", {(): off_s})
    if view.platform_offset_ms is not None:
        offset = view.platform_offset_ms / 1_000
        yield _gauge("platform_offset_seconds", "Seconds the platform's timestamps are ahead of UTC.", {(): offset})


def _streams(streams: Iterable[StreamStatus], derived: Iterable[StreamStatus]) -> Iterator[Metric]:
    streams = tuple(streams)
    every = (*streams, *derived)
    candles = {(str(stream.key),): stream.latest_sequence for stream in every}
    yield _counter("candles", "Candles published: the latest sequence of a stream.", candles, "stream")
    revisions = {(str(stream.key),): stream.latest_revision for stream in every}
    yield _counter("revisions", "Revisions published: the latest revision of a stream.", revisions, "stream")
    states = {
        (str(stream.key), state.name.lower()): stream.feed_state == state for stream in streams for state in FeedState
    }
    yield _gauge("feed_state", "1 for the state of a stream's feed, 0 for the others.", states, "stream", "state")


def _agreement(agreement: AgreementSummary) -> Iterator[Metric]:
    compared = {(str(key),): one.compared for key, one in agreement.streams.items()}
    yield _counter("compared_candles", "Candles compared with the platform's own.", compared, "stream")
    differing = {(str(key),): one.compared - one.equal for key, one in agreement.streams.items()}
    yield _counter("differing_candles", "Candles that differ from the platform's own.", differing, "stream")


def _collecting(view: CsvStatus) -> Iterator[Metric]:
    lines = {("tick",): view.ticks, ("candle",): view.candles}
    yield _counter("csv_lines", "Rows written to CSV files, by kind.", lines, "kind")
    yield _counter("csv_lines_lost", "Rows dropped because they could not be written.", {(): view.lost})
    yield _gauge("csv_lines_waiting", "Rows waiting for the disk.", {(): view.waiting})


def _forwarding(view: ForwardStatus) -> Iterator[Metric]:
    states = {(state.name.lower(),): view.state is state for state in ForwardState}
    yield _gauge("forward_state", "1 for the current state of forwarding to NATS, 0 for the others.", states, "state")
    yield _gauge("forward_behind", "Candles and revisions of the store not in JetStream yet.", {(): view.behind})
    yield _gauge("forward_held_streams", "Streams that cannot be forwarded now.", {(): len(view.blocked_streams)})
    yield _counter(
        "forwarded", "Messages, candles, revisions and errors of forwarding, by kind.", _by(view.counters), "kind"
    )


def _alerts(view: AlertsStatus) -> Iterator[Metric]:
    told = {(kind.value,): view.told.get(kind.value, 0) for kind in AlertKind}
    yield _counter("alerts", "Alerts told, by kind.", told, "kind")
    yield _gauge("alerts_open", "Alerts told whose end was not.", {(): len(view.open)})
    yield _gauge(
        "alerts_waiting", "Messages that wait for an address.", {(): sum(one.waiting for one in view.addresses)}
    )
    yield _counter("alerts_lost", "Messages given up.", {(): sum(one.lost for one in view.addresses)})


def _below(prefix: str, counters: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    for name, count in counters.items():
        if name.startswith(prefix):
            yield name.removeprefix(prefix), count


def _by(counters: Mapping[str, int]) -> dict[tuple[str, ...], float]:
    return {(name,): count for name, count in counters.items()}


def _counter(name: str, text: str, values: Mapping[Any, float], *labels: str) -> CounterMetricFamily:
    family = CounterMetricFamily(f"fluxcap_{name}", text, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family


def _gauge(name: str, text: str, values: Mapping[Any, float], *labels: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"fluxcap_{name}", text, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family
