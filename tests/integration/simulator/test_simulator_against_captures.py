"""The simulated site held against the recorded one: the same events with payloads of the same shape."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fluxcap.capture.simulator import SimulatedSite, SiteConfig
from tests.support.market.market_client import MarketClient
from tests.support.paths import ROOT

CAPTURES = Path(os.environ.get("FLUXCAP_CAPTURES", ROOT.parent / "shared" / "captures"))
FRAMES = CAPTURES / "frames" / "frames_20250903_0033.json"


def recorded_events() -> Iterator[tuple[str, Any]]:
    """(name, payload) of every event of the recording, each header with the next binary frame of its socket."""
    announced: dict[str, str] = {}
    for message in json.loads(FRAMES.read_text(encoding="utf-8"))["messages"]:
        socket, payload = message["request_id"], message["payload"]
        if message["opcode"] == 2:
            if socket in announced:
                yield announced.pop(socket), json.loads(base64.b64decode(payload))
        elif payload.startswith("451-"):
            announced[socket] = json.loads(payload[4:])[0]


def shape(value: Any) -> Any:
    """Keys, lengths of rows and kinds of values; lists of many like things count as one of them."""
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "text"
        case dict():
            keys = {"<number>" if key.isdecimal() else key: shape(inner) for key, inner in value.items()}
            return dict(sorted(keys.items()))
        case list() if value and isinstance(value[0], list | dict):
            return [shape(value[0])]
        case list():
            return [shape(inner) for inner in value]
    return "null"


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    if not FRAMES.exists():
        pytest.skip(f"no recorded frames at {FRAMES}; set FLUXCAP_CAPTURES")
    events: dict[str, Any] = {}
    for name, payload in recorded_events():
        events.setdefault(name, payload)
    return events


@pytest.fixture(scope="module")
def simulated() -> dict[str, Any]:
    """The first payload of every event of a simulated page load, and one answer to loadHistoryPeriod."""
    config = SiteConfig(assets=("EURGBP_otc",), lag_ms=(30, 40), pre_roll_s=1, second_assets_s=0.1)
    with SimulatedSite(config) as site, MarketClient(site.port) as client:
        history = client.await_event("updateHistoryNewFast")
        request = {"asset": "EURGBP_otc", "period": 60, "time": history["candles"][-1][0], "index": 1, "offset": 9_000}
        client.emit("loadHistoryPeriod", request)
        client.await_event("loadHistoryPeriodFast")
        while not {"updateStream", "signals/update", "successsignals/stats"} <= set(client.names()):
            client.receive()
        return {name: payload for name, payload in reversed(client.events)}


def test_the_same_events_are_sent(recorded: dict[str, Any], simulated: dict[str, Any]) -> None:
    assert set(recorded) == set(simulated)


@pytest.mark.parametrize(
    "name", ["updateStream", "updateHistoryNewFast", "loadHistoryPeriodFast", "updateAssets", "successupdateBalance"]
)
def test_payloads_have_the_recorded_shape(recorded: dict[str, Any], simulated: dict[str, Any], name: str) -> None:
    assert shape(simulated[name]) == shape(recorded[name])


def test_signals_look_like_the_recorded_ones(recorded: dict[str, Any], simulated: dict[str, Any]) -> None:
    for name in ("signals/load", "signals/update", "successsignals/stats"):
        assert shape(simulated[name]) == shape(recorded[name]), name


def test_charts_hold_their_settings_as_json_text(recorded: dict[str, Any], simulated: dict[str, Any]) -> None:
    ours, theirs = (json.loads(events["updateCharts"][0]["settings"]) for events in (simulated, recorded))

    assert shape(simulated["updateCharts"]) == shape(recorded["updateCharts"])
    assert set(ours) <= set(theirs)
    assert {key: shape(ours[key]) for key in ours} == {key: shape(theirs[key]) for key in ours}
    assert (ours["chartPeriod"], ours["fastTimeframe"]) == (theirs["chartPeriod"], theirs["fastTimeframe"]) == (4, 60)


def test_history_is_as_long_and_as_old_as_the_recorded_one(recorded: dict[str, Any], simulated: dict[str, Any]) -> None:
    ours, theirs = simulated["updateHistoryNewFast"], recorded["updateHistoryNewFast"]

    assert len(ours["history"]) == pytest.approx(len(theirs["history"]), rel=0.1)
    assert len(ours["candles"]) == pytest.approx(len(theirs["candles"]), abs=3)
    assert len(simulated["loadHistoryPeriodFast"]["data"]) == len(recorded["loadHistoryPeriodFast"]["data"]) == 150
    assert len(simulated["updateAssets"]) == len(recorded["updateAssets"]) == 183


def test_the_asset_table_agrees_in_what_is_public(recorded: dict[str, Any], simulated: dict[str, Any]) -> None:
    def public(events: dict[str, Any]) -> list[list[Any]]:
        return [[*row[1:4], row[9]] for row in events["updateAssets"]]

    assert public(simulated) == public(recorded)


def test_currencies_have_the_recorded_decimals(recorded: dict[str, Any], simulated: dict[str, Any]) -> None:
    def decimals(events: dict[str, Any]) -> dict[str, int]:
        return {row[1]: row[4] for row in events["updateAssets"] if row[3] == "currency"}

    assert decimals(simulated) == decimals(recorded)
