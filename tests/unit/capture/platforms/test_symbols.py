"""Symbols and names of streams: one to one, and streams that are there keep their names."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxcap.capture.platforms import symbols
from fluxcap.capture.platforms.symbols import StreamNames, decode_symbol, encode_symbol

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=32)


@given(texts, texts)
def test_a_name_gives_back_its_symbol_and_no_two_symbols_have_one_name(one: str, other: str) -> None:
    assert decode_symbol(encode_symbol(one)) == one
    assert (encode_symbol(one) == encode_symbol(other)) == (one == other)
    assert re.fullmatch(r"[A-Za-z0-9_#&~-]*", encode_symbol(one))


@pytest.mark.parametrize("symbol", ["EURUSD_otc", "#AAPL_otc", "BTC-USD", "S&P500"])
def test_a_symbol_that_can_be_a_name_is_one(symbol: str) -> None:
    assert encode_symbol(symbol) == symbol == StreamNames().name_of(symbol)


def test_a_text_that_is_no_name_is_its_own_symbol() -> None:
    assert [decode_symbol(text) for text in ("a~b", "~FF", "~2f")] == ["a~b", "~FF", "~2f"]


def test_two_symbols_of_one_old_stream_each_get_their_own() -> None:
    names = StreamNames()
    names.keep(["A-B"])

    assert [names.name_of(symbol) for symbol in ("A/B", "A.B", "A/B")] == ["A-B", "A~2EB", "A~2FB"]


def test_once_a_symbol_has_a_stream_of_its_own_it_keeps_that() -> None:
    names = StreamNames()
    names.keep(["A-B", "A~2FB"])

    assert [names.name_of("A/B"), names.name_of("A-B")] == ["A~2FB", "A-B"]


@pytest.mark.parametrize("symbol", ["", "x" * 33, "a\nb", "../../etc", " A", "-A"])
def test_what_no_exchange_calls_an_asset_is_refused(symbol: str) -> None:
    with pytest.raises(ValueError, match="symbol"):
        StreamNames().name_of(symbol)


def test_the_oldest_symbols_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symbols, "_KEPT_MAX", 3)
    names = StreamNames()

    assert [names.name_of(f"A/{at}") for at in range(9)] == [f"A~2F{at}" for at in range(9)]
    assert len(names._names) == 3
