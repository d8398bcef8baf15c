"""Text of others steers no terminal, and can still be read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxcap.bridge.terminal.printable import printable, printable_json


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x1b[2J\x1b[H", "\\x1b[2J\\x1b[H"),
        ("\x9b31m", "\\x9b31m"),
        ("a\rb", "a\\rb"),
        ("abc\u202edcb", "abc\\u202edcb"),
        ("EUR/USD OTC, 92 % ☀ Ünï", "EUR/USD OTC, 92 % ☀ Ünï"),
    ],
)
def test_what_cannot_be_seen_is_shown(hostile: str, shown: str) -> None:
    assert printable(hostile) == shown


@given(st.text())
def test_nothing_that_cannot_be_seen_is_left_but_what_is_to_stay(text: str) -> None:
    assert printable(text).isprintable()
    assert printable(text, keep="\n").replace("\n", "").isprintable()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_stays_json_and_says_the_same(text: str) -> None:
    told = printable_json(json.dumps({"title": text}, ensure_ascii=False))

    assert told.isprintable()
    assert json.loads(told) == {"title": text}
