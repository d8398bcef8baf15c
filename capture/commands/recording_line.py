"""The line that ``fluxcap record`` shows while it runs, on stderr; nothing where that is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from capture.recording_run import SoFar


@contextmanager
def recording_line(file: Path) -> Iterator[Callable[[SoFar], None]]:
    """Gives what is to be told of each step."""
    from rich.console import Console
    from rich.status import Status

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda so_far: None
        return
    with Status(f"Recording to {file}; Ctrl-C ends it", console=console) as status:
        yield lambda so_far: status.update(line(file, so_far))


def line(file: Path, so_far: SoFar) -> str:
    """One line: state of Chrome, counts, size."""
    if so_far.chrome != "attached":
        return f"Waiting for Chrome ({so_far.chrome}); Ctrl-C ends it"
    return (
        f"Recording to {file}: {so_far.seconds:,.0f} s, {so_far.sockets} sockets, {so_far.frames:,} frames, "
        f"{so_far.ticks:,} ticks, {so_far.size_bytes / 1e3:,.0f} kB; Ctrl-C ends it"
    )
