"""capture/simulator/config.py: what cannot be is refused at once."""

from __future__ import annotations

from typing import Any

import pytest

from fluxcap.capture.simulator.config import Secrets, SiteConfig
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
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        SiteConfig(**settings)


def test_every_secret_is_listed_for_the_search() -> None:
    secrets = Secrets(session="a-session", balance="12.34")

    assert {"a-session", "12.34", secrets.uid, secrets.deal_id, secrets.chat_text} <= set(secrets.all())
