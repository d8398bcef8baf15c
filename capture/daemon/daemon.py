"""The composition root: the only file that joins capture and bridge into a running daemon.

``Daemon(settings).start()`` returns once everything listens; ``stop()`` flushes and lets go within two seconds and
seals nothing early. A browser need not be there.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from apscheduler.schedulers.background import BackgroundScheduler

from fluxcap.bridge.http.run_file import RUN_FILE, RunFile, read_run_file, write_run_file
from fluxcap.bridge.jetstream.forward.status import ForwardStatus
from fluxcap.bridge.server.derivation import derive_past
from fluxcap.bridge.server.server import WireServer
from fluxcap.bridge.server.timeframes import Timeframes
from fluxcap.bridge.store.store import Store, StoreListener
from fluxcap.bridge.system.files import is_full, remove_file
from fluxcap.bridge.system.ports import process_on_port
from fluxcap.bridge.system.sleep import SleepWatch
from fluxcap.bridge.transport.addresses import in_address, is_wildcard, reachable_here
from fluxcap.bridge.transport.curve import ServerCurve, server_keys, with_own_client
from fluxcap.capture.alerts.watch import POLL_S as ALERTS_S
from fluxcap.capture.alerts.watch import AlertWatch
from fluxcap.capture.api.http_server import HttpServer
from fluxcap.capture.api.metrics import Metrics, MetricsSnapshot
from fluxcap.capture.api.relay import EventRelay
from fluxcap.capture.api.status import DaemonInfo, Status, build_status, page_obstacle
from fluxcap.capture.chrome.connection import Connection
from fluxcap.capture.chrome.endpoint import parse_endpoint
from fluxcap.capture.collect.gate import GateKeeper
from fluxcap.capture.collect.runner import CollectionRunner
from fluxcap.capture.csvfiles.writer import CsvWriter
from fluxcap.capture.daemon.forwarding import ForwardingListener
from fluxcap.capture.daemon.keep_chrome import kept_chrome
from fluxcap.capture.market.clock import ClockPrior
from fluxcap.capture.market.focus import Focus, FocusMode
from fluxcap.capture.market.market import Market
from fluxcap.capture.pipeline.journal import TickJournal, read_journal_contents, read_waiting
from fluxcap.capture.pipeline.kept import KeptFacts
from fluxcap.capture.pipeline.listeners import Listener
from fluxcap.capture.pipeline.pipeline import Connect, Pipeline
from fluxcap.capture.pipeline.reconnect import ChromeReconnector, browser_locator, consent_keeper
from fluxcap.capture.pipeline.restore import restore_market
from fluxcap.capture.pipeline.tick_publisher import TickPublisher
from fluxcap.capture.platforms.base import PlatformHints
from fluxcap.capture.platforms.registry import check_source, platform_named
from fluxcap.capture.recording.file import RecordingWriter
from fluxcap.capture.recording.recorder import market_times, open_recorder
from fluxcap.capture.runtime import log
from fluxcap.capture.runtime.folders import state_dir
from fluxcap.capture.runtime.settings import Settings
from fluxcap.schemas.errors import AlreadyRunning, ConfigError, FluxcapError, NotAnswering, StoreError, StoreFull
from fluxcap.schemas.types import Candle, Gap, StreamKey, interval_ms

if TYPE_CHECKING:
    from fastapi import FastAPI

CHECKPOINT_S = 60
LEASES_S = 5
PAGE_S = 5
SLEEP_S = 5
PROGRESS_S = 5
PRUNE_S = 3_600
PRUNE_TIMEOUT_S = 60.0
DAY_MS = 86_400_000


class Daemon:
    """A running fluxcap. Raises ConfigError, AlreadyRunning, StoreError from its constructor.

    ``connect``: what opens the browser connection, for a test that looks on.
    """

    def __init__(
        self, settings: Settings, *, listeners: Sequence[Listener] = (), connect: Connect = Connection
    ) -> None:
        parse_endpoint(settings.chrome)
        self.settings = settings
        platform = platform_named(settings.platform, settings.platform_url, settings.platforms)
        check_source(settings.platform, settings.source, settings.platforms)
        self.metrics = Metrics(version("fluxcap"))
        keys = server_keys(settings.curve) if settings.curve else None
        curve, self._own_curve = with_own_client(keys)
        self.server = _wire_server(settings, curve, self.metrics.observe)
        self._recording: RecordingWriter | None = None
        try:
            self._forwarding = ForwardingListener(settings, self.server) if settings.forward else None
            self.persistence = CsvWriter(
                settings.data_dir,
                settings.collect,
                settings.tick_chunk_size,
                settings.candle_chunk_size,
                timeframes=settings.csv_timeframes,
            )
            focus = Focus(FocusMode.LOCK, settings.focus) if settings.focus else Focus(FocusMode.FOLLOW)
            self.clock_prior = prior = self._clock_prior()
            self.market = Market(
                platform,
                interval_ms(settings.interval),
                focus,
                lambda symbol: self.server.watermark(self.key(symbol)).latest_ts_ms,
                market_times(settings),
                prior,
                self._stored,
                [interval_ms(timeframe) for timeframe in settings.derived_timeframes],
            )
            self.server.derived.is_covered = self.market.is_covered
            kept = KeptFacts(self.market, self.server.store, settings.source)
            kept.restore()
            recorder = None
            if settings.record is not None:
                published = self._published()
                begun = self.market.focus if settings.focus else Focus(FocusMode.FOLLOW, self.market.followed)
                recorder, self._recording = open_recorder(settings.record, settings, platform, begun, published, prior)
            self._scheduler = BackgroundScheduler(
                timezone="UTC", job_defaults={"misfire_grace_time": None, "coalesce": True}
            )
            folder = settings.data_dir / "journal"
            left = read_journal_contents(folder, self._published_to_ms)
            self.journal = TickJournal(
                folder,
                published_to_ms=self._published_to_ms,
                focused=self.market.focused_symbols,
                closed_files=left.newest,
            )
            gaps = self.server.store.reader().gaps(settings.source)
            left_open = [gap for gap in gaps if gap.symbol and not gap.to_ms]
            restore_market(self.market, left.stretches, recorder, left_open, read_waiting(folder))
            self.market.track(self._published())
            relay = EventRelay() if settings.web else None
            self.pipeline = Pipeline(
                self.market,
                self.server,
                self.key,
                platform.is_page,
                listeners=[
                    *listeners,
                    self.persistence,
                    self.metrics,
                    *([relay] if relay else []),
                    *([self._forwarding] if self._forwarding else []),
                    *([TickPublisher(self.server, self.key)] if settings.publish_ticks else []),
                ],
                connect=connect,
                journal=self.journal,
                recorder=recorder,
                keep_offset=self._keep_offset,
                keep=kept.keep,
                hints=PlatformHints(platform),
                is_derived=self.server.derived.is_derived,
            )
            self.alerts = self._alert_watch() if settings.alerts else None
            find = browser_locator(settings)
            self._kept_chrome = kept_chrome(settings, find) if settings.keep_chrome else None
            self.watch = ChromeReconnector(
                self.pipeline, self._scheduler, self._kept_chrome or find, consent_keeper(settings)
            )
            self.gate = GateKeeper(self.pipeline, platform.is_page, settings)
            self.collection = CollectionRunner(settings, lambda: page_obstacle(self.pipeline.view()))
            self._relay = relay
            self._control_reader = self.server.store.reader()
            self._gaps_reader = self.server.store.reader()
            self.control = HttpServer(self._make_app, settings.web_host, settings.listen_port)
        except BaseException:
            self._end_recording()
            self.server.close()
            raise
        self._started_s = time.monotonic()
        self._sleep = SleepWatch()
        self.identity = DaemonInfo(
            version=version("fluxcap"),
            pid=os.getpid(),
            pub=self.server.pub_endpoint,
            rep=self.server.rep_endpoint,
            control=f"http://{in_address(self.control.host)}:{self.control.port}",
            data_dir=str(settings.data_dir.resolve()),
            source=settings.source,
            interval=settings.interval,
            chrome_endpoint="its profile's port" if settings.consent else settings.chrome,
            consent=settings.consent,
        )

    def key(self, symbol: str) -> StreamKey:
        """The stream of a symbol."""
        return StreamKey(self.settings.source, symbol, self.settings.interval)

    def start(self) -> None:
        self.metrics.register_source(self._snapshot)
        self.persistence.start()
        self.pipeline.start()
        if self._forwarding is not None:
            self._forwarding.start()
        self._scheduler.add_job(self._checkpoint, "interval", seconds=CHECKPOINT_S, id="checkpoint")
        self._scheduler.add_job(self._expire_leases, "interval", seconds=LEASES_S, id="leases")
        if self.settings.retention_days:
            now = datetime.now(UTC)
            self._scheduler.add_job(self._prune, "interval", seconds=PRUNE_S, id="retention", next_run_time=now)
        if self._kept_chrome is not None:
            self._scheduler.add_job(self._remember_page, "interval", seconds=PAGE_S, id="page")
        self._scheduler.add_job(self._look_for_sleep, "interval", seconds=SLEEP_S, id="sleep")
        if self.alerts is not None:
            self.alerts.start()
            self._scheduler.add_job(self._watch_for_alerts, "interval", seconds=ALERTS_S, id="alerts", max_instances=1)
        self._scheduler.start()
        who = self.identity
        self._write_run_file(tried_before=False)
        log.event("daemon.started", pub=who.pub, rep=who.rep, control=who.control, data=who.data_dir)
        self.watch.start()
        self.control.start()  # last: its imports would take their time from the attach

    @property
    def alive(self) -> bool:
        """Return whether all of it works; else ``failure`` says why."""
        return self.pipeline.alive and self.control.failure is None

    @property
    def failure(self) -> BaseException | None:
        return self.pipeline.failure or self.control.failure

    def stop(self) -> None:
        """Flush and close. Nothing is sealed early. Idempotent."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        self.watch.stop()
        self.collection.stop()
        self.gate.close()
        self.control.stop()
        self.pipeline.stop()
        self.persistence.stop()
        self.journal.close()
        self._end_recording()
        if self._forwarding is not None:
            self._forwarding.stop()
        self.server.close()
        if self.alerts is not None:
            self.alerts.stop()
        run = read_run_file(self.settings.data_dir)
        if run is not None and run.pid == self.identity.pid:
            remove_file(self.settings.data_dir / RUN_FILE)  # or the next start finds that it is stale
            log.event("daemon.stopped")

    def status(self) -> Status:
        return build_status(
            self.identity,
            self.pipeline.view(),
            now_ms=time.time_ns() // 1_000_000,
            uptime_s=time.monotonic() - self._started_s,
            collect=self.persistence.view(),
            forward=self._forward_view(),
            agreement=self.server.store.agreement,
            alerts=self.alerts.status() if self.alerts is not None else None,
        )

    def _snapshot(self) -> MetricsSnapshot:
        now_ms = time.time_ns() // 1_000_000
        forward = self._forward_view()
        return MetricsSnapshot(
            self.pipeline.view(),
            self.persistence.view(),
            self.server.counters,
            now_ms,
            forward,
            self.server.store.agreement,
            self.alerts.status() if self.alerts is not None else None,
        )

    def _alert_watch(self) -> AlertWatch:
        """Raises ConfigError for an address that is none, or where the extra is not installed."""
        return AlertWatch(
            self.settings,
            self.pipeline.view,
            self.persistence.view,
            lambda: self.server.store.agreement,
            self.server.store.reader(),
            crashed=read_run_file(self.settings.data_dir) is not None,  # an orderly end takes it away
        )

    def _watch_for_alerts(self) -> None:
        if self.alerts is not None:
            here = datetime.now(UTC).astimezone()
            self.alerts.poll(
                time.time_ns() // 1_000_000, time.monotonic_ns() // 1_000_000, here.hour * 60 + here.minute
            )

    def _forward_view(self) -> ForwardStatus | None:
        return None if self._forwarding is None else self._forwarding.view()

    def __enter__(self) -> Daemon:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _make_app(self) -> FastAPI:
        """The application of the control port. Called in the web's thread, while the browser is attached already.

        Hence its imports stand here: they are a third of all that a start imports.
        """
        from fluxcap.capture.api.app import control_app
        from fluxcap.capture.api.routes import (
            browser_router,
            collection_router,
            csv_settings_router,
            history_import_router,
        )

        settings = self.settings
        hosts = () if is_wildcard(settings.web_host) else (settings.web_host,)
        app = control_app(self.pipeline, self.market, self.status, hosts, settings.web_origin)
        app.include_router(csv_settings_router(self.persistence, self._control_reader, self.metrics))
        app.include_router(browser_router(self.watch, self.pipeline, self.gate.open))
        app.include_router(collection_router(self.collection))
        app.include_router(history_import_router(self.pipeline, self.server, settings.source, settings.interval))
        if self._relay is not None:
            self._add_web(app, self._relay)
        return app

    def _add_web(self, app: FastAPI, relay: EventRelay) -> None:
        from fluxcap.bridge.dashboard.app import mount_dashboard
        from fluxcap.bridge.web.reader import ReaderTarget
        from fluxcap.bridge.web.readers import Readers
        from fluxcap.bridge.web.routes import add_readers
        from fluxcap.capture.api.socketio import mount_socketio
        from fluxcap.capture.api.source import DaemonStreamBackend
        from fluxcap.capture.csvfiles.catalog import csv_text

        settings = self.settings
        source = DaemonStreamBackend(self.pipeline, self.market, self.server, settings.source, settings.interval)
        mount_socketio(app, source, relay, settings.data_dir)
        endpoints = reachable_here(self.server.pub_endpoint), reachable_here(self.server.rep_endpoint)
        gaps, reading = self._gaps_reader, threading.Lock()

        def gaps_of(key: StreamKey, from_ms: int, to_ms: int | None) -> list[Gap]:
            with reading:
                return gaps.gaps(key.source_id, key.symbol, from_ms, to_ms)

        add_readers(app, Readers(lambda: ReaderTarget(*endpoints, self._own_curve), gaps_of))
        mount_dashboard(app, lambda path: csv_text(settings.data_dir, path))

    def _end_recording(self) -> None:
        if self._recording is not None:
            with contextlib.suppress(FluxcapError):  # the recorder has reported it
                self._recording.close()

    def _published(self) -> dict[str, int]:
        marks = self.server.store.watermarks()
        return {key.symbol: mark.latest_ts_ms for key, mark in marks.items() if key == self.key(key.symbol)}

    def _clock_prior(self) -> ClockPrior:
        """Return what the store knows of the clock."""
        newest_ms = max(self._published().values(), default=0)
        stored_to_ms = newest_ms + interval_ms(self.settings.interval) if newest_ms else 0
        kept = self.server.store.kept_offset(self.settings.source)
        if kept is None:
            return ClockPrior(stored_to_ms=stored_to_ms)
        return ClockPrior(kept.offset_ms, stored_to_ms, kept.kept_ms)

    def _keep_offset(self, offset_ms: int) -> None:
        """Keep the platform's offset for the next start; the time of the first keeping stays with it."""
        try:
            kept = self.server.store.kept_offset(self.settings.source)
            if kept is None or kept.offset_ms != offset_ms:
                self.server.store.keep_offset(self.settings.source, offset_ms)
        except StoreError as error:
            log.warn("store.write_failed", reason=str(error))

    def _stored(self, symbol: str, from_ms: int) -> Sequence[Candle]:
        try:
            return self.server.candles_since(self.key(symbol), from_ms)
        except StoreError as error:
            log.warn("store.read_failed", reason=str(error))
            return ()

    def _published_to_ms(self, symbol: str) -> int:
        """End (UTC ms) of the newest candle that the store has of an asset; 0 for none."""
        mark = self.server.store.watermarks().get(self.key(symbol))
        stored_ms = mark.latest_ts_ms + interval_ms(self.settings.interval) if mark and mark.latest_ts_ms else 0
        sealed_ms = self.market.sealed_to_ms(symbol)
        return stored_ms if sealed_ms is None else min(stored_ms, sealed_ms)

    def _write_run_file(self, *, tried_before: bool) -> None:
        """Commands find the daemon by it; a full disk, which capture waits out, must not keep it from starting."""
        who = self.identity
        try:
            write_run_file(self.settings.data_dir, RunFile(who.pid, who.control, who.pub, who.rep))
        except OSError as error:
            if not tried_before:
                log.warn("daemon.run_file_write_failed", reason=error.strerror)
            self._scheduler.add_job(
                self._write_run_file,
                run_date=datetime.now(UTC) + timedelta(seconds=1),
                kwargs={"tried_before": True},
                id="run file",
                replace_existing=True,
            )
        else:
            if tried_before:
                log.event("daemon.run_file_written")

    def _expire_leases(self) -> None:
        with contextlib.suppress(NotAnswering):
            self.pipeline.expire_leases()

    def _look_for_sleep(self) -> None:
        """Say that this computer slept, and look for the browser at once."""
        slept_s = self._sleep.slept_s()
        if slept_s:
            log.event("computer.woke", slept_s=round(slept_s))
            self.watch.poll()

    def _remember_page(self) -> None:
        """Remember the trading page that is open, for the Chrome that is started after this one."""
        with contextlib.suppress(NotAnswering):
            session = self.pipeline.view().session
            page = next((tab.url for tab in session.tabs if tab.kind == "page"), "") if session else ""
            if page and self._kept_chrome is not None:
                self._kept_chrome.remember(page)

    def _prune(self) -> None:
        """Forget what is older than the retention; a stream's newest candle always stays."""
        before_ms = time.time_ns() // 1_000_000 - self.settings.retention_days * DAY_MS
        try:
            pruned = self.pipeline.call(lambda: self.server.prune(before_ms), PRUNE_TIMEOUT_S)
        except (NotAnswering, StoreError) as error:
            log.warn("retention.prune_failed", reason=str(error))
        else:
            log.event("retention.pruned", candles=pruned, days=self.settings.retention_days)

    def _checkpoint(self) -> None:
        if self._scheduler.running and read_run_file(self.settings.data_dir) is None:
            self._write_run_file(tried_before=False)  # it was deleted, or the folder with it
        try:
            self.pipeline.call(self.server.store.checkpoint)
        except (NotAnswering, StoreError) as error:
            log.warn("store.checkpoint_failed", reason=str(error))


