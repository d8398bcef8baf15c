"""The simulated trader: what the site remembers of him, and the personal events that must never be kept by a reader.

Pure. What is chosen on one page is what the next page load opens with, as on the platform.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import msgspec

from fluxcap.capture.simulator.assets import load_assets
from fluxcap.capture.simulator.config import Secrets


@dataclass(slots=True)
class Account:
    """Chosen asset and period, favourites, and the planted secrets."""

    symbol: str
    favourites: list[str]
    secrets: Secrets
    period_s: int = 60

    def charts(self) -> list[dict[str, str]]:
        """Payload of updateCharts: the settings are JSON in a string, and ``chartPeriod`` is a code, not minutes."""
        settings = {
            "chartId": "chart-1",
            "chartType": 2,
            "chartPeriod": _PERIOD_CODES.get(self.period_s, 4),
            "candlesTimer": True,
            "symbol": self.symbol,
            "demoDealAmount": 1,
            "liveDealAmount": 1,
            "enabledTradeMonitor": False,
            "isVisible": True,
            "fastTimeframe": self.period_s,
            "enabledAutoscroll": True,
            "enabledGridSnap": True,
            "showArea": True,
            "percentAmount": 1,
        }
        return [{"chart_id": "chart-1", "settings": msgspec.json.encode(settings).decode()}]

    def balance(self) -> dict[str, Any]:
        return {"isDemo": 1, "balance": float(self.secrets.balance)}

    def opened_deals(self) -> list[dict[str, Any]]:
        return [{"id": self.secrets.deal_id, "asset": self.symbol, "amount": 1, "uid": self.secrets.uid, "isDemo": 1}]

    def closed_deals(self) -> list[dict[str, Any]]:
        return [{"id": f"{self.secrets.deal_id}-closed", "asset": self.symbol, "profit": 0.92, "uid": self.secrets.uid}]

    def personal_events(self) -> list[tuple[str, Any]]:
        """The events between successauth and the charts, in the platform's order."""
        return [
            ("updateOpenedDeals", self.opened_deals()),
            ("successupdatePending", []),
            ("successupdateBalance", self.balance()),
            ("updateCharts", self.charts()),
            ("updateClosedDeals", self.closed_deals()),
            ("successindicator/load", {"uid": self.secrets.uid, "indicators": []}),
            ("successfavorite/change", self.favourites),
        ]

    def chat_user(self) -> dict[str, Any]:
        return {"id": int(self.secrets.user_id), "chat_role": 0, "can_rate": True, "can_secret": True, "is_vip": False}

    def chat_rooms(self) -> dict[str, Any]:
        return {"rooms": [{"id": 1, "title": "General", "last_message": self.secrets.chat_text, "unread": 2}]}

    def counters(self) -> dict[str, Any]:
        return {"uid": self.secrets.uid, "support": 1, "news": 3, "notifications": 0}


_PERIOD_CODES = {5: 1, 15: 2, 30: 3, 60: 4, 300: 5, 900: 6, 3600: 8, 14400: 9}


def signals_load(now_s: int) -> dict[str, Any]:
    """Payload of signals/load. It is no tick, though it holds symbols and numbers."""
    minutes = (1, 2, 3, 5, 10, 15, 30, 45, 60, 120, 180, 240)
    rows = [
        [asset.symbol, [[minute, (asset.id + minute) % 5] for minute in minutes], asset.points / 10**asset.decimals]
        for asset in load_assets().values()
    ]
    return {"signals": rows, "times": {str(minute): now_s - now_s % (minute * 60) for minute in minutes}}


def signals_update(now_s: int, draw: random.Random) -> dict[str, Any]:
    """Payload of signals/update: some assets, other prices than the ticks'."""
    some = draw.sample(list(load_assets().values()), 12)
    rows = [[asset.symbol, [[1, draw.randint(0, 4)]], asset.points / 10**asset.decimals] for asset in some]
    return {"signals": rows, "times": {"1": now_s - now_s % 60}}


def signals_stats(now_s: int, symbol: str) -> list[Any]:
    """Payload of successsignals/stats: begins with ``[[`` and a time, as a tick's does, but is none."""
    return [[now_s - now_s % 60, [[symbol, 120, 155], [symbol, 180, 167]]], [now_s, [[symbol, 2, 78]]]]
