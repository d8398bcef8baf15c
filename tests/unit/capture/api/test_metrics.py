"""capture/api/metrics.py: what Prometheus reads, under its conventions."""

from __future__ import annotations

import re

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from fluxcap.bridge.store.agreement import Agreement, AgreementSummary
from fluxcap.capture.api.metrics import Metrics, MetricsSnapshot
from fluxcap.capture.csvfiles.writer import CsvStatus
from fluxcap.capture.market.focus import FocusMode
from fluxcap.capture.market.market import AssetSnapshot, MarketSnapshot
from fluxcap.capture.pipeline.listeners import ChromeState, PublishedUpdate
from fluxcap.capture.pipeline.pipeline import PipelineView
from fluxcap.schemas.errors import NotAnswering
from fluxcap.schemas.types import FeedState, Gap, StreamKey, StreamStatus

NOW_MS = 1_795_305_266_500
KEY = StreamKey("SIM", "EURUSD_otc", "1m")
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

MARKET = MarketSnapshot(
    clock="settled",
    clock_reason="",
    platform_offset_ms=7_200_000,
    focus_mode=FocusMode.LOCK,
    focus_symbols=("EURUSD_otc",),
    focus_unknown=(),
    active_symbol=None,
    active_period_ms=0,
    favourites=(),
    asset_count=2,
    assets=(
        AssetSnapshot("EURUSD_otc", True, FeedState.LIVE, NOW_MS - 1_500, 1.1, 42, ""),
        AssetSnapshot('odd"\\\nname', False, FeedState.LIVE, 0, 0.0, 0, ""),
    ),
    counters={"late.EURUSD_otc": 2, "late.X": 1, "malformed.json": 5, "duplicate": 4, "dropped_incomplete.X": 1},
    now_ms=NOW_MS,
)
PIPELINE = PipelineView(
    chrome=ChromeState.ATTACHED,
    chrome_reason="",
    browser="Chrome/156",
    session=None,
    market=MARKET,
    streams=(StreamStatus(KEY, latest_sequence=17, latest_revision=3, feed_state=FeedState.LIVE),),
    queue_depth=9,
    messages=1_000,
    commits=17,
    store_error="",
)
COLLECT = CsvStatus("both", 1_000, 100, "f", ticks=42, candles=17, files=2, waiting=6, lost=1)


def metrics(snapshot: MetricsSnapshot | None = None) -> Metrics:
    made = Metrics("1.2.3", process=False)
    given = snapshot or MetricsSnapshot(PIPELINE, COLLECT, {"sent_candles": 17, "answers": 4}, NOW_MS)
    made.register_source(lambda: given)
    return made


def scrape(made: Metrics) -> Samples:
    text = generate_latest(made.registry).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("fluxcap_build_info", {"version": "1.2.3"}, 1),
        ("fluxcap_pipeline_up", {}, 1),
        ("fluxcap_chrome_attached", {}, 1),
        ("fluxcap_queue_depth", {}, 9),
        ("fluxcap_messages_total", {}, 1_000),
        ("fluxcap_commits_total", {}, 17),
        ("fluxcap_store_trouble", {}, 0),
        ("fluxcap_ticks_total", {"asset": "EURUSD_otc"}, 42),
        ("fluxcap_tick_age_seconds", {"asset": "EURUSD_otc"}, 1.5),
        ("fluxcap_late_ticks_total", {}, 3),
        ("fluxcap_duplicate_ticks_total", {}, 4),
        ("fluxcap_decode_errors_total", {"kind": "json"}, 5),
        ("fluxcap_candles_dropped_total", {}, 1),
        ("fluxcap_platform_offset_seconds", {}, 7_200),
        ("fluxcap_candles_total", {"stream": "SIM.EURUSD_otc.1m"}, 17),
        ("fluxcap_revisions_total", {"stream": "SIM.EURUSD_otc.1m"}, 3),
        ("fluxcap_feed_state", {"stream": "SIM.EURUSD_otc.1m", "state": "live"}, 1),
        ("fluxcap_feed_state", {"stream": "SIM.EURUSD_otc.1m", "state": "stalled"}, 0),
        ("fluxcap_csv_lines_total", {"kind": "tick"}, 42),
        ("fluxcap_csv_lines_waiting", {}, 6),
        ("fluxcap_csv_lines_lost_total", {}, 1),
        ("fluxcap_wire_total", {"kind": "answers"}, 4),
    ],
)
def test_each_figure_is_told_under_its_name(name: str, labels: dict[str, str], expected: float) -> None:
    assert value(scrape(metrics()), name, **labels) == expected


