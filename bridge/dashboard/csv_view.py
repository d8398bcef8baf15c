"""The page's CSV side: which files there are, the one that is shown, and in which timeframe."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from nicegui import run, ui

from fluxcap.bridge.dashboard.csv_candles import reachable_timeframes, read_csv, resample
from fluxcap.bridge.dashboard.daemon_backend import DaemonBackend
from fluxcap.bridge.dashboard.layout import Layout
from fluxcap.bridge.dashboard.rows import rows_of
from fluxcap.schemas.errors import FluxcapError
from fluxcap.schemas.types import CandleArray, interval_ms

SHOWN = 20_000
"""Candles drawn at most, the newest."""


class CsvView:
    """See the module. ``fill(widget, value, options)`` sets a widget without its being taken for the user's doing."""

    def __init__(self, hub: DaemonBackend, view: Layout, fill: Callable[..., None]) -> None:
        self._hub = hub
        self._view = view
        self._fill = fill
        self._files: list[dict[str, Any]] = []
        self._path: str | None = None
        self._candles: CandleArray | None = None
        self._timeframe = "1m"
        self._error = ""

    @property
    def assets(self) -> list[str]:
        """Those of which there are files."""
        return sorted({_symbol_of(file) for file in self._files})

    def leave(self) -> None:
        """Another source was chosen: what is being read is of no interest any more."""
        self._path = self._candles = None
        self._error = ""

    async def list_files(self) -> None:
        """Ask which files there are."""
        try:
            files = await run.io_bound(self._hub.api.csv_files)
        except FluxcapError as error:
            files = []
            ui.notify(str(error), type="negative", position="top")
        self._files = sorted(files or (), key=lambda file: file["filename"], reverse=True)

    def show_choices(self, asset: str | None) -> None:
        """Offer the assets."""
        self._fill(self._view.asset, asset, {name: name for name in self.assets})
        self._fill(self._view.file, None, {})
        self._fill(self._view.timeframe, None, list(reachable_timeframes("1m")))

    async def choose_asset(self, asset: str | None) -> None:
        """Offer the asset's files and show the newest."""
        files = {file["path"]: _file_label(file) for file in self._files if _symbol_of(file) == asset}
        newest = next(iter(files), None)
        self._fill(self._view.file, newest, files)
        await self.choose_file(newest)

    async def choose_file(self, path: str | None) -> None:
        """Read and show a file."""
        self._path, self._candles, self._error = path, None, ""
        self._view.chart.replace([], None, 60_000)
        file = next((file for file in self._files if file["path"] == path), None)
        if file is None or path is None:
            return
        self._timeframe = "1m" if _is_tick(file) else file["timeframe"] or "1m"
        try:
            candles, error_text = await run.io_bound(self._read, path), ""
        except FluxcapError as error:
            candles, error_text = None, str(error)
        if self._path != path:  # something else was chosen meanwhile
            return
        self._candles, self._error = candles, error_text
        timeframes = list(reachable_timeframes("tick" if _is_tick(file) else self._timeframe))
        chosen = self._view.timeframe.value
        self._fill(self._view.timeframe, chosen if chosen in timeframes else next(iter(timeframes), None), timeframes)
        self.draw()

    def draw(self) -> None:
        """The file in the chosen timeframe."""
        if self._candles is None:
            return
        timeframe = self._view.timeframe.value or self._timeframe
        try:
            candles = resample(self._candles, self._timeframe, timeframe)
        except FluxcapError as error:
            self._error = str(error)
            return
        self._view.chart.replace(rows_of(candles[-SHOWN:]), None, interval_ms(timeframe))

    def text(self, asset: str | None) -> tuple[str, str, bool]:
        """Title and text in place of the chart, and whether something is under way; no title: the chart itself."""
        if self._error:
            return "This file cannot be shown", self._error, False
        if self._candles is not None:
            return ("" if len(self._candles) else "This file holds no candles"), "", False
        if self._path is not None:
            return "Reading the file", re.split(r"[/\\\\]", self._path)[-1], True
        if not self._files:
            return "No CSV files", "Switch collecting on, or run `fluxcap collect`.", False
        return "Choose an asset" if asset is None else "", f"{len(self._files)} files", False

    def _read(self, path: str) -> CandleArray:
        return read_csv(self._hub.api.csv_text(path), self._timeframe)


def _is_tick(file: dict[str, Any]) -> bool:
    """Return whether a file holds ticks; a daemon before 0.2 says so with the timeframe."""
    return "tick" in (file["timeframe"], file.get("kind"))


def _symbol_of(file: dict[str, Any]) -> str:
    """Return the platform's name of a file's asset; a daemon before 0.2 has no other."""
    return str(file.get("symbol", file["asset"]))


def _file_label(file: dict[str, Any]) -> str:
    stem = file["filename"].removesuffix(".csv").removeprefix(_symbol_of(file)).strip("_")
    kind = "tick" if _is_tick(file) else file["timeframe"] or "candles"
    return f"{kind}  {stem.partition('_')[2] or stem}"
