"""A rich console on which only our own words are styled."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment

from fluxcap.bridge.terminal.printable import printable


class SafeConsole(Console):
    """Shows control characters of any text in place of sending them. Styles, and rich's own controls, are as ever."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich's."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(printable(segment.text, keep="\n"), segment.style)


def plain(value: Any) -> Any:
    """The same value, any text in it made so that rich neither styles it nor trips over its brackets."""
    if isinstance(value, str):
        return escape(printable(value, keep="\n"))
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
