"""Those who only look: charts on Socket.IO and REST and clients of the wire, which come, look at one asset or another,
and leave, in a process of their own.

``python -m tests.soak.storm.viewers JSON``: ``{"seed", "web", "control", "pub", "rep", "source", "interval",
"symbols", "folder"}``, the addresses of one daemon and where clients keep what they have. One JSON line a visit on
standard output. Ends by a signal, without a word, as a closed laptop does; any error ends it with exit code 1.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import threading
from random import Random
from typing import Any

import httpx
import socketio

from fluxcap import CaughtUp, Event, LiveClient, StreamKey

CHARTS = 3
LOOKS_S = (0.2, 2.5)
LEASE_S = 2.0
"""A chart on REST that says nothing for so long looks at nothing any more."""
ANSWER_S = 240.0


def tell(who: str, **facts: Any) -> None:
    print(json.dumps({"visit": who, **facts}), flush=True)


async def chart(order: dict[str, Any], draw: Random) -> None:
    """One visit by Socket.IO: look at an asset, perhaps at another, and leave, with or without saying so."""
    answered = asyncio.Event()
    io = socketio.AsyncClient(reconnection=False)

    async def hear(event: str, _data: Any = None) -> None:
        if event in ("stream_started", "stream_error"):
            answered.set()

    io.on("*", hear)
    await io.connect(order["web"], transports=["websocket"], wait_timeout=ANSWER_S)
    asset = draw.choice(order["symbols"])
    await io.emit("start_stream", {"asset": asset})
    if draw.random() < 0.7:
        async with asyncio.timeout(ANSWER_S):
            await answered.wait()
        await asyncio.sleep(draw.uniform(*LOOKS_S))
        if draw.random() < 0.5:
            await io.emit("change_asset", {"asset": draw.choice(order["symbols"])})
            await asyncio.sleep(draw.uniform(*LOOKS_S))
    if draw.random() < 0.3:
        await io.emit("stop_stream")
    await io.disconnect()
    tell("chart", asset=asset)


async def lease(order: dict[str, Any], draw: Random) -> None:
    """One visit by REST, which ends by itself or is ended."""
    asset, url = draw.choice(order["symbols"]), f"{order['control']}/api/focus/leases/viewer-{draw.randrange(4)}"
    async with httpx.AsyncClient(timeout=ANSWER_S, trust_env=False) as http:
        (await http.put(url, json={"asset": asset, "seconds": LEASE_S})).raise_for_status()
        await asyncio.sleep(draw.uniform(*LOOKS_S))
        if draw.random() < 0.5:
            (await http.delete(url)).raise_for_status()
    tell("lease", asset=asset)


def client(order: dict[str, Any], draw: Random) -> None:
    """One visit on the wire: a client with an empty cache, which leaves once it has all, or before."""
    caught_up = threading.Event()

    def hear(event: Event) -> None:
        if isinstance(event, CaughtUp):
            caught_up.set()

    key = StreamKey(order["source"], draw.choice(order["symbols"][:2]), order["interval"])
    with (
        tempfile.TemporaryDirectory(dir=order["folder"]) as folder,
        LiveClient(order["pub"], order["rep"], folder, streams=[key], on_event=hear),
    ):
        caught_up.wait(draw.choice((0.1, 3.0)))
    tell("client", caught_up=caught_up.is_set())


async def _come_and_go(order: dict[str, Any], draw: Random) -> None:
    while True:
        kind = draw.random()
        if kind < 0.6:
            await chart(order, draw)
        elif kind < 0.8:
            await lease(order, draw)
        else:
            await asyncio.to_thread(client, order, draw)


async def main(order: dict[str, Any]) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(CHARTS):
            group.create_task(_come_and_go(order, Random(order["seed"] + number)))


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
