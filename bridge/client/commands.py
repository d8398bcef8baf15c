"""What other threads want done, carried out by the one thread that talks to the server.

Whoever asks is answered, whenever it is: what comes after the end is refused like what waited at the end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue

from schemas.errors import ConfigError, FluxcapError


class Commands:
    """``wake`` makes the thread that obeys look soon; it is called from the threads that ask."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._waiting: SimpleQueue[tuple[Callable[[], None], Future[None]]] = SimpleQueue()
        self._ended = threading.Event()

    def carry_out(self, command: Callable[[], None]) -> None:
        """Have it done, and wait until it is. Raises what it raised; ConfigError when nobody obeys any more."""
        done: Future[None] = Future()
        self._waiting.put((command, done))
        self._wake()
        if self._ended.is_set():  # it may have been put after the last look
            self._refuse()
        done.result()

    def obey(self) -> None:
        """Carry out what waits; for the thread that talks to the server.

        A FluxcapError goes to who asked. So does anything else, which no argument can cause and which nobody knows how
        to go on from: it is also raised.
        """
        while (asked := self._next()) is not None:
            command, done = asked
            try:
                command()
            except BaseException as error:
                done.set_exception(error)
                if not isinstance(error, FluxcapError):
                    raise
            else:
                done.set_result(None)

    def end(self) -> None:
        """Obey no more; all that waits, or comes, is refused."""
        self._ended.set()
        self._refuse()

    def _refuse(self) -> None:
        while (asked := self._next()) is not None:
            asked[1].set_exception(ConfigError("The client has ended."))

    def _next(self) -> tuple[Callable[[], None], Future[None]] | None:
        try:
            return self._waiting.get_nowait()
        except Empty:
            return None
