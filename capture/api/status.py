"""The status of the running daemon as one value: for ``fluxcap status``, the REST API and the dashboard."""

from __future__ import annotations

import msgspec

from fluxcap.bridge.jetstream.forward.status import ForwardStatus
from fluxcap.bridge.store.agreement import AgreementSummary
from fluxcap.capture.csvfiles.writer import CsvStatus
from fluxcap.capture.pipeline.pipeline import PipelineView
from fluxcap.schemas.types import Candle, FeedState


class StreamStatusView(msgspec.Struct, frozen=True):
    """One stream and its ages. ``age_ms``: since its last tick, None before the first."""

    stream: str
    feed: str
    latest_sequence: int
    latest_ts_ms: int
    last_tick_ts_ms: int
    age_ms: int | None


class DifferingCandleView(msgspec.Struct, frozen=True):
    """A candle that differs from the platform's own.

    Prices are open, high, low and close. ``kept_ticks`` 0: its ticks were no longer known.
    """

    stream: str
    sequence: int
    ts_ms: int
    ours: tuple[float, float, float, float]
    platform: tuple[float, float, float, float]
    kept_ticks: int


class AgreementView(msgspec.Struct, frozen=True):
    """The number of candles compared with the platform's own, that of equal ones, and the newest that differ."""

    compared: int = 0
    equal: int = 0
    streams: dict[str, dict[str, int]] = {}
    differing: tuple[DifferingCandleView, ...] = ()


class Status(msgspec.Struct, frozen=True):
    """The whole state; times UNIX milliseconds UTC."""

    version: str
    pid: int
    uptime_s: float
    server_time_ms: int
    pub: str
    rep: str
    control: str
    data_dir: str
    source: str
    interval: str
    collect: CsvStatus
    chrome: str
    chrome_endpoint: str
    chrome_reason: str
    browser: str
    tabs: tuple[dict[str, str], ...]
    sockets: int
    clock: str
    clock_reason: str
    platform_offset_ms: int | None
    focus_mode: str
    focus_symbols: tuple[str, ...]
    focus_unknown: tuple[str, ...]
    detected_asset: str | None
    detected_period_s: int | None
    assets_known: int
    streams: tuple[StreamStatusView, ...]
    assets: tuple[dict[str, object], ...]
    counters: dict[str, int]
    queue_depth: int
    store_error: str = msgspec.field(name="store_trouble")
    forward: ForwardStatus | None = None
    """Of `fluxcap run --forward`."""
    focus_unchecked: tuple[str, ...] = ()
    """Locked names that were taken as typed, since the platform has not sent its assets yet."""
    clock_basis: str = ""
    """What the platform's offset stands on; "" while it is not known."""
    computer_clock_off_ms: int = 0
    """How far this computer's clock is ahead of the platform's own; 0 while right, or while nobody knows."""
    agreement: AgreementView = AgreementView()


class DaemonInfo(msgspec.Struct, frozen=True):
    """Facts that do not change while the daemon runs."""

    version: str
    pid: int
    pub: str
    rep: str
    control: str
    data_dir: str
    source: str
    interval: str
    chrome_endpoint: str


def build_status(
    identity: DaemonInfo,
    view: PipelineView,
    *,
    now_ms: int,
    uptime_s: float,
    collect: CsvStatus,
    forward: ForwardStatus | None = None,
    agreement: AgreementSummary = AgreementSummary(),  # noqa: B008  frozen
) -> Status:
    """Put a snapshot of the pipeline into words. ``now_ms``: wall clock."""
    market, session = view.market, view.session
    streams = tuple(
        StreamStatusView(
            stream=str(stream.key),
            feed=FeedState(stream.feed_state).name.lower(),
            latest_sequence=stream.latest_sequence,
            latest_ts_ms=stream.latest_ts_ms,
            last_tick_ts_ms=stream.last_tick_ts_ms,
            age_ms=max(0, now_ms - stream.last_tick_ts_ms) if stream.last_tick_ts_ms else None,
        )
        for stream in view.streams
    )
    return Status(
        version=identity.version,
        pid=identity.pid,
        uptime_s=round(uptime_s, 1),
        server_time_ms=now_ms,
        pub=identity.pub,
        rep=identity.rep,
        control=identity.control,
        data_dir=identity.data_dir,
        source=identity.source,
        interval=identity.interval,
        collect=collect,
        chrome=view.chrome.value,
        chrome_endpoint=identity.chrome_endpoint,
        chrome_reason=view.chrome_reason,
        browser=view.browser,
        tabs=tuple({"url": tab.url, "title": tab.title, "state": tab.state} for tab in session.tabs) if session else (),
        sockets=len(session.sockets) if session else 0,
        clock=market.clock,
        clock_reason=market.clock_reason,
        platform_offset_ms=market.platform_offset_ms,
        focus_mode=market.focus_mode.value,
        focus_symbols=market.focus_symbols,
        focus_unknown=market.focus_unknown,
        focus_unchecked=market.focus_unchecked,
        detected_asset=market.active_symbol,
        detected_period_s=market.active_period_ms // 1_000 or None,
        assets_known=market.asset_count,
        streams=streams,
        assets=tuple(
            {
                "symbol": asset.symbol,
                "focused": asset.focused,
                "feed": asset.feed_state.name.lower(),
                "ticks": asset.ticks,
                "last_price": asset.last_price,
                "last_tick_ts_ms": asset.last_tick_ts_ms,
                "blind_reason": asset.gap_reason,
            }
            for asset in market.assets
        ),
        counters=market.counters,
        queue_depth=view.queue_depth,
        store_error=view.store_error,
        forward=forward,
        clock_basis=market.clock_basis,
        computer_clock_off_ms=market.wall_off_ms,
        agreement=agreement_view(agreement),
    )


def agreement_view(agreement: AgreementSummary) -> AgreementView:
    """Put what the store knows of the agreement with the platform into the form of the status."""
    streams = agreement.streams
    return AgreementView(
        compared=sum(one.compared for one in streams.values()),
        equal=sum(one.equal for one in streams.values()),
        streams={str(key): {"compared": one.compared, "equal": one.equal} for key, one in streams.items()},
        differing=tuple(
            DifferingCandleView(
                stream=str(one.key),
                sequence=one.sequence,
                ts_ms=one.ours.ts_ms,
                ours=_prices(one.ours),
                platform=_prices(one.platform),
                kept_ticks=one.kept_ticks,
            )
            for one in agreement.differing
        ),
    )


def _prices(candle: Candle) -> tuple[float, float, float, float]:
    return candle.open, candle.high, candle.low, candle.close
