"""``fluxcap forward`` beside a daemon: as a client of its wire; or, where none runs, from the store it left."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from fluxcap.bridge.client.options import endpoints
from fluxcap.bridge.http.run_file import read_run_file
from fluxcap.bridge.jetstream.address import NatsAddress
from fluxcap.bridge.jetstream.forward.forwarder import Forwarder
from fluxcap.bridge.jetstream.forward.source import ForwardSource, StoreSource, store_statuses
from fluxcap.bridge.jetstream.forward.status import ForwardState, ForwardStatus
from fluxcap.bridge.jetstream.forward.wire_source import WireSource
from fluxcap.bridge.store.store import Store
from fluxcap.bridge.system.folders import STORE_FILE
from fluxcap.bridge.system.signals import catch_stop_signals, exit_code
from fluxcap.bridge.transport.curve import ClientCurve
from fluxcap.capture.daemon.forwarding import log_forward_event
from fluxcap.capture.runtime import log
from fluxcap.schemas.errors import ConfigError, NatsError, NatsUnavailable, NotAnswering

POLL_S = 0.2
NO_SOURCE_S = 10.0
"""With ``once``, how long a daemon that does not answer is waited for."""


class ForwardTarget(msgspec.Struct, frozen=True):
    """Source and destination of forwarding. ``pub``, ``rep``: None for those in the data folder's run file."""

    address: NatsAddress
    stream: str
    data_dir: Path
    pub: str | None = None
    rep: str | None = None
    curve: ClientCurve | None = None


def forward_standalone(
    target: ForwardTarget, *, once: bool, log_json: bool, debug: bool = False
) -> tuple[ForwardStatus, int]:
    """Forward until Ctrl-C or SIGTERM, or, with ``once`` or of a stopped daemon, until all is on JetStream.

    Returns how it ended, and the exit code. Raises ConfigError, StoreError; when it is to end by itself also NatsError
    (NATS is unavailable or refuses) and NotAnswering (no daemon answers).
    """
    log.set_up(as_json=log_json, level=logging.DEBUG if debug else logging.INFO)
    with log.own_output(as_json=log_json), catch_stop_signals() as asked, _source(target) as (source, ends):
        forwarder = Forwarder(source, target.address, target.data_dir, stream=target.stream, on_event=log_forward_event)
        try:
            with forwarder:
                view = _wait(forwarder, asked, once=once or ends)
        finally:
            log.event("forward.stopped", **_summary(forwarder.view()))
    return msgspec.structs.replace(view, counters=forwarder.view().counters), exit_code(asked)


def _wait(forwarder: Forwarder, asked: list[int], *, once: bool) -> ForwardStatus:
    idle = threading.Event()
    polls = 0
    while not asked:
        idle.wait(POLL_S)  # signal handlers run within
        view = forwarder.view()
        if not once:
            continue
        polls += 1
        if view.state is ForwardState.UP_TO_DATE:
            if view.blocked_streams:
                stream, reason = next(iter(view.blocked_streams.items()))
                raise NatsError(f"{len(view.blocked_streams)} streams could not be forwarded; {stream}: {reason}.")
            return view
        if view.state is ForwardState.REJECTED:
            raise NatsError(view.reason)
        if view.state is ForwardState.UNAVAILABLE and polls * POLL_S > NO_SOURCE_S:
            raise NatsUnavailable(view.reason)
        if view.source_error and polls * POLL_S > NO_SOURCE_S:
            raise NotAnswering(f"{view.source_error[:1].upper()}{view.source_error[1:]}.")
    return forwarder.view()


@contextmanager
def _source(target: ForwardTarget) -> Iterator[tuple[ForwardSource, bool]]:
    """Yield the source, and whether it has an end."""
    run = read_run_file(target.data_dir)
    runs = run is not None and not run.is_stale()
    path = target.data_dir / STORE_FILE
    if target.pub or target.rep:
        yield WireSource(*endpoints(target.pub, target.rep), target.curve), False
    elif run is not None and runs:
        yield WireSource(run.pub, run.rep, target.curve), False
    elif path.is_file():
        with Store.open(path) as store:
            statuses = store_statuses(store)
            yield StoreSource(store.reader(), lambda: statuses), True
    else:
        raise ConfigError(
            f"No fluxcap is running on {target.data_dir}, and it has no store; name the folder with --data-dir, or "
            "the endpoints of a daemon with --pub and --rep."
        )


def _summary(view: ForwardStatus) -> dict[str, int]:
    return {name: view.counters.get(name, 0) for name in ("batches", "candles", "revisions")} | {"behind": view.behind}
