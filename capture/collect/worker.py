"""A collection in a process of its own, for the daemon: the page is driven elsewhere, and its memory is given back.

In: one line of JSON on stdin, a ``WorkOrder``. While stdin is open the collection goes on; its end ends it as Ctrl-C
does, so a daemon that dies leaves no page turned. Out: lines of JSON on stdout, each a ``WorkerNote``; the last has
the summary or the error. Anything else that is printed is how it broke.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

import msgspec

from fluxcap.bridge.system.signals import interrupt_main_thread
from fluxcap.capture.collect.collection import CollectOptions, CollectSummary, collect
from fluxcap.capture.collect.orders import WorkerNote, WorkOrder
from fluxcap.capture.collect.plan import parse_assets, parse_timeframes
from fluxcap.capture.runtime.output import say_json
from fluxcap.capture.runtime.settings import Settings
from fluxcap.schemas.errors import FluxcapError

STOPPED = "Stopped. What was saved is kept; started again today, it goes on where it stopped."


def run(order: WorkOrder, note: Callable[[WorkerNote], None], collecting: Callable[..., CollectSummary]) -> None:
    """Carry out an order. ``note`` is told how far it is; ``collecting`` is ``collect``."""
    total = 0

    def begin(count: int) -> Callable[[int], None]:
        nonlocal total
        total, done = count, 0
        note(WorkerNote(total=total))

        def advance(by: int) -> None:
            nonlocal done
            done += by
            note(WorkerNote(done=done, total=total))

        return advance

    try:
        options = CollectOptions(parse_assets(order.assets), parse_timeframes(order.timeframes))
        settings = Settings(**order.settings)
        summary = collecting(
            settings, options, begin, restart=order.restart, tell=lambda text: note(WorkerNote(told=text))
        )
    except KeyboardInterrupt:
        note(WorkerNote(total=total, told=STOPPED, is_last=True))
    except FluxcapError as error:
        note(WorkerNote(total=total, error=str(error), is_last=True))
    else:
        note(_last(summary, total))


def outcome(summary: CollectSummary) -> str:
    """Say in a sentence or two what was saved."""
    rows = sum(saved.rows for saved in summary.saved)
    files = "1 file" if len(summary.saved) == 1 else f"{len(summary.saved)} files"
    skipped = f"; {summary.skipped} saved earlier today were left as they are" if summary.skipped else ""
    new = sum(saved.published for saved in summary.saved)
    corrected = sum(saved.revised for saved in summary.saved)
    store = f" In the store: {new:,} new, {corrected:,} corrected." if new or corrected else ""
    return f"Saved {files} with {rows:,} candles{skipped}.{store}"


def _last(summary: CollectSummary, total: int) -> WorkerNote:
    problems = [summary.page_error, summary.store_error and f"Not in the store: {summary.store_error}"]
    return WorkerNote(
        done=len(summary.saved),
        total=total,
        told=outcome(summary),
        error=" ".join(problem for problem in problems if problem),
        failed=tuple(summary.failed),
        is_last=True,
    )


def main() -> None:
    """Read the order, and carry it out."""
    order = msgspec.json.decode(sys.stdin.readline(), type=WorkOrder)
    has_ended = threading.Event()

    def watch() -> None:
        sys.stdin.read()
        if not has_ended.is_set():
            interrupt_main_thread()

    try:
        threading.Thread(target=watch, daemon=True).start()
        run(order, say_json, collect)
    except KeyboardInterrupt:  # before it had begun, or while it said its last words
        say_json(WorkerNote(told=STOPPED, is_last=True))
    finally:
        has_ended.set()


if __name__ == "__main__":
    main()
