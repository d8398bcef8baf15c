"""The forwarder in the daemon: a listener that notifies it, and its events in the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fluxcap.bridge.jetstream.address import parse_address
from fluxcap.bridge.jetstream.forward.forwarder import Forwarder
from fluxcap.bridge.jetstream.forward.source import StoreSource
from fluxcap.bridge.jetstream.forward.status import ForwardEvent, ForwardStatus
from fluxcap.bridge.server.server import WireServer
from fluxcap.capture.pipeline.listeners import Listener, PublishedUpdate
from fluxcap.capture.runtime import log
from fluxcap.capture.runtime.settings import Settings

STOP_FLUSH_S = 0.5
"""How long a stopping daemon waits until its last commits are on JetStream; the next start sends what is not."""

_LOG_EVENTS: dict[ForwardEvent, Callable[..., None]] = {
    ForwardEvent.FORWARDING: lambda **fields: log.event("forward.connected", **fields),
    ForwardEvent.UNAVAILABLE: lambda **fields: log.warn("forward.server_unavailable", **fields),
    ForwardEvent.REJECTED: lambda **fields: log.warn("forward.server_rejected", **fields),
    ForwardEvent.BLOCKED: lambda **fields: log.warn("forward.stream_blocked", **fields),
    ForwardEvent.NEW_STORE: lambda **fields: log.warn("forward.store_changed", **fields),
    ForwardEvent.PRUNED: lambda **fields: log.warn("forward.candles_pruned", **fields),
    ForwardEvent.CHECKPOINT_FAILED: lambda **fields: log.warn("forward.checkpoint_failed", **fields),
    ForwardEvent.FAILED: lambda **fields: log.warn("forward.error", **fields),
}


def log_forward_event(notice: ForwardEvent, fields: Mapping[str, Any]) -> None:
    """Log what a forwarder reports."""
    _LOG_EVENTS[notice](**fields)


class ForwardingListener(Listener):
    """Forwards the daemon's store while it runs. A listener of the pipeline; never keeps it waiting.

    Raises ConfigError: no address, no such file of credentials, or NATS is not installed.
    """

    def __init__(self, settings: Settings, server: WireServer) -> None:
        address = parse_address(settings.forward or "", settings.nats_credentials)
        self._source = StoreSource(server.pages(), server.status)
        self._forwarder = Forwarder(
            self._source, address, settings.data_dir, stream=settings.nats_stream, on_event=log_forward_event
        )

    def start(self) -> None:
        self._forwarder.start()

    def stop(self) -> None:
        """Idempotent."""
        self._source.notify()
        self._forwarder.await_view(lambda view: not (view.state.is_connected and view.behind), STOP_FLUSH_S)
        self._forwarder.stop()

    def view(self) -> ForwardStatus:
        return self._forwarder.view()

    def published(self, update: PublishedUpdate) -> None:
        if update.batches or update.revisions or update.derived:
            self._source.notify()
