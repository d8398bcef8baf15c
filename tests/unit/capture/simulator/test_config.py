"""capture/simulator/config.py: what cannot be is refused at once."""

from __future__ import annotations

from typing import Any

import pytest

from fluxcap.capture.simulator.config import Secrets, SiteConfig, mean_pauses
from fluxcap.schemas.errors import ConfigError


@pytest.mark.parametrize(
    "settings",
    [
        {"assets": ("NOSUCH_otc",)},
        {"assets": ()},
        {"assets": ("EURUSD_otc", "EURUSD_otc")},
        {"rate_hz": 0},
        {"rate_hz": 1_000},
        {"lag_ms": (800, 700)},
        {"decimals": {"EURUSD_otc": -1}},
        {"thin": {"NOSUCH_otc": 30.0}},
        {"thin": {"EURUSD_otc": 0.0}},
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        SiteConfig(**settings)


def test_every_secret_is_listed_for_the_search() -> None:
    secrets = Secrets(session="a-session", balance="12.34")

    assert {"a-session", "12.34", secrets.uid, secrets.deal_id, secrets.chat_text} <= set(secrets.all())


def test_thin_markets_are_typed_with_their_mean_pause() -> None:
    assert mean_pauses(["EURUSD=30", " LBPUSD_otc = 2.5"]) == {"EURUSD": 30.0, "LBPUSD_otc": 2.5}


@pytest.mark.parametrize("typed", ["EURUSD", "EURUSD=", "EURUSD=often"])
def test_a_thin_market_without_a_pause_is_refused(typed: str) -> None:
    with pytest.raises(ConfigError, match="EURUSD=30"):
        mean_pauses([typed])
