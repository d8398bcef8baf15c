"""The status of the running daemon as one value: for ``fluxcap status``, the REST API and the dashboard."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from fluxcap.bridge.jetstream.forward.status import ForwardStatus
from fluxcap.bridge.store.agreement import AgreementSummary
from fluxcap.capture.alerts.watch import AlertsStatus
from fluxcap.capture.csvfiles.writer import CsvStatus
from fluxcap.capture.market.clock import ClockState
from fluxcap.capture.pipeline.pipeline import PipelineView
from fluxcap.schemas.candles import first_whole_end_ms
from fluxcap.schemas.types import Candle, FeedState, StreamKey, StreamStatus, interval_ms

NAMED_MAX = 3
"""Assets that a sentence names."""


class FormingView(msgspec.Struct, frozen=True):
    """The candle under way, as far as it has come; its bucket begins at ``ts_ms``."""

    ts_ms: int
    open: float
    high: float
    low: float
    close: float
    ticks: int


class StreamStatusView(msgspec.Struct, frozen=True):
    """One stream and its ages. ``age_ms``: since its last tick, None before the first.

    ``first_whole_ms``: while the stream has no candle, the end of the first that is seen whole; 0 else.
    """

    stream: str
    feed: str
    latest_sequence: int
    latest_ts_ms: int
    last_tick_ts_ms: int
    age_ms: int | None
    forming: FormingView | None = None
    first_whole_ms: int = 0


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
    no_candles: str = ""
    """Why no asset in focus gets candles, and what to do; "" when one does."""
    lookalikes: tuple[str, ...] = ()
    """Hosts of tabs that look like the platform's and are not attached."""
    accounts: dict[str, str] = {}
    """Assets that both a demo and a real account bring: the one that counts."""
    derived_streams: tuple[StreamStatusView, ...] = ()
    """The streams of longer intervals, made of those of ``streams``."""
    alerts: AlertsStatus | None = None
    """Of the setting `alerts`."""
    consent: bool = False
    """Whether the browser is read by its user's consent, and so can be asked for it once more."""


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
    consent: bool = False


def build_status(
    identity: DaemonInfo,
    view: PipelineView,
    *,
    now_ms: int,
    uptime_s: float,
    collect: CsvStatus,
    forward: ForwardStatus | None = None,
    agreement: AgreementSummary = AgreementSummary(),  # noqa: B008  frozen
    alerts: AlertsStatus | None = None,
) -> Status:
    """Put a snapshot of the pipeline into words. ``now_ms``: wall clock."""
    market, session = view.market, view.session
    live = StreamKey(identity.source, "", identity.interval)
    streams = tuple(
        _stream(stream, view.forming.get(stream.key.symbol) if _is_of(live, stream.key) else None, now_ms)
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
        derived_streams=tuple(_stream(stream, None, now_ms) for stream in view.derived),
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
        no_candles=why_no_candles(view, identity.interval, now_ms),
        lookalikes=session.lookalikes if session else (),
        accounts=market.accounts,
        alerts=alerts,
        consent=identity.consent,
    )


def _stream(stream: StreamStatus, forming: Candle | None, now_ms: int) -> StreamStatusView:
    view = None
    first_whole_ms = 0
    if forming is not None:
        view = FormingView(forming.ts_ms, *_prices(forming), forming.tick_count)
        if not stream.latest_sequence:
            first_whole_ms = first_whole_end_ms(forming, stream.key.interval_ms)
    return StreamStatusView(
        stream=str(stream.key),
        feed=FeedState(stream.feed_state).name.lower(),
        latest_sequence=stream.latest_sequence,
        latest_ts_ms=stream.latest_ts_ms,
        last_tick_ts_ms=stream.last_tick_ts_ms,
        age_ms=max(0, now_ms - stream.last_tick_ts_ms) if stream.last_tick_ts_ms else None,
        forming=view,
        first_whole_ms=first_whole_ms,
    )


def _is_of(live: StreamKey, key: StreamKey) -> bool:
    return (key.source_id, key.interval) == (live.source_id, live.interval)


def why_no_candles(view: PipelineView, interval: str, now_ms: int) -> str:
    """Return why no asset in focus gets candles, and what to do, in a sentence or two; "" when one does.

    The first that is wrong, in the order in which things are needed. ``now_ms``: wall clock.
    """
    market = view.market
    if view.store_error:
        return f"Nothing can be published: {view.store_error}"
    obstacle = page_obstacle(view)
    if obstacle:
        return obstacle
    live = [asset for asset in market.assets if asset.feed_state is FeedState.LIVE]
    if market.clock != ClockState.SYNCHRONISED:
        if market.clock == ClockState.WAITING:
            return (
                "The platform's tab is open, but no tick has come. Log in, choose an asset whose price moves; if the "
                "page was open before fluxcap, reload it."
            )
        return market.clock_reason
    if market.focus_unknown:
        return f"The focus is on {_named(market.focus_unknown)}, which the platform does not have: `fluxcap focus set`."
    focused = [asset for asset in market.assets if asset.focused]
    if live and not any(asset.focused for asset in live):
        ticking = _named([asset.symbol for asset in live])
        if not market.focus_symbols:
            return f"Ticks of {ticking} come, but no asset is in focus: `fluxcap focus set`, or `fluxcap focus all`."
        return (
            f"Ticks of {ticking} come, but the focus is on {_named(market.focus_symbols)}, which the page does not "
            "bring: turn the page to it, or `fluxcap focus follow`."
        )
    if not live:
        reason = next((asset.gap_reason for asset in focused if asset.gap_reason), "")
        return f"No asset ticks any more{f' ({reason})' if reason else ''}. Reload the trading page."
    published = {stream.key.symbol for stream in view.streams if stream.latest_sequence}
    if not published & {asset.symbol for asset in live if asset.focused}:
        return (
            f"Ticks come; {_first_candle(view, interval, now_ms)}. `fluxcap reload` brings the page's own history now."
        )
    return ""


def page_obstacle(view: PipelineView) -> str:
    """Return why there is no trading page that somebody is logged in to, and what to do; "" when there is one."""
    session = view.session
    if not view.chrome.connected or session is None:
        return view.chrome_reason
    if not session.tabs:
        if session.lookalikes:
            return lookalike_sentence(session.lookalikes[0])
        return "No tab of the platform is open. Open the trading page in that Chrome."
    if view.market.logged_out:
        return "The trading page is logged out of the platform; log in there."
    return ""


def _first_candle(view: PipelineView, interval: str, now_ms: int) -> str:
    length_ms = interval_ms(interval)
    due_ms = min((first_whole_end_ms(candle, length_ms) for candle in view.forming.values()), default=0)
    if not due_ms:
        return f"the first candle follows when a whole one of {interval} has been seen"
    end, left_s = datetime.fromtimestamp(due_ms / 1_000, UTC), max(0, due_ms - now_ms) / 1_000
    return f"the first whole candle of {interval} ends at {end:%H:%M:%S} UTC, in {left_s:.0f} s"


def lookalike_sentence(host: str) -> str:
    """Say how a page that looks like the platform's is allowed."""
    return (
        f"A tab at {host} looks like the platform, but its address is on no list, so it is not read. If it is your "
        f"trading page, start fluxcap with `--platform-url {host}`."
    )


def _named(symbols: Sequence[str]) -> str:
    more = len(symbols) - NAMED_MAX
    return ", ".join(symbols[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")


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