class _StoreEvents(StoreListener):
    """Logs what happens to the store's file."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def _is_due(self) -> bool:
        if time.monotonic() < self._next_s:
            return False
        self._next_s = time.monotonic() + PROGRESS_S
        return True

    def deriving(self, done: int, total: int) -> None:
        """So many of the base candles have been folded into those of longer intervals."""
        if self._is_due():
            log.event("store.deriving", done=done, total=total)

    def migrating(self, done_bytes: int, total_bytes: int) -> None:
        if self._is_due():
            log.event("store.migrating", done_mb=done_bytes // 1_000_000, total_mb=total_bytes // 1_000_000)

    def rewritten(self, path: Path) -> None:
        log.warn("store.rewritten", path=str(path))


def _wire_server(settings: Settings, curve: ServerCurve | None, observe: Callable[[str, float], None]) -> WireServer:
    """Raises StoreError, ConfigError, AlreadyRunning; the last says which process holds a port, if that is known."""
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        kind = StoreFull if is_full(error) else ConfigError
        raise kind(f"The data folder {settings.data_dir} cannot be made: {error.strerror}.") from None

    timeframes = Timeframes(settings.source, settings.interval, settings.derived_timeframes)

    def opened() -> Store:
        events = _StoreEvents()
        store = Store.open(settings.store_path, listener=events, state_dir=state_dir())
        if store.migration is not None:
            log.event("store.migrated", copy=str(store.migration.copy))
        try:
            made = derive_past(store, timeframes, time.time_ns() // 1_000_000, events.deriving)
        except BaseException:
            store.close()
            raise
        if made:
            log.event("store.derived", candles=made, timeframes=",".join(timeframes.longer))
        return store

    try:
        return WireServer(opened, settings.pub, settings.rep, curve=curve, observe=observe, timeframes=timeframes)
    except AlreadyRunning as error:
        ports = [endpoint.rpartition(":")[2] for endpoint in (settings.pub, settings.rep) if endpoint in str(error)]
        holder = process_on_port(int(ports[0])) if ports and ports[0].isdecimal() else ""
        raise AlreadyRunning(f"{error} It is used by {holder}." if holder else str(error)) from None
