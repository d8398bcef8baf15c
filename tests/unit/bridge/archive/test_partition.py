"""fluxcap.bridge.archive.partition: where a candle stands."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from fluxcap.bridge.archive.partition import Partition, escape, has_names
from fluxcap.schemas.types import StreamKey
from tests.support.systems import not_on_windows


def test_the_path_is_hives_and_the_day_is_utc() -> None:
    partition = Partition(StreamKey("POCKETOPTION", "EURUSD_otc", "1m"), 20_779)

    assert str(partition.path) == "source=POCKETOPTION/symbol=EURUSD_otc/day=2026-11-22/candles-1m.parquet"


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("EURUSD_otc", "EURUSD_otc"),
        ("#AAPL_otc", "%23AAPL_otc"),
        ("BTC/USDT", "BTC%2FUSDT"),
        ("a=b", "a%3Db"),
        ("A*?[B]", "A%2A%3F%5BB%5D"),
        ("100%", "100%25"),
        ("..", ".."),
        ("Ä b~", "%C3%84%20b%7E"),
        ("", "__HIVE_DEFAULT_PARTITION__"),
    ],
)
def test_what_a_file_system_or_a_reader_might_mistake_is_escaped(value: str, name: str) -> None:
    assert escape(value) == name


def test_no_symbol_leaves_the_archive() -> None:
    path = Partition(StreamKey("../x", "/etc/passwd", ".."), 0).path

    assert len(path.parts) == 4
    assert ".." not in path.parts


@pytest.mark.parametrize(
    ("field", "longest"),
    [("source_id", "s" * 248), ("symbol", "s" * 248), ("symbol", "/" * 82 + "xx"), ("interval", "m" * 239)],
)
@not_on_windows("the whole path has 260 letters at most there")
def test_names_of_255_letters_can_be_held_and_longer_ones_cannot(field: str, longest: str, tmp_path: Path) -> None:
    key = msgspec.structs.replace(StreamKey("DESK1", "EURUSD", "1m"), **{field: longest})
    longer = msgspec.structs.replace(key, **{field: longest + "x"})

    (tmp_path / Partition(key, 0).path).mkdir(parents=True)
    with pytest.raises(OSError, match="too long"):
        (tmp_path / Partition(longer, 0).path).mkdir(parents=True)

    assert has_names(key)
    assert not has_names(longer)
