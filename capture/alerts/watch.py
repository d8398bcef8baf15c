"""Watches capture for the alert rules: facts in every two seconds, messages to the sender out.

Runs on a thread of the scheduler. It asks the pipeline for a snapshot, as ``status`` does, and reads the store by a
reader of its own, so that it costs the pipeline nothing but the snapshot. What was told and is not over is kept in a
small file, so that a restart tells nothing twice, and tells an end that came meanwhile.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from fluxcap.bridge.store.agreement import AgreementSummary
from fluxcap.bridge.store.reader import StoreReader
from fluxcap.bridge.system.files import replace_file
from fluxcap.capture.alerts.rules import Alert, AlertKind, AlertMemory, AlertRules, Facts, Phase, QuietHours
from fluxcap.capture.alerts.sender import AddressStatus, AlertSender, apprise_delivery
from fluxcap.capture.alerts.words import Fill, fill_of, message
from fluxcap.capture.csvfiles.writer import CsvStatus
from fluxcap.capture.market.feeds import GapReason
from fluxcap.capture.market.focus import FocusMode
from fluxcap.capture.pipeline.listeners import ChromeState
from fluxcap.capture.pipeline.pipeline import PipelineView
from fluxcap.capture.runtime import log
from fluxcap.capture.runtime.settings import Settings
from fluxcap.schemas.errors import ConfigError, NotAnswering, StoreError
from fluxcap.schemas.types import FeedState, StreamKey, interval_ms

POLL_S = 2
MEMORY_FILE = "alerts.json"
FILLED_KINDS = (AlertKind.FEED, AlertKind.CHROME, AlertKind.CONSENT, AlertKind.LOGGED_OUT, AlertKind.CRASH)
"""What makes candles blind, so that its end says what was filled."""
RECENT_MS = 600_000
"""A gap of the time without fluxcap may have ended so long before its start: history reaches back."""
CANDLES_MAX = 10_000
"""Candles of an asset that are looked at."""


class OpenAlertView(msgspec.Struct, frozen=True):
    """An alert that was told and is not over, as ``status`` shows it."""

    kind: str
    asset: str
    since_ms: int


class AlertsStatus(msgspec.Struct, frozen=True):
    """The state of the alerts, as ``status`` shows it. ``told``: alerts told since the start, by kind."""

    addresses: tuple[AddressStatus, ...] = ()
    open: tuple[OpenAlertView, ...] = ()
    told: dict[str, int] = {}


class AlertWatch:
    """See the module.

    Parameters
    ----------
    settings
        Those of the daemon; at least one address. Raises ConfigError for an address or a name that is none.
    view, csv, agreement
        The state of the pipeline (raises NotAnswering), of the CSV files, and of the agreement with the platform.
    reader
        Of the store, for this watch alone.
    crashed
        Whether the run before this one ended without being stopped.
    sender
        In place of apprise, for a test.
    """

    def __init__(
        self,
        settings: Settings,
        view: Callable[[], PipelineView],
        csv: Callable[[], CsvStatus],
        agreement: Callable[[], AgreementSummary],
        reader: StoreReader,
        *,
        crashed: bool,
        sender: AlertSender | None = None,
    ) -> None:
        self._settings = settings
        self._view, self._csv, self._agreement, self._reader = view, csv, agreement, reader
        self._quiet = QuietHours(settings.alert_quiet_hours)
        self._path = settings.data_dir / MEMORY_FILE
        self._kept = _read_memory(self._path)
        self._rules = AlertRules(
            settings.alert_after_s * 1_000, muted_kinds(settings.alert_mute), crashed=crashed, memory=self._kept
        )
        addresses = [address.get_secret_value() for address in settings.alerts]
        self._sender = AlertSender(addresses, apprise_delivery) if sender is None else sender
        self._told: dict[str, int] = {}

    def start(self) -> None:
        """Start the sender's threads."""
        self._sender.start()

    def stop(self) -> None:
        """Stop the sender; see there."""
        self._sender.stop()

    def status(self) -> AlertsStatus:
        """Return what ``status`` shows."""
        open_alerts = tuple(OpenAlertView(one.kind.value, one.asset, one.since_ms) for one in self._rules.open_alerts())
        return AlertsStatus(self._sender.view(), open_alerts, dict(self._told))

    def poll(self, wall_ms: int, mono_ms: int, minute_of_day: int) -> None:
        """Look once. ``wall_ms``: UTC; ``minute_of_day``: local, 0 to 1439."""
        try:
            facts = self._facts(wall_ms, mono_ms)
        except NotAnswering:
            return  # a busy daemon is asked again
        for alert in self._rules.step(facts, is_quiet=self._quiet.contains(minute_of_day)):
            self._tell(alert, facts)
        self._keep()

    def _facts(self, wall_ms: int, mono_ms: int) -> Facts:
        settings = self._settings
        return facts_of(
            self._view(),
            settings.source,
            settings.interval,
            wall_ms=wall_ms,
            mono_ms=mono_ms,
            free_bytes=_free_bytes(settings.data_dir),
            differing=sum(one.compared - one.equal for one in self._agreement().streams.values()),
            csv_lost=self._csv().lost,
        )

    def _tell(self, alert: Alert, facts: Facts) -> None:
        settings = self._settings
        is_told = alert.phase is not Phase.BEGAN and alert.kind in FILLED_KINDS
        assets = alert.assets or tuple(facts.feeds)
        fills = self._fills(assets, alert, facts.wall_ms) if is_told else {}
        zone = datetime.fromtimestamp(facts.wall_ms / 1_000).astimezone().tzinfo
        self._sender.post(message(alert, fills, zone, settings.source, facts.wall_ms))
        self._told[alert.kind.value] = self._told.get(alert.kind.value, 0) + (alert.phase is not Phase.ENDED)
        fields: dict[str, Any] = {"kind": alert.kind.value, "assets": list(alert.assets), "since_ms": alert.since_ms}
        if alert.phase is Phase.ENDED:
            log.event("alert.ended", **fields)
        else:
            log.event("alert.told", **fields)

    def _fills(self, assets: Sequence[str], alert: Alert, now_ms: int) -> dict[str, Fill]:
        """Return what became of the blind time, by asset; of a crash, of the time that fluxcap was not running."""
        found: dict[str, Fill] = {}
        step_ms = interval_ms(self._settings.interval)
        for asset in assets:
            key = StreamKey(self._settings.source, asset, self._settings.interval)
            since_ms, until_ms = alert.since_ms, alert.until_ms or now_ms
            try:
                if alert.kind is AlertKind.CRASH:
                    gaps = self._reader.gaps(key.source_id, asset, since_ms - RECENT_MS, now_ms)
                    down = [gap for gap in gaps if gap.reason == GapReason.DAEMON_DOWN]
                    if not down:
                        continue
                    since_ms, until_ms = down[-1].from_ms, down[-1].to_ms or now_ms
                count = min((now_ms - since_ms) // step_ms + 2, CANDLES_MAX)
                candles = self._reader.newest(key, count).candles
            except StoreError:
                continue
            pairs = zip(candles["ts_ms"].tolist(), candles["flags"].tolist(), strict=True)
            latest_ms = self._reader.watermarks()[key].latest_ts_ms if key in self._reader.watermarks() else 0
            found[asset] = fill_of(pairs, latest_ms, max(since_ms, until_ms - CANDLES_MAX * step_ms), until_ms, step_ms)
        return found

    def _keep(self) -> None:
        memory = self._rules.memory()
        if memory == self._kept:
            return
        try:
            whole = self._path.with_name(f"{MEMORY_FILE}.new")
            whole.write_bytes(msgspec.json.encode(memory))
            replace_file(whole, self._path)
        except OSError:
            return  # a full disk is told by an alert of its own; it is tried again
        self._kept = memory


def muted_kinds(names: Sequence[str]) -> tuple[AlertKind, ...]:
    """Return the kinds of these names. Raises ConfigError."""
    unknown = [name for name in names if name not in list(AlertKind)]
    if unknown:
        raise ConfigError(f"alert_mute: {unknown[0]!r} is no kind of alert; choose of {', '.join(AlertKind)}.")
    return tuple(map(AlertKind, names))


def facts_of(
    view: PipelineView,
    source: str,
    interval: str,
    *,
    wall_ms: int,
    mono_ms: int,
    free_bytes: int,
    differing: int = 0,
    csv_lost: int = 0,
) -> Facts:
    """Return what the rules want to know of a snapshot of the pipeline.

    Watched is what the user wants to be captured. Where no assets are locked, one that the page does not bring any more
    is not wanted any more.
    """
    market = view.market
    wanted, is_locked = set(market.wanted), market.focus_mode is FocusMode.LOCK
    feeds = {
        stream.key.symbol: FeedState(stream.feed_state)
        for stream in view.streams
        if stream.key == StreamKey(source, stream.key.symbol, interval)
        and stream.key.symbol in wanted
        and (is_locked or stream.feed_state != FeedState.UNSUBSCRIBED)
    }
    return Facts(
        wall_ms,
        mono_ms,
        has_browser=view.chrome in (ChromeState.ATTACHED, ChromeState.SILENT),
        waits_for_consent=view.chrome is ChromeState.WAITING_FOR_CONSENT,
        logged_out=market.logged_out,
        clock_in_question=market.clock_in_question,
        feeds=feeds,
        gap_reasons={asset.symbol: asset.gap_reason for asset in market.assets if asset.symbol in feeds},
        store_error=view.store_error,
        free_bytes=free_bytes,
        differing=differing,
        csv_lost=csv_lost,
    )


def _free_bytes(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 1 << 62  # not there at present: the store says so


def _read_memory(path: Path) -> AlertMemory:
    try:
        return msgspec.json.decode(path.read_bytes(), type=AlertMemory)
    except (OSError, msgspec.DecodeError):
        return AlertMemory()
