"""One open page: carries out what the user chose and what ``session.decide`` says, four times a second."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

import msgspec
from nicegui import run, ui

from fluxcap.bridge.client.stats import state_text, stats_rows
from fluxcap.bridge.dashboard.csv_view import CsvView
from fluxcap.bridge.dashboard.daemon_backend import DaemonBackend
from fluxcap.bridge.dashboard.layout import Layout
from fluxcap.bridge.dashboard.rows import gap_areas
from fluxcap.bridge.dashboard.view_state import (
    ChartSource,
    LiveState,
    ViewDecision,
    ViewRequest,
    decide,
    keep_asset,
    next_step_text,
)
from fluxcap.schemas.errors import FluxcapError
from fluxcap.schemas.types import StreamKey

TICK_S = 0.25
LEASE_S = 15.0
RENEW_S = 5.0
GAPS_S = 3.0
PREFERRED_THEME = (
    "localStorage.fluxcapTheme || (matchMedia('(prefers-color-scheme: light)').matches ? 'light' : 'dark')"
)


class ChartPage:
    """See the module. Build it within a NiceGUI page."""

    def __init__(self, hub: DaemonBackend) -> None:
        self._hub = hub
        self._client = ui.context.client
        self._view = Layout()
        self._dark = ui.dark_mode(None)
        self._request = ViewRequest()
        self._decision = ViewDecision()
        self._holder = f"page-{uuid.uuid4().hex[:12]}"
        self._key: StreamKey | None = None
        self._version = 0
        self._leased: str | None = None
        self._due_s = {"lease": 0.0, "gaps": 0.0}
        self._csv = CsvView(hub, self._view, self._fill)
        self._busy = self._closed = self._filling = self._drew_live = False
        self._connect()
        self._show_choices()

    def _connect(self) -> None:
        view = self._view
        view.source.on_value_change(self._ignore_programmatic(self._choose_source))
        view.asset.on_value_change(self._ignore_programmatic(self._choose_asset))
        view.file.on_value_change(self._ignore_programmatic(self._csv.choose_file))
        view.timeframe.on_value_change(self._ignore_programmatic(self._choose_timeframe))
        view.follow.on_value_change(self._ignore_programmatic(self._choose_follow))
        view.collect.on_value_change(self._ignore_programmatic(self._choose_collect))
        view.start.on_click(self._start_or_stop)
        view.theme.on_click(self._flip_theme)

    def _ignore_programmatic(self, handle: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Only what the user changes counts, not what we fill in."""

        def handler(event: Any) -> Any:
            return None if self._filling else handle(event.value)

        return handler

    # --- life -----------------------------------------------------------------------------------------------------

    async def begin(self, query: dict[str, str]) -> None:
        """The browser is connected. ``query``: ``source``, ``asset``, ``follow`` and ``theme`` of the address."""
        self._hub.open_page()
        try:
            theme = query.get("theme") or await ui.run_javascript(PREFERRED_THEME, timeout=10)
        except TimeoutError:  # gone already, or far too busy
            theme = "dark"
        self._set_theme(theme != "light")
        if query.get("source", "") in {source.value for source in ChartSource}:
            self._request = msgspec.structs.replace(self._request, asset=query.get("asset") or None)
            self._fill(self._view.source, query["source"])
            await self._choose_source(query["source"])
            if query.get("follow"):
                self._fill(self._view.follow, True)
                self._choose_follow(True)
        ui.timer(TICK_S, self._tick)

    async def end(self) -> None:
        """The browser has gone for good."""
        if self._closed:
            return
        self._closed = True
        self._hub.close_page()
        await self._release()
        await self._show_stream(None)

    # --- what the user does ---------------------------------------------------------------------------------------

    async def _choose_source(self, value: str) -> None:
        source = ChartSource(value)
        self._request = msgspec.structs.replace(self._request, source=source, follows=False, is_on=True)
        self._fill(self._view.follow, False)
        self._csv.leave()
        self._view.chart.replace([], None, 60_000)
        if source is ChartSource.CSV:
            await self._csv.list_files()
            available, where = set(self._csv.assets), "in the CSV files"
        else:
            await self._show_stream(None)
            available, where = set(self._hub.asset_options()), "on the platform"
        # Before the daemon has answered nothing can be said of the asset; the decision will.
        asset, message = keep_asset(self._request.asset, available, where) if available else (self._request.asset, "")
        self._request = msgspec.structs.replace(self._request, asset=asset)
        if message:
            ui.notify(message, type="warning", position="top")
        self._show_choices()
        if source is ChartSource.CSV and asset:
            await self._choose_asset(asset)

    async def _choose_asset(self, asset: str | None) -> None:
        self._request = msgspec.structs.replace(self._request, asset=asset, follows=False, is_on=True)
        self._fill(self._view.follow, False)
        if self._request.source is ChartSource.CSV:
            await self._csv.choose_asset(asset)

    def _choose_timeframe(self, _value: str) -> None:
        if self._request.source is ChartSource.CSV:
            self._csv.draw()

    def _choose_follow(self, on: bool) -> None:
        self._request = msgspec.structs.replace(self._request, follows=on, is_on=True)
        if not on and self._request.asset is None:
            self._request = msgspec.structs.replace(self._request, asset=self._decision.asset)

    async def _choose_collect(self, mode: str) -> None:
        try:
            await run.io_bound(self._hub.api.set_collect_mode, mode)
        except FluxcapError as error:
            ui.notify(str(error), type="negative", position="top")

    def _start_or_stop(self) -> None:
        self._request = msgspec.structs.replace(self._request, is_on=not self._request.is_on)

    def _flip_theme(self) -> None:
        self._set_theme(not self._dark.value)
        ui.run_javascript(f"localStorage.fluxcapTheme = '{'dark' if self._dark.value else 'light'}'")

    def _set_theme(self, is_dark: bool) -> None:
        self._dark.value = is_dark
        self._view.chart.set_dark(is_dark)

    # --- what is so -----------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        if self._busy or self._closed:
            return
        self._busy = True
        try:
            if not self._client.has_socket_connection:  # left, or about to come back
                await self._release()
                return
            self._decision = decide(self._request, self._hub.daemon_state())
            await self._apply_decision()
            self._show_text()
            self._show_footer()
        finally:
            self._busy = False

    async def _apply_decision(self) -> None:
        decision = self._decision
        if self._request.source is not ChartSource.PLATFORM:
            await self._release()
            await self._show_stream(None)
            return
        key = self._hub.key(decision.asset) if decision.asset else None
        if key is not None or decision.asset is None:
            await self._show_stream(key)
        if decision.leases and decision.asset:
            await self._lease(decision.asset)
        else:
            await self._release()
        self._draw_live(decision.state is LiveState.LIVE)
        await self._draw_gaps()

    async def _show_stream(self, key: StreamKey | None) -> None:
        """History comes with the subscription."""
        if key == self._key:
            return
        before, self._key, self._version = self._key, key, 0
        if before is not None:
            await run.io_bound(self._hub.feed.unsubscribe, before)
        if key is not None:
            await run.io_bound(self._hub.feed.subscribe, key)
            self._due_s["gaps"] = 0.0
        if not self._closed and self._request.source is ChartSource.PLATFORM:
            self._view.chart.replace([], None, 60_000)

    def _draw_live(self, is_live: bool) -> None:
        """History is drawn in any case, at once; what comes later only while live."""
        key, was_live = self._key, self._drew_live
        self._drew_live = is_live
        if was_live and not is_live:
            self._view.chart.end_live()
        if key is None or not (is_live or self._version == 0):
            return
        changes = self._hub.feed.changes(key, self._version)
        if changes is None or (self._version == 0 and not changes.rows and changes.forming is None):
            return
        if not is_live:
            changes = msgspec.structs.replace(changes, forming=None)
        self._version = changes.version
        self._view.chart.apply(changes, key.interval_ms)

    async def _draw_gaps(self) -> None:
        key, now_s = self._key, time.monotonic()
        buffer = self._hub.feed.buffer(key) if key is not None else None
        if key is None or buffer is None or not len(buffer) or now_s < self._due_s["gaps"]:
            return
        self._due_s["gaps"] = now_s + GAPS_S
        from_ms, to_ms = buffer.first_ms, buffer.last_ms + 2 * key.interval_ms
        try:
            gaps = await run.io_bound(self._hub.api.gaps, key.source_id, key.symbol, from_ms)
        except FluxcapError:
            return
        areas = gap_areas(gaps or (), from_ms, to_ms)
        self._view.chart.shade_if_new(areas)

    async def _lease(self, asset: str) -> None:
        now_s = time.monotonic()
        if self._leased == asset and now_s < self._due_s["lease"]:
            return
        self._due_s["lease"] = now_s + RENEW_S
        try:
            await run.io_bound(self._hub.api.acquire_lease, self._holder, asset, LEASE_S)
            self._leased = asset
        except FluxcapError as error:
            self._leased = None
            self._decision = ViewDecision(asset, LiveState.PAUSED, str(error))

    async def _release(self) -> None:
        if self._leased is None:
            return
        self._leased = None
        try:
            await run.io_bound(self._hub.api.release_lease, self._holder)
        except FluxcapError:
            return  # it ends by itself

    # --- words ----------------------------------------------------------------------------------------------------

    def _show_choices(self) -> None:
        view, source = self._view, self._request.source
        is_csv, is_live = source is ChartSource.CSV, source is ChartSource.PLATFORM
        for widget, shown in (
            (view.asset, source is not None),
            (view.file, is_csv),
            (view.timeframe, source is not None),
            (view.follow, is_live),
            (view.start, is_live),
        ):
            widget.set_visibility(shown)
        if is_csv:
            self._csv.show_choices(self._request.asset)
        view.timeframe.set_enabled(is_csv)

    def _show_text(self) -> None:
        view, decision, hub = self._view, self._decision, self._hub
        if self._request.source is ChartSource.PLATFORM:
            self._fill(view.asset, decision.asset, _with(hub.asset_options(), decision.asset))
            self._fill(view.timeframe, hub.interval, [hub.interval])
            view.timeframe_note.set_text(f"Platform candles are {hub.interval}")
            view.start.set_text("Stop" if self._request.is_on else "Start")
            view.start.set_enabled(decision.asset is not None)
        else:
            view.timeframe_note.set_text("")
        status = hub.status
        view.collect.set_enabled(status is not None)
        if status is not None:
            self._fill(view.collect, _collect_mode(status))
            period_s = status["detected_period_s"]
            shown = status["detected_asset"]
            view.detected.set_text(
                f"Page shows {shown}{f' at {_period(period_s)}' if period_s else ''}" if shown else "Page: unknown"
            )
            view.focus.set_text(f"Focus: {status['focus_mode']} {', '.join(status['focus_symbols'][:3])}".rstrip())
        self._show_overlay()

    def _show_overlay(self) -> None:
        view, decision, banner = self._view, self._decision, ""
        if self._request.source is None:
            view.show_overlay("Choose where candles come from", "CSV files: what was collected. Platform: live.")
        elif self._request.source is ChartSource.CSV:
            title, text, is_busy = self._csv.text(self._request.asset)
            view.show_overlay(title, text, is_busy=is_busy)
        elif decision.asset is None:
            view.show_overlay(decision.reason, next_step_text(decision))
        elif self._version == 0:
            if decision.state is LiveState.LIVE:
                view.show_overlay("No candle yet", f"Waiting for the first {self._hub.interval} candle.", is_busy=True)
            else:
                view.show_overlay("Not live", decision.reason)
        else:
            view.show_overlay("")
            if decision.state is not LiveState.LIVE:
                tail = " It continues by itself." if decision.state is LiveState.PAUSED else ""
                banner = f"Not live. {decision.reason}{tail}"
        view.show_banner(banner)

    def _show_footer(self) -> None:
        view, key = self._view, self._key
        if key is None:
            view.show_health(*self._hub.health_text())
            facts = stats_rows(0, self._hub.facts(None))
        else:
            buffer = self._hub.feed.buffer(key)
            view.show_health(*state_text(self._hub.feed.health(key)))
            facts = stats_rows(buffer.latest_sequence if buffer else 0, self._hub.facts(key))
        for name, value in facts:
            view.facts[name].set_text(value)

    def _fill(self, widget: Any, value: Any, options: Any = None) -> None:
        """Set a widget without its being taken for the user's doing; nothing is sent when nothing changes."""
        self._filling = True
        try:
            if options is not None and options != widget.options:
                widget.set_options(options, value=value)
            elif widget.value != value:
                widget.set_value(value)
        finally:
            self._filling = False


def _with(choices: dict[str, str], asset: str | None) -> dict[str, str]:
    return choices if asset is None or asset in choices else {**choices, asset: asset}


def _period(seconds: int) -> str:
    for unit, size in (("h", 3_600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _collect_mode(status: dict[str, Any]) -> str:
    collect = status["collect"]
    return str(collect["mode"] if isinstance(collect, dict) else collect)
