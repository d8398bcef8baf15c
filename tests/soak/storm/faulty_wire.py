"""A bad way between one client and a daemon: real ZeroMQ on both sides, and what may happen to messages in between.

The decisions are those of ``fluxcap.bridge.devserver.faults``. One client uses it at a time.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from typing import Self

import zmq

from fluxcap.bridge.devserver.faults import FaultInjector, Faults, damaged

_POLL_MS = 20


class FaultyWire:
    """Stands at ``pub`` and ``rep`` in the place of a daemon at ``behind_pub`` and ``behind_rep``."""

    def __init__(self, pub: str, rep: str, behind_pub: str, behind_rep: str, seed: int) -> None:
        self.pub, self.rep = pub, rep
        self._behind = behind_pub, behind_rep
        self.gate = FaultInjector(seed)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._due: list[tuple[int, int, bool, list[bytes]]] = []
        """(when, order, whether it is published, frames)."""
        self._order = itertools.count()
        self._peer = b""

    def start(self) -> Self:
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="faulty-wire")
        self._thread.start()
        return self

    def stop(self) -> None:
        """Cut it: both connections of the client end. Safe to call twice."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def set(self, faults: Faults) -> None:
        self.gate.faults = faults

    def _run(self) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        sockets = [context.socket(kind) for kind in (zmq.PUB, zmq.ROUTER, zmq.SUB, zmq.DEALER)]
        out, front, feed, back = sockets
        feed.setsockopt(zmq.SUBSCRIBE, b"")
        for client in (feed, back):
            client.setsockopt(zmq.RECONNECT_IVL, 50)
            client.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
        out.bind(self.pub)
        front.bind(self.rep)
        feed.connect(self._behind[0])
        back.connect(self._behind[1])
        poller = zmq.Poller()
        for source in (front, feed, back):
            poller.register(source, zmq.POLLIN)
        while not self._stop.is_set():
            for source, _ in poller.poll(_POLL_MS):
                self._take(source, front, feed, back)
            self._release(out, front)
        for each in sockets:
            each.close(linger=0)
        context.term()
        self._due.clear()

    def _take(self, source: object, front: zmq.Socket[bytes], feed: zmq.Socket[bytes], back: zmq.Socket[bytes]) -> None:
        now_ns = time.monotonic_ns()
        if source is front:
            self._peer, *frames = front.recv_multipart()
            back.send_multipart(frames)
        elif source is feed:
            topic, payload = feed.recv_multipart()
            for departure in self.gate.publish(topic.partition(b".")[0].decode(), payload, now_ns):
                self._hold(departure.due_ns, True, [topic, departure.payload])
        else:
            frames = back.recv_multipart()
            fate = self.gate.answer(is_backfill=True)
            if fate in ("fail", "empty"):
                return  # lost: there is no telling on which side
            if fate == "garbage":
                frames[-1] = damaged(frames[-1], self.gate._answered)
            self._hold(now_ns + self.gate.faults.answer_delay_ms * 1_000_000, False, [self._peer, *frames])

    def _hold(self, due_ns: int, published: bool, frames: list[bytes]) -> None:
        heapq.heappush(self._due, (due_ns, next(self._order), published, frames))

    def _release(self, out: zmq.Socket[bytes], front: zmq.Socket[bytes]) -> None:
        while self._due and self._due[0][0] <= time.monotonic_ns():
            _, _, published, frames = heapq.heappop(self._due)
            (out if published else front).send_multipart(frames)
