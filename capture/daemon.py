"""The composition root: the only file that joins capture and bridge into a running daemon.

``Daemon(settings).start()`` returns once everything listens; ``stop()`` flushes and lets go within two seconds and
seals nothing early. A browser need not be there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from types import TracebackType

import msgspec
from apscheduler.schedulers.background import BackgroundScheduler

from bridge.server import WireServer
from capture import log
from capture.chrome.endpoint import parse_endpoint
from capture.chrome_watch import ChromeWatch
from capture.control import ControlServer, control_app
from capture.daemon_files import RUN_FILE, RunFile
from capture.focus import Focus, FocusMode
from capture.market import Market, MarketTimes
from capture.pipeline import ChromeState, Listener, Pipeline, Published
from capture.platforms.base import Platform
from capture.platforms.pocketoption import PocketOption
from capture.settings import Settings
from capture.status import Identity, Status, status_of
from schemas.errors import ConfigError
from schemas.types import Candle, StreamKey, interval_ms

CHECKPOINT_S = 60


def platform_named(name: str, extra_hosts: Sequence[str]) -> Platform:
    """The platform plug-in of that name. Raises ConfigError."""
    if name == PocketOption.name:
        return PocketOption(extra_hosts)
    raise ConfigError(f"There is no platform {name!r}; known: {PocketOption.name}.")


class Daemon:
    """A running fluxcap. Raises ConfigError, AlreadyRunning, StoreError from its constructor."""

    def __init__(self, settings: Settings, *, listeners: Sequence[Listener] = ()) -> None:
        host, port = parse_endpoint(settings.chrome)
        self.settings = settings
        platform = platform_named(settings.platform, settings.platform_url)
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        self.server = WireServer(settings.store_path, settings.pub, settings.rep)
        try:
            self.market = Market(
                platform,
                interval_ms(settings.interval),
                Focus(FocusMode.LOCK, settings.focus) if settings.focus else Focus(FocusMode.FOLLOW),
                lambda symbol: self.server.watermark(self.key(symbol)).latest_ts_ms,
                MarketTimes(settings.grace_ms, settings.doubt_ms, settings.history_wait_ms),
            )
            self._scheduler = BackgroundScheduler(
                timezone="UTC", job_defaults={"misfire_grace_time": None, "coalesce": True}
            )
            self.pipeline = Pipeline(
                self.market, self.server, self.key, platform.is_page, listeners=[*listeners, _WatchListener(self)]
            )
            self.watch = ChromeWatch(self.pipeline, self._scheduler, host, port)
            app = control_app(self.pipeline, self.market, self.status, ())
            self.control = ControlServer(app, settings.web_host, settings.listen_port)
        except BaseException:
            self.server.close()
            raise
        self._started_s = time.monotonic()
        self.identity = Identity(
            version=version("fluxcap"),
            pid=os.getpid(),
            pub=self.server.pub_endpoint,
            rep=self.server.rep_endpoint,
            control=f"http://{self.control.host}:{self.control.port}",
            data_dir=str(settings.data_dir.resolve()),
            source=settings.source,
            interval=settings.interval,
            chrome_endpoint=settings.chrome,
        )

    def key(self, symbol: str) -> StreamKey:
        """The stream of a symbol."""
        return StreamKey(self.settings.source, symbol, self.settings.interval)

    def start(self) -> None:
        self.pipeline.start()
        self.control.start()
        self._scheduler.add_job(self._checkpoint, "interval", seconds=CHECKPOINT_S, id="checkpoint")
        self._scheduler.start()
        self.watch.start()
        run = RunFile(self.identity.pid, self.identity.control, self.identity.pub, self.identity.rep)
        self._run_file.write_bytes(msgspec.json.encode(run))
        log.event("fluxcap runs", pub=run.pub, rep=run.rep, control=run.control, data=self.identity.data_dir)

    def stop(self) -> None:
        """Flush, close, let go. Nothing is sealed early."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        self.control.stop()
        self.pipeline.stop()
        self.server.close()
        self._run_file.unlink(missing_ok=True)
        log.event("fluxcap stopped")

    def status(self) -> Status:
        return status_of(
            self.identity,
            self.pipeline.view(),
            now_ms=time.time_ns() // 1_000_000,
            uptime_s=time.monotonic() - self._started_s,
            collect=self.settings.collect.value,
        )

    def __enter__(self) -> Daemon:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _run_file(self) -> Path:
        return self.settings.data_dir / RUN_FILE

    def _checkpoint(self) -> None:
        if self.pipeline.alive:
            self.pipeline.ask(self.server.store.checkpoint)


class _WatchListener:
    """Tells the watch of a lost browser."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def published(self, news: Published) -> None:
        pass

    def forming(self, key: StreamKey, candle: Candle) -> None:
        pass

    def chrome_changed(self, state: ChromeState, reason: str) -> None:
        self._daemon.watch.chrome_changed(state, reason)
