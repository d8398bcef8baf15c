"""Prints streams as they happen: what ``fluxcap tail`` does. It is a consumer of the live client like any other."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from fluxcap.bridge.client.events import Candles, Event
from fluxcap.bridge.client.fetch import list_streams
from fluxcap.bridge.client.live import LiveClient
from fluxcap.bridge.client.options import ViaLike
from fluxcap.bridge.client.receiver.actions import StartFrom
from fluxcap.bridge.terminal.console import SafeConsole
from fluxcap.bridge.terminal.printable import printable_json
from fluxcap.bridge.terminal.selectors import StreamSelector
from fluxcap.bridge.terminal.tail_view import TailScreen, to_json_lines
from fluxcap.bridge.transport.curve import ClientCurve
from fluxcap.schemas.errors import ConfigError, FluxcapError
from fluxcap.schemas.types import StreamKey, StreamStatus

CONTEXT_CANDLES = 10
"""Without a data folder and a first sequence, so many candles come before the live ones."""
POLL_SECONDS = 0.2
DISCOVERY_S = 5.0
"""How often streams are looked for that a pattern matches."""


def tail(
    wanted: StreamKey | Sequence[StreamSelector],
    *,
    pub: str | None = None,
    rep: str | None = None,
    data_dir: str | Path | None = None,
    from_sequence: int | None = None,
    as_json: bool = False,
    seconds: float | None = None,
    most_candles: int | None = None,
    out: TextIO | None = None,
    stop: threading.Event | None = None,
    curve: ClientCurve | None = None,
    via: ViaLike = None,
    on_message: Callable[[str], None] = lambda text: None,
) -> int:
    """Print candles, gaps and health of streams until stopped; the number of candles printed.

    wanted: a stream, or several, or patterns, of which new streams are taken in as they appear. data_dir: keep a copy
    there, and resume from it. from_sequence: the first candle wanted; without it and without a data_dir the last ten
    come first. as_json: one JSON value a line (types candle, revision, gap, health, store_replaced, caught_up).
    seconds, most_candles: end after so long, or so many. stop: ends it from another thread. via: JetStream in place of
    a server, as in ``LiveClient``. tell: gets a sentence while streams cannot be looked for, or none is there. Ends
    quietly when ``out`` is a pipe that nobody reads any more.

    Raises StoreLocked, StoreError, ConfigError.
    """
    wishes = [] if isinstance(wanted, StreamKey) else wanted
    keys = [wanted] if isinstance(wanted, StreamKey) else [key for wish in wishes if (key := wish.key) is not None]
    patterns = [wish for wish in wishes if wish.key is None]
    start: StartFrom | int
    start = from_sequence if from_sequence else StartFrom.RESUME if data_dir is not None else -CONTEXT_CANDLES
    end = time.monotonic() + seconds if seconds is not None else None
    client = LiveClient(pub, rep, data_dir, streams=keys, start_from=start, curve=curve, via=via)
    screen = TailScreen(client.health, many=len(wishes) > 1 or bool(patterns))
    for key in keys:
        screen.follow(key)
    looking = _StreamDiscovery(patterns, lambda: list_streams(rep, curve=curve, via=via), client, screen, on_message)
    printed = 0
    with client, looking, contextlib.suppress(BrokenPipeError), _printer(screen, as_json, out or sys.stdout) as show:
        while not (stop is not None and stop.is_set()) and (end is None or time.monotonic() < end):
            for event in client.events(timeout=POLL_SECONDS):
                show(event)
                if isinstance(event, Candles):
                    printed += len(event.candles)
                if (stop is not None and stop.is_set()) or (end is not None and time.monotonic() >= end):
                    break
                if most_candles is not None and printed >= most_candles:
                    return printed
    return printed


class _StreamDiscovery:
    """Subscribes to what matches a pattern, as it appears. A thread of its own; a context manager."""

    def __init__(
        self,
        patterns: Sequence[StreamSelector],
        list_all: Callable[[], Sequence[StreamStatus]],
        client: LiveClient,
        screen: TailScreen,
        on_message: Callable[[str], None],
    ) -> None:
        self._patterns = patterns
        self._list_all = list_all
        self._client = client
        self._screen = screen
        self._on_message = on_message
        self._told = ""
        self._known: set[StreamKey] = set()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fluxcap-tail", daemon=True)

    def __enter__(self) -> _StreamDiscovery:
        if self._patterns:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        if self._patterns:
            self._thread.join()

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self._poll()
            except FluxcapError as error:
                self._say(str(error))
            self._ending.wait(DISCOVERY_S if self._known else DISCOVERY_S / 5)

    def _poll(self) -> None:
        found = [status.key for status in self._list_all()]
        matching = [key for key in found if any(pattern.matches(key) for pattern in self._patterns)]
        if not matching and not self._known:
            self._say(f"No stream is {' or '.join(map(str, self._patterns))} yet; waiting.")
        for key in matching:
            if key not in self._known:
                with contextlib.suppress(ConfigError):  # the client has just ended
                    self._client.subscribe(key)
                    self._screen.follow(key)
                    self._known.add(key)

    def _say(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self._on_message(text)


@contextlib.contextmanager
def _printer(screen: TailScreen, as_json: bool, out: TextIO) -> Iterator[Callable[[Event], None]]:
    if as_json:

        def show_json(event: Event) -> None:
            for line in to_json_lines(event):
                out.write(printable_json(line) + "\n")
            out.flush()

        yield show_json
        return
    console = SafeConsole(file=out, highlight=False, soft_wrap=True)
    if not console.is_terminal:

        def show_plain(event: Event) -> None:
            _print_all(console, screen.lines(event, with_health=True))

        yield show_plain
        return
    with Live(get_renderable=screen.status_line, console=console, refresh_per_second=5):

        def show_live(event: Event) -> None:
            _print_all(console, screen.lines(event, with_health=False))

        yield show_live


def _print_all(console: Console, lines: list[Text]) -> None:
    if lines:
        console.print(Text("\n").join(lines))