def test_names_follow_the_conventions() -> None:
    text = generate_latest(metrics().registry).decode()

    for family in text_string_to_metric_families(text):
        if family.name.endswith("_created"):
            continue
        assert re.fullmatch(r"fluxcap_[a-z0-9_]+", family.name), family.name
        assert family.documentation
        assert family.type in {"counter", "gauge", "histogram"}
        for sample in family.samples:
            if family.type == "counter":
                assert sample.name.endswith("_total"), sample.name


def test_the_agreement_with_the_platform_is_told_by_stream() -> None:
    agreement = AgreementSummary({StreamKey("TEST", "EURUSD_otc", "1m"): Agreement(40, 38)})
    told = scrape(metrics(MetricsSnapshot(PIPELINE, COLLECT, {}, NOW_MS, None, agreement)))

    assert value(told, "fluxcap_compared_candles_total", stream="TEST.EURUSD_otc.1m") == 40
    assert value(told, "fluxcap_differing_candles_total", stream="TEST.EURUSD_otc.1m") == 2


def test_an_asset_that_never_ticked_has_no_age() -> None:
    ages = [labels for name, labels in scrape(metrics()) if name == "fluxcap_tick_age_seconds"]

    assert ages == [frozenset({("asset", "EURUSD_otc")})]


def test_names_of_assets_are_escaped() -> None:
    assert value(scrape(metrics()), "fluxcap_ticks_total", asset='odd"\\\nname') == 0


def test_an_unknown_offset_is_not_told_as_zero() -> None:
    import msgspec

    market = msgspec.structs.replace(MARKET, platform_offset_ms=None)
    pipeline = msgspec.structs.replace(PIPELINE, market=market)

    names = {name for name, _ in scrape(metrics(MetricsSnapshot(pipeline, COLLECT, {}, NOW_MS)))}

    assert "fluxcap_platform_offset_seconds" not in names


def test_latencies_are_histograms_in_seconds() -> None:
    made = metrics()

    made.observe("commit", 0.003)
    made.observe("commit", 0.3)
    made.observe("publish", 0.000_07)

    samples = scrape(made)
    assert value(samples, "fluxcap_commit_seconds_count") == 2
    assert value(samples, "fluxcap_commit_seconds_bucket", le="0.004") == 1
    assert value(samples, "fluxcap_commit_seconds_bucket", le="+Inf") == 2
    assert value(samples, "fluxcap_publish_seconds_bucket", le="0.0001") == 1


def gaps(*found: Gap) -> PublishedUpdate:
    return PublishedUpdate((), (), found, ())


def test_a_gap_counts_once_when_it_begins() -> None:
    made = metrics()

    made.published(gaps(Gap("SIM", "A", 1_000, 0, "tab closed"), Gap("SIM", "B", 1_000, 0, "tab closed")))
    made.published(gaps(Gap("SIM", "A", 1_000, 0, "tab closed")))
    made.published(gaps(Gap("SIM", "A", 1_000, 5_000, "tab closed")))
    made.published(gaps(Gap("SIM", "A", 9_000, 0, "tab closed")))

    assert value(scrape(made), "fluxcap_gaps_total", reason="tab closed") == 3


def test_a_gap_of_the_past_counts_when_it_becomes_known_and_one_of_no_length_never() -> None:
    made = metrics()

    made.published(gaps(Gap("SIM", "A", 1_000, 5_000, "fluxcap was not running")))
    made.published(gaps(Gap("SIM", "A", 7_000, 7_000, "socket silent")))

    samples = scrape(made)
    assert value(samples, "fluxcap_gaps_total", reason="fluxcap was not running") == 1
    assert ("fluxcap_gaps_total", frozenset({("reason", "socket silent")})) not in samples


def test_a_pipeline_that_does_not_answer_is_told_and_is_no_error() -> None:
    made = Metrics("1.2.3", process=False)

    def silent() -> MetricsSnapshot:
        raise NotAnswering("too busy")

    made.register_source(silent)

    samples = scrape(made)
    assert value(samples, "fluxcap_pipeline_up") == 0
    assert not [name for name, _ in samples if name.startswith("fluxcap_ticks")]


def test_figures_of_the_process_are_there() -> None:
    assert "process_cpu_seconds_total" in generate_latest(Metrics("1").registry).decode()
