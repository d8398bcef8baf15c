"""The widgets of the page and where they stand. No logic: the page connects them."""

from __future__ import annotations

from typing import TypeVar

from nicegui import ui
from nicegui.element import Element

from fluxcap.bridge.dashboard.candle_chart import CandleChart
from fluxcap.bridge.dashboard.view_state import ChartSource

AnyElement = TypeVar("AnyElement", bound=Element)

COLLECT_MODES = {
    "none": "Collect nothing",
    "tick": "Collect ticks",
    "candle": "Collect candles",
    "both": "Collect both",
}


class Layout:
    """Builds the page in the current slot."""

    def __init__(self) -> None:
        with ui.column().classes("page"):
            with ui.row().classes("bar"):
                self._build_choice()
                ui.space().classes("grow")
                self._build_tools()
            with ui.row().classes("notes"):
                self.timeframe_note = _note("timeframe-note")
                self.detected = _note("detected")
                self.focus = _note("focus")
            with ui.element("div").classes("stage"):
                self.chart = CandleChart()
                self._build_overlay()
                self.banner = _with_test_id(ui.label().classes("banner").props("role=status"), "banner")
                self.banner.set_visibility(False)
            self._build_footer()

    def _build_choice(self) -> None:
        ui.label("fluxcap").classes("brand")
        self.source = _with_test_id(
            ui.toggle({ChartSource.CSV.value: "CSV files", ChartSource.PLATFORM.value: "Platform"})
            .props("no-caps unelevated dense toggle-color=primary")
            .classes("source"),
            "source",
        )
        self.asset = _with_test_id(
            ui.select({}, label="Asset", with_input=True).props("outlined dense options-dense").classes("asset"),
            "asset",
        )
        self.file = _with_test_id(
            ui.select({}, label="File").props("outlined dense options-dense").classes("file"), "file"
        )
        self.timeframe = _with_test_id(
            ui.select([], label="Timeframe").props("outlined dense options-dense").classes("timeframe"), "timeframe"
        )
        self.follow = _with_test_id(ui.switch("Follow page").props("dense").classes("follow"), "follow")
        self.start = _with_test_id(ui.button("Stop").props("no-caps unelevated dense").classes("start"), "start")

    def _build_tools(self) -> None:
        self.collect = _with_test_id(
            ui.select(COLLECT_MODES, value="none").props("borderless dense options-dense").classes("collect"),
            "collect",
        )
        self.theme = _with_test_id(
            ui.button(icon="contrast").props('flat round dense aria-label="Dark or light"'), "theme"
        )

    def _build_overlay(self) -> None:
        with _with_test_id(ui.column().classes("overlay"), "overlay") as self.overlay:
            self.overlay_spinner = ui.spinner(size="28px", thickness=3)
            self.overlay_title = ui.label().classes("overlay-title")
            self.overlay_text = ui.label().classes("overlay-text")

    def _build_footer(self) -> None:
        with ui.row().classes("foot"):
            with _with_test_id(ui.row().classes("health"), "health"):
                self.dot = _with_test_id(ui.element("span").classes("dot off"), "dot")
                self.label = _with_test_id(ui.label("Off").classes("label"), "label")
                self.reason = _with_test_id(ui.label().classes("reason"), "reason")
            self.facts: dict[str, ui.label] = {}
            with ui.row().classes("facts"):
                for name in ("sequence", "watermark", "offset", "ticks/s", "lag", "agreement"):
                    with ui.row().classes("fact"):
                        ui.label(name).classes("fact-name")
                        self.facts[name] = _with_test_id(ui.label("-").classes("fact-value"), f"fact-{name}")

    def show_overlay(self, title: str, text: str = "", *, is_busy: bool = False) -> None:
        """Words in place of the chart; no title: the chart itself."""
        self.overlay.set_visibility(bool(title))
        self.overlay_spinner.set_visibility(is_busy)
        self.overlay_title.set_text(title)
        self.overlay_text.set_text(text)

    def show_banner(self, text: str) -> None:
        """A sentence over the chart; "": none."""
        self.banner.set_visibility(bool(text))
        if text:
            self.banner.set_text(text)

    def show_health(self, dot: str, label: str, reason: str) -> None:
        """The footer's left part."""
        if dot not in self.dot.classes:
            self.dot.classes(replace=f"dot {dot}")
        self.label.set_text(label)
        self.reason.set_text(reason)


def _note(name: str) -> ui.label:
    return _with_test_id(ui.label().classes("note"), name)


def _with_test_id(element: AnyElement, name: str) -> AnyElement:
    """Named, so that tests find it."""
    element.props(f"data-test={name}")
    return element
