"""On our console only our own words are styled."""

from __future__ import annotations

import io

import pytest
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fluxcap.bridge.terminal.console import SafeConsole, plain

HOSTILE = "\x1b]0;pwned\x1b[31m[red]x[/red][/oops]\x9b2J"


def on_a_terminal() -> tuple[SafeConsole, io.StringIO]:
    out = io.StringIO()
    return SafeConsole(file=out, force_terminal=True, color_system="standard", width=200, legacy_windows=False), out


@pytest.mark.parametrize("how", ["text", "table", "live"])
def test_an_escape_sequence_in_a_text_is_shown_and_not_sent(how: str) -> None:
    console, out = on_a_terminal()
    table = Table.grid()
    table.add_row(Text(HOSTILE), plain(HOSTILE))

    if how == "live":
        with Live(table, console=console, auto_refresh=False):
            pass
    else:
        console.print(Text(HOSTILE) if how == "text" else table)

    assert "\x1b]0;pwned" not in out.getvalue()
    assert "\x9b" not in out.getvalue()
    assert "\\x1b]0;pwned\\x1b[31m[red]x[/red][/oops]\\x9b2J" in out.getvalue()


def test_our_own_styles_are_sent() -> None:
    console, out = on_a_terminal()

    console.print(f"[green]ok[/] {plain(HOSTILE)}")

    assert "\x1b[32mok" in out.getvalue()


def test_texts_are_made_plain_at_any_depth_and_the_rest_is_left() -> None:
    found = plain({"tabs": [{"url": "[red]a\x1b"}], "count": 3, "none": None})

    assert found == {"tabs": [{"url": "\\[red]a\\x1b"}], "count": 3, "none": None}
