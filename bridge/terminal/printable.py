"""Text of others made harmless for a terminal. Pure, and light.

Titles, addresses, names and versions come from a page, a browser or a server that may be hostile: an escape sequence in
them could move the cursor, fake a line, change the window's title or write to the clipboard. Characters that cannot be
seen are shown as they would be written in Python or JSON.
"""

from __future__ import annotations

import json


def printable(text: str, keep: str = "") -> str:
    r"""Show what cannot be seen: ``\x1b[2J``, direction marks, line ends. ``keep``: characters that stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else repr(c)[1:-1] for c in text)


def printable_json(text: str) -> str:
    """The same for JSON, which it stays."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)
