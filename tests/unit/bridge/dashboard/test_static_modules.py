"""The page's own modules, without a browser: by Node's test runner, and beside Python where both say the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fluxcap.bridge.client.health import Health, HealthState, format_age
from fluxcap.bridge.client.stats import COLOURS, offset_text
from fluxcap.bridge.dashboard.page_files import FOLDER
from fluxcap.bridge.devserver.faults import Faults
from fluxcap.schemas.candles import price_decimals
from fluxcap.schemas.types import CandleFlags, FeedState, interval_ms

pytestmark = pytest.mark.costly

HERE = Path(__file__).parent / "static"
CALLS = """
const { text } = await import("node:stream/consumers");
const { module, calls } = JSON.parse(await text(process.stdin));
const found = await import(module);
process.stdout.write(JSON.stringify(calls.map(([name, ...given]) => found[name](...given))));
"""
INDICATORS = """
const { text } = await import("node:stream/consumers");
const { module, prices } = JSON.parse(await text(process.stdin));
const { indicatorOf } = await import(module);
const found = {};
for (const name of ["sma20", "ema20", "bb20", "rsi14"]) (found[name] = indicatorOf(name)).update(prices);
process.stdout.write(JSON.stringify(found));
"""


def node(code: str, given: dict[str, Any]) -> Any:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    done = subprocess.run(
        ["node", "--no-warnings", "--input-type=module", "-e", code],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def called(module: str, name: str, cases: list[list[Any]]) -> list[Any]:
    """What a function of a module answers to each case."""
    calls = [[name, *case] for case in cases]
    return list(node(CALLS, {"module": (FOLDER / f"{module}.js").as_uri(), "calls": calls}))


def test_the_pure_modules_keep_their_rules() -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    done = subprocess.run(
        ["node", "--no-warnings", "--test", "--test-reporter=tap", str(HERE / "page_modules.test.mjs")],
        env={**os.environ, "PAGE_MODULES": str(FOLDER)},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-2_000:]
    assert "\n# fail 0\n" in done.stdout
    assert "\n# pass 0\n" not in done.stdout


def test_ages_labels_and_dots_read_as_in_every_other_client() -> None:
    ages_ms = [0, 50, 300, 8_200, 59_940, 75_000, 75_500, 599_000, 600_000, 750_000, 7_199_000, 7_200_000, 12_600_000]

    assert called("format", "ageText", [[age] for age in ages_ms]) == [format_age(a * 1_000_000) for a in ages_ms]
    cases = [(state, age) for state in HealthState for age in (None, 300, 75_000)]
    labels = [Health(state, age_ns=None if age is None else age * 1_000_000).label for state, age in cases]
    assert called("format", "healthLabel", [[state.value, age] for state, age in cases]) == labels
    assert called("format", "healthDot", [[state.value] for state in COLOURS]) == list(COLOURS.values())


def test_offsets_intervals_and_digits_are_those_of_the_other_clients() -> None:
    offsets = [None, 0, 7_200_000, -1_800_000, 8_100_000, 20_000]
    assert called("format", "offsetText", [[offset] for offset in offsets]) == [offset_text(o) for o in offsets]
    intervals = ["1s", "1m", "15m", "4h", "1d"]
    assert called("format", "intervalMs", [[one] for one in intervals]) == [interval_ms(one) for one in intervals]
    prices = [[1.0], [1.12345], [30123.5, 30123.25], [0.00001234], [1.1, 1.123], [88.10999999999999]]
    assert called("format", "decimalsOf", [[one] for one in prices]) == [price_decimals(one) for one in prices]


def test_every_flag_has_words_and_every_state_of_a_feed_that_needs_somebody_too() -> None:
    words = called("format", "flagWords", [[int(flag)] for flag in CandleFlags])
    assert all(len(one) == 1 for one in words)
    source = (FOLDER / "truth.js").read_text("utf-8")
    fine = {FeedState.UNKNOWN, FeedState.LIVE, FeedState.UNSYNCHRONISED}
    assert [state for state in FeedState if state not in fine and f"\n  {state.name.lower()}:" not in source] == []


Reference = Callable[[np.ndarray], np.ndarray]


def windows(prices: np.ndarray, length: int) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(prices, length)


def ema(prices: np.ndarray) -> np.ndarray:
    found = [prices[:20].mean()]
    for price in prices[20:]:
        found.append(price * (2 / 21) + found[-1] * (1 - 2 / 21))
    return np.array(found)


def rsi(prices: np.ndarray) -> np.ndarray:
    change = np.diff(prices)
    up, down = np.clip(change, 0, None), np.clip(-change, 0, None)
    gain, loss = up[:14].mean(), down[:14].mean()
    found = [100 - 100 / (1 + gain / loss)]
    for one_up, one_down in zip(up[14:], down[14:], strict=True):
        gain, loss = (gain * 13 + one_up) / 14, (loss * 13 + one_down) / 14
        found.append(100 - 100 / (1 + gain / loss))
    return np.array(found)


def test_indicators_equal_a_numpy_reference_to_the_twelfth_digit() -> None:
    prices = 1.1 + np.cumsum(np.random.default_rng(7).normal(0, 1e-4, 3_000))
    given = {"module": (FOLDER / "indicators.js").as_uri(), "prices": prices.tolist()}
    found = node(INDICATORS, given)
    band = 2 * windows(prices, 20).std(axis=1)
    middle = windows(prices, 20).mean(axis=1)
    expected = {
        ("sma20", "values"): middle,
        ("ema20", "values"): ema(prices),
        ("bb20", "middle"): middle,
        ("bb20", "upper"): middle + band,
        ("bb20", "lower"): middle - band,
        ("rsi14", "values"): rsi(prices),
    }

    for (name, line), wanted in expected.items():
        values = found[name][line]
        missing = len(prices) - len(wanted)
        assert values[:missing] == [None] * missing, name
        np.testing.assert_allclose(values[missing:], wanted, rtol=1e-12, err_msg=f"{name} {line}")


def test_a_price_that_stands_still_has_an_index_of_fifty() -> None:
    given = {"module": (FOLDER / "indicators.js").as_uri(), "prices": [1.5] * 30}

    assert node(INDICATORS, given)["rsi14"]["values"][14:] == [50] * 16


def test_the_panel_has_a_control_for_each_fault_and_names_each_feed_state() -> None:
    code = CALLS.split("const found")[0] + (
        "const found = await import(module);"
        "process.stdout.write(JSON.stringify([found.FAULTS.map(([name]) => name), found.FEED_STATES]));"
    )
    faults, states = node(code, {"module": (FOLDER / "devserver.js").as_uri(), "calls": []})

    assert {*faults, "feed_state", "stall"} == set(Faults.__struct_fields__)
    assert states == [state.name.lower().replace("_", " ") for state in FeedState]
