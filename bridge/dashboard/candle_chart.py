"""The chart as an element of the page: Python sends rows, ``candle_chart.js`` draws what changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nicegui.element import Element
from nicegui.elements.echart import echart as _echart

from fluxcap.bridge.dashboard.rows import Row
from fluxcap.bridge.dashboard.stream_buffer import Changes
from fluxcap.schemas.candles import price_decimals

_ECHARTS = str(Path(_echart.__file__).parent / "dist")


class CandleChart(Element, component="candle_chart.js", esm={"nicegui-echart": _ECHARTS}):
    """Candles with volume, zoom, crosshair, price line, marks and shaded blind times."""

    def __init__(self) -> None:
        super().__init__()
        self._props["dark"] = True
        self._props["label"] = "Candle chart"
        self._areas: list[list[Any]] = []
        self.classes("chart")

    def set_dark(self, on: bool) -> None:
        """Dark or light."""
        self._props["dark"] = on
        self.update()

    def replace(self, rows: list[Row], forming: Row | None, step_ms: int) -> None:
        """Draw these rows and nothing else."""
        self._areas = []
        self.run_method("replace", rows, forming, step_ms, price_decimals(row[4] for row in rows[-50:]))

    def apply(self, changes: Changes, step_ms: int) -> None:
        """Draw what changed."""
        if changes.is_all:
            self.replace(changes.rows, changes.forming, step_ms)
        else:
            forming = [changes.forming] if changes.forming is not None else []
            digits = price_decimals(row[4] for row in [*changes.rows[-50:], *forming])
            self.run_method("apply", changes.rows, changes.forming, digits)

    def end_live(self) -> None:
        """Take away the candle under way and its price line."""
        self.run_method("apply", [], None, 0)

    def shade_if_new(self, areas: list[list[Any]]) -> None:
        """Shade these blind times: ``[from_ms, to_ms, reason]``."""
        if areas != self._areas:
            self._areas = areas
            self.run_method("shade", areas)
