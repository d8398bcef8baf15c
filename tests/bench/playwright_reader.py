"""A page's ticks by way of Playwright, run by the Python that has it: see tick_readers.py, whose arguments it takes.

Stands alone: the other tools' environment has nothing of fluxcap's. The page is loaded anew first, since Playwright
does not see sockets that were open before it came.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from array import array
from pathlib import Path

from playwright.async_api import WebSocket, async_playwright

FIRST_TICK_WITHIN_S = 30.0


async def read(port: int, page_host: str, seconds: float) -> array[float]:
    """Pairs of number and monotonic time."""
    pairs, begun = array("d"), asyncio.Event()

    def received(payload: str | bytes) -> None:
        if isinstance(payload, str):
            return
        rows = json.loads(payload)
        if isinstance(rows, list) and rows and isinstance(rows[0], list) and len(rows[0]) == 3:
            for _symbol, _ts, number in rows:
                pairs.append(number)
                pairs.append(time.monotonic())
            begun.set()

    def opened(socket: WebSocket) -> None:
        socket.on("framereceived", received)

    async with async_playwright() as playwright:
        browser = await playwright.chromium.connect_over_cdp(f"http://127.0.0.1:{port}")
        pages = [page for context in browser.contexts for page in context.pages if page_host in page.url]
        pages[0].on("websocket", opened)
        await pages[0].reload()
        await asyncio.wait_for(begun.wait(), FIRST_TICK_WITHIN_S)
        await asyncio.sleep(seconds)
        await browser.close()
    return pairs


def main() -> None:
    _way, port, page_host, seconds, file = sys.argv[1:]
    pairs = asyncio.run(read(int(port), page_host, float(seconds)))
    with Path(file).open("wb") as out:
        pairs.tofile(out)


if __name__ == "__main__":
    main()
