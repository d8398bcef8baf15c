"""Progress on stderr: shown on a terminal, silent elsewhere, so that stdout stays for results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(text: str) -> Iterator[Callable[[int], Callable[[int], None]]]:
    """Gives ``begin(total) -> advance(done)``. The bar appears with ``begin`` and is gone at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:

        def begin(total: int) -> Callable[[int], None]:
            task = progress.add_task(text, total=total)
            return lambda done: progress.advance(task, done)

        yield begin


def so_far(begin: Callable[[int], Callable[[int], None]]) -> Callable[[int, int], None]:
    """The same told as "so many so far, so many in all"."""
    advance: Callable[[int], None] | None = None
    before = 0

    def show(done: int, total: int) -> None:
        nonlocal advance, before
        advance = advance or begin(total)
        advance(done - before)
        before = done

    return show
