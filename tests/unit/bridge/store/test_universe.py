"""The universe file is read whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxcap.bridge.store.universe import Listing, read_universe
from fluxcap.schemas.errors import ConfigError

HEADER = "filters,badge,symbol,name,market,venue\n"


def test_rows_become_listings_whatever_the_order_of_columns(tmp_path: Path) -> None:
    path = tmp_path / "universe.csv"
    path.write_text("symbol,name,extra,filters,badge,market,venue\nEURUSD_otc,EUR/USD OTC,x,fx,OTC,Forex,PO\n")

    assert read_universe(path) == [Listing("fx", "OTC", "EURUSD_otc", "EUR/USD OTC", "Forex", "PO")]


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "universe.csv"
    path.write_text("\ufeff" + HEADER + "a,b,c,d,e,f\n", encoding="utf-8")

    assert len(read_universe(path)) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("symbol,name\nA,B\n", "lacks the column 'filters'"),
        ("", "lacks the column"),
        (HEADER + "a,b,,d,e,f\n", "line 2"),
        (HEADER + "a,b,X,d,e,f\na,b,X,d,e,f\n", "line 3"),
    ],
)
def test_a_file_that_is_no_universe_is_refused(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "universe.csv"
    path.write_text(content)

    with pytest.raises(ConfigError, match=reason):
        read_universe(path)


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.write_bytes(b"\xff\xfe\x00a"), lambda p: p.mkdir()])
def test_a_file_that_cannot_be_read_is_said(tmp_path: Path, make: object) -> None:
    path = tmp_path / "universe.csv"
    make(path)  # type: ignore[operator]

    with pytest.raises(ConfigError, match="cannot be read"):
        read_universe(path)
