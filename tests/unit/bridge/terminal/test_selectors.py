"""fluxcap.bridge.terminal.selectors: streams as people type them."""

from __future__ import annotations

import pytest

from fluxcap.bridge.terminal.selectors import StreamSelector, parse_selectors
from fluxcap.schemas.errors import ConfigError
from fluxcap.schemas.types import StreamKey


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["SIM", "EURUSD"], ["SIM/EURUSD/1m"]),
        (["SIM", "EURUSD", "5s"], ["SIM/EURUSD/5s"]),
        (["SIM", "BTC/USDT", "5s"], ["SIM/BTC/USDT/5s"]),
        (["SIM/EURUSD"], ["SIM/EURUSD/1m"]),
        (["SIM/BTC/USDT"], ["SIM/BTC/USDT/1m"]),
        (["SIM/BTC/USDT/1h"], ["SIM/BTC/USDT/1h"]),
        (["SIM/EURUSD/5s", "DESK2/*", "*/*/*"], ["SIM/EURUSD/5s", "DESK2/*/1m", "*/*/*"]),
    ],
)
def test_streams_are_understood_as_typed(texts: list[str], expected: list[str]) -> None:
    assert [str(wish) for wish in parse_selectors(texts)] == expected


@pytest.mark.parametrize("texts", [[], ["SIM"], ["SIM", "A", "1m", "B"], ["SIM", "A", "7x"], ["/A"], ["SIM/"]])
def test_what_names_no_stream_is_refused(texts: list[str]) -> None:
    with pytest.raises(ConfigError):
        parse_selectors(texts)


def test_one_stream_has_a_key_and_a_pattern_has_none() -> None:
    assert StreamSelector("SIM", "EURUSD").key == StreamKey("SIM", "EURUSD", "1m")
    assert StreamSelector("SIM", "EUR*").key is None


@pytest.mark.parametrize(
    ("wish", "matches"),
    [
        (StreamSelector("SIM", "EUR*"), True),
        (StreamSelector("*", "*_otc", "*m"), True),
        (StreamSelector("SIM", "eur*"), False),
        (StreamSelector("SIM", "EUR"), False),
        (StreamSelector("SIM", "*", "1h"), False),
        (StreamSelector("SIM", "EURUSD.otc"), False),
    ],
)
def test_a_star_stands_for_anything_and_all_else_for_itself(wish: StreamSelector, matches: bool) -> None:
    assert wish.matches(StreamKey("SIM", "EURUSD_otc", "1m")) is matches
