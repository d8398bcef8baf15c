"""The dev server's panel: every setting and fault with its control, and beside them what a client makes of it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from fastapi import FastAPI

# Before NiceGUI is imported: should it ever keep anything, then in no folder of the user's.
os.environ.setdefault("NICEGUI_STORAGE_PATH", str(Path(tempfile.gettempdir()) / "fluxcap-nicegui"))

from nicegui import app as nicegui_app
from nicegui import run, ui

from fluxcap.bridge.client.stats import state_text
from fluxcap.bridge.dashboard import candle_chart
from fluxcap.bridge.dashboard.candle_chart import CandleChart
from fluxcap.bridge.devserver.faults import Faults
from fluxcap.bridge.devserver.panel_session import PanelSession, key_of
from fluxcap.schemas.errors import FluxcapError
from fluxcap.schemas.types import FeedState, StreamKey

TICK_S = 0.25
PREFERRED_THEME = (
    "localStorage.fluxcapTheme || (matchMedia('(prefers-color-scheme: light)').matches ? 'light' : 'dark')"
)
STYLE = Path(candle_chart.__file__).with_name("style.css")
FAULTS: tuple[tuple[str, str, float], ...] = (
    ("drop_percent", "Drop, %", 100),
    ("skip_every", "Skip every n-th batch", 1_000),
    ("jitter_ms", "Jitter, ms", 10_000),
    ("reorder_percent", "Reorder, %", 100),
    ("duplicate_percent", "Send twice, %", 100),
    ("garbage_percent", "Damage, %", 100),
    ("answer_delay_ms", "Answers late, ms", 30_000),
    ("answer_fail_percent", "Answers fail, %", 100),
    ("answer_empty_percent", "Answers empty, %", 100),
)
"""Field of ``Faults``, its words, its largest value; ``stall`` and ``feed_state`` have controls of another kind."""


def mount_panel(app: FastAPI, session: PanelSession) -> None:
    """The panel at ``/``."""

    @ui.page("/", title="fluxcap dev server")
    async def panel(theme: str = "") -> None:
        ui.add_css(STYLE.read_text("utf-8"))
        ui.colors(primary="#2f7fd6", positive="#2fb38a", negative="#e5645d", warning="#c9922e")
        page = Panel(session)
        client = ui.context.client
        client.on_delete(page.end)
        await client.connected()
        await page.begin(theme)

    ui.run_with(app, title="fluxcap", dark=None, tailwind=False, show_welcome_message=False, reconnect_timeout=20)
    nicegui_app.on_shutdown(session.close)


class Panel:
    """One open panel. Build it within a NiceGUI page."""

    def __init__(self, session: PanelSession) -> None:
        self._session = session
        self._dark = ui.dark_mode(None)
        self._key: StreamKey | None = None
        self._version = 0
        self._log_seen = 0
        self._busy = False
        self._watermarks: dict[StreamKey, int] = {}
        self._controls: dict[str, Any] = {}
        self._counters: dict[str, ui.label] = {}
        with ui.row().classes("panel"):
            with ui.column().classes("panel-controls"):
                self._build_server()
                self._build_streams()
                self._build_faults()
            with ui.column().classes("panel-view"):
                self._build_view()

    # --- widgets --------------------------------------------------------------------------------------------------

    def _build_server(self) -> None:
        pub, rep = self._session.engine.endpoints
        with ui.row().classes("panel-head"):
            ui.label("fluxcap dev server").classes("brand")
            ui.space()
            self._theme = ui.button(icon="contrast", on_click=lambda: self._set_theme(not self._dark.value))
            self._theme.props('flat round dense aria-label="Dark or light"')
        with ui.row().classes("panel-row"):
            self._start = ui.button("Stop", on_click=self._start_or_stop).props(
                "no-caps unelevated dense data-test=start"
            )
            self._start.classes("start")
            ui.button("Restart", on_click=lambda: self._restart(False)).props("no-caps outline dense")
            ui.button("New store", on_click=lambda: self._restart(True)).props("no-caps outline dense")
        with ui.row().classes("panel-row"):
            self._pub = ui.input("PUB", value=pub).props("outlined dense data-test=pub").classes("wide own-row")
            self._rep = ui.input("Requests", value=rep).props("outlined dense data-test=rep").classes("wide")
            ui.button("Move", on_click=self._move).props("no-caps outline dense")
        with ui.row().classes("panel-counters"):
            for name in ("published", "stored", "dropped", "served"):
                with ui.column().classes("counter"):
                    self._counters[name] = ui.label("0").props(f"data-test=count-{name}").classes("counter-value")
                    ui.label(name).classes("fact-name")

    def _build_streams(self) -> None:
        settings = self._session.engine.settings
        ui.label("Streams").classes("panel-title")
        with ui.row().classes("panel-row"):
            self._source = ui.input("Source", value=settings.source).props("outlined dense").classes("narrow")
            self._interval = ui.input("Interval", value=settings.interval).props("outlined dense").classes("narrow")
            self._tick = _number("tick_ms", settings.tick_ms, 1, 3_600_000)
            self._batch = _number("batch_size", settings.batch_size, 1, 10_000)
        with ui.row().classes("panel-row"):
            self._symbols = ui.select(
                list(settings.symbols), label="Symbols", multiple=True, with_input=True, value=list(settings.symbols)
            )
            self._symbols.props("outlined dense use-chips options-dense data-test=symbols").classes("wide")
            ui.button("Apply", on_click=self._apply).props("no-caps unelevated dense data-test=apply")

    def _build_faults(self) -> None:
        faults = self._session.engine.faults
        with ui.row().classes("panel-row"):
            ui.label("Faults").classes("panel-title")
            ui.space()
            ui.button("Lift all", on_click=self._lift).props("no-caps flat dense data-test=lift")
        with ui.element("div").classes("panel-faults"):
            for name, words, most in FAULTS:
                field = _number(words, getattr(faults, name), 0, most).props(f"data-test=fault-{name}")
                field.on_value_change(self._on_fault(name))
                self._controls[name] = field
            states = {int(state): state.name.lower().replace("_", " ") for state in FeedState}
            feed = ui.select(states, label="Heartbeats say", value=faults.feed_state)
            feed.props("outlined dense options-dense data-test=fault-feed_state").on_value_change(
                self._on_fault("feed_state")
            )
            stall = ui.switch("Stall: publish nothing", value=faults.stall).props("dense data-test=fault-stall")
            stall.on_value_change(self._on_fault("stall"))
            self._controls |= {"feed_state": feed, "stall": stall}

    def _build_view(self) -> None:
        with ui.row().classes("panel-head"):
            ui.label("What a client sees").classes("panel-title")
            ui.space()
            self._shown = ui.select(list(self._session.engine.settings.symbols), label="Stream")
            self._shown.value = self._session.engine.settings.symbols[0]
            self._shown.props("outlined dense options-dense data-test=shown").classes("asset")
        with ui.element("div").classes("stage"):
            self._chart = CandleChart()
        with ui.row().classes("foot"), ui.row().classes("health"):
            self._dot = ui.element("span").classes("dot off")
            self._label = ui.label().props("data-test=health").classes("label")
            self._reason = ui.label().classes("reason")
            self._client_counts = ui.label().props("data-test=client-counts").classes("fact-name")
        self._log = ui.column().props("data-test=log").classes("panel-log")

    # --- life -----------------------------------------------------------------------------------------------------

    async def begin(self, theme: str) -> None:
        """The browser is connected."""
        try:
            theme = theme or await ui.run_javascript(PREFERRED_THEME, timeout=10)
        except TimeoutError:  # gone already, or far too busy
            theme = "dark"
        self._set_theme(theme != "light")
        listings = await run.io_bound(self._session.listings)
        labels = {listing.symbol: f"{listing.symbol}  {listing.name}" for listing in listings or ()}
        chosen = list(self._session.engine.settings.symbols)
        self._symbols.set_options({symbol: symbol for symbol in chosen} | labels, value=chosen)
        ui.timer(TICK_S, self._tick_page)

    async def end(self) -> None:
        """The browser has gone."""
        if self._key is not None:
            await run.io_bound(self._session.feed.unsubscribe, self._key)
            self._key = None

    def _set_theme(self, is_dark: bool) -> None:
        self._dark.value = is_dark
        self._chart.set_dark(is_dark)

    # --- what the user does ---------------------------------------------------------------------------------------

    async def _do(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Carry out what may block or be refused; says so when it is."""
        try:
            return await run.io_bound(work, *arguments)
        except FluxcapError as error:
            ui.notify(str(error), type="negative", position="top")
            return None

    async def _start_or_stop(self) -> None:
        engine = self._session.engine
        await self._do(engine.set_broadcasting, not engine.broadcasting)

    async def _restart(self, new_store: bool) -> None:
        if await self._do(lambda: self._session.engine.restart(new_store=new_store)):
            ui.notify("A new store is open." if new_store else "Restarted.", position="top")

    async def _move(self) -> None:
        await self._do(self._session.rebind, self._pub.value.strip(), self._rep.value.strip())
        pub, rep = self._session.engine.endpoints
        self._pub.set_value(pub)
        self._rep.set_value(rep)

    async def _apply(self) -> None:
        settings = msgspec.structs.replace(
            self._session.engine.settings,
            source=self._source.value.strip(),
            interval=self._interval.value.strip(),
            symbols=tuple(self._symbols.value or ()),
            tick_ms=int(self._tick.value or 0),
            batch_size=int(self._batch.value or 0),
        )
        done = await self._do(self._session.engine.set_streams, settings)
        if done is not None:
            shown = self._shown.value if self._shown.value in done.symbols else done.symbols[0]
            self._shown.set_options(list(done.symbols), value=shown)

    async def _lift(self) -> None:
        if await self._do(self._session.engine.set_faults, Faults()):
            for name, control in self._controls.items():
                control.set_value(getattr(Faults(), name))

    def _on_fault(self, name: str) -> Callable[[Any], Any]:
        async def handler(event: Any) -> None:
            value = event.value if event.value is not None else 0
            if value != getattr(self._session.engine.faults, name):
                await self._do(self._session.set_fault, name, value)

        return handler

    # --- what is so -----------------------------------------------------------------------------------------------

    async def _tick_page(self) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            with contextlib.suppress(FluxcapError):  # restarting, or moving
                looked = await run.io_bound(self._session.poll)
                streams, counters = looked or ([], {})
                for name, count in counters.items():
                    self._counters[name].set_text(f"{count:,}")
                self._watermarks = {stream.key: stream.latest_sequence for stream in streams}
            self._start.set_text("Stop" if self._session.engine.broadcasting else "Start")
            await self._show_stream(key_of(self._session.engine.settings, self._shown.value))
            self._draw()
        finally:
            self._busy = False

    async def _show_stream(self, key: StreamKey) -> None:
        if key == self._key:
            return
        before, self._key, self._version = self._key, key, 0
        if before is not None:
            await run.io_bound(self._session.feed.unsubscribe, before)
        await run.io_bound(self._session.feed.subscribe, key)
        self._chart.replace([], None, key.interval_ms)

    def _draw(self) -> None:
        key, feed = self._key, self._session.feed
        if key is None:
            return
        changes = feed.changes(key, self._version)
        if changes is not None and (self._version or changes.rows or changes.forming):
            self._version = changes.version
            self._chart.apply(changes, key.interval_ms)
        dot, label, reason = state_text(feed.health(key))
        self._dot.classes(replace=f"dot {dot}")
        self._label.set_text(label)
        self._reason.set_text(reason)
        memory = feed.buffer(key)
        seen, latest = (memory.candles_seen, memory.latest_sequence) if memory else (0, 0)
        behind = max(0, self._watermarks.get(key, 0) - latest)
        tail = f", {behind} behind" if behind else ""
        self._client_counts.set_text(f"{seen:,} candles in order, once each{tail}")
        self._show_log()

    def _show_log(self) -> None:
        fresh = [line for line in list(self._session.feed.log) if line[0] > self._log_seen]
        for number, kind, text in fresh[-40:]:
            self._log_seen = number
            with self._log:
                row = ui.row().classes("log-line")
                with row:
                    ui.label(kind).classes(f"log-kind log-{kind.replace(' ', '-')}")
                    ui.label(text).classes("log-text")
                row.move(target_index=0)
        for old in list(self._log)[60:]:
            self._log.remove(old)


def _number(words: str, value: float, least: float, most: float) -> Any:
    return ui.number(words, value=value, min=least, max=most).props("outlined dense debounce=400").classes("narrow")
