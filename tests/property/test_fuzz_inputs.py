"""Bounded runs of the fuzzers of ``tests/fuzz``; ``make fuzz`` runs each of them a million times."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from fluxcap.capture.runtime.settings import Settings, variables_of
from tests.fuzz import fuzz_cdp, fuzz_csv, fuzz_requests, fuzz_settings, fuzz_socketio, fuzz_ticks
from tests.fuzz.damage import damaged
from tests.fuzz.driver import Begin, fuzz
from tests.support.examples import examples

COUNT = examples(10_000)
SEED = 20_250_903
FUZZERS: dict[str, tuple[Begin, set[str]]] = {
    "browser's messages": (fuzz_cdp.begin, {"taken", "without a tick"}),
    "Socket.IO frames": (fuzz_socketio.begin, {"taken", "without a tick"}),
    "tick payloads": (fuzz_ticks.begin, {"taken", "without a tick"}),
    "wire requests": (fuzz_requests.begin, {"answered", *(f"refused {code}" for code in (400, 404, 413, 426))}),
    "settings": (fuzz_settings.begin, {"loaded", "loaded, but no such platform or address", "refused"}),
    "CSV files": (fuzz_csv.begin, {"read", "refused"}),
}
"""Name → fuzzer, and the ends that its inputs may come to: each of them must have been met."""


@pytest.mark.costly
@pytest.mark.parametrize("name", FUZZERS)
def test_damaged_input_is_taken_or_refused_and_nothing_else_happens(name: str, monkeypatch: pytest.MonkeyPatch):
    for variable in ("FLUXCAP_CONFIG", *(each for field in Settings.model_fields for each in variables_of(field))):
        monkeypatch.delenv(variable, raising=False)
    begin, ends = FUZZERS[name]

    count = COUNT // 4 if name == "settings" else COUNT  # they take ten times as long, and are the user's own

    outcomes = fuzz(begin, count, SEED)

    assert outcomes.total() == count
    assert set(outcomes) == ends


class _Planted:
    """A chapter in which one input breaks the rule."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._made = 0
        self.hoard: list[bytes] = []

    def invent(self) -> bytes:
        self._made += 1
        return b"bad" if self._made == 7 else b"good"

    def take(self, data: bytes) -> str:
        if data == b"bad":
            raise KeyError("planted")
        return "taken"

    def end(self) -> None:
        pass


class _Hungry(_Planted):
    def take(self, data: bytes) -> str:
        self.hoard.append(bytes(8 * 1024 * 1024))
        return "taken"


def test_the_driver_names_the_input_that_breaks_the_rule():
    with pytest.raises(AssertionError, match=r"KeyError: 'planted'; seed 5, chapter 0, input 6: b'bad'"):
        fuzz(_Planted, 20, 5)


def test_the_driver_notices_an_input_that_takes_too_much_memory():
    with pytest.raises(AssertionError, match="of memory, more than"):
        fuzz(_Hungry, 3, 5, memory_every=2)


def test_a_long_input_may_take_more_memory_however_it_is_wrapped():
    class Long(_Hungry):
        def invent(self) -> object:  # type: ignore[override]
            return "name", [(1, b"x" * 50_000)], {"variable": "value"}

    assert fuzz(Long, 3, 5, memory_every=2) == {"taken": 3}


def test_the_driver_tells_a_chapter_again_the_same():
    seen: list[list[bytes]] = []

    class Noted(_Planted):
        def invent(self) -> bytes:
            data = damaged(b'{"a": [1, 2.5], "b": "x"}', self._rng, [b'["other", 7]'])
            seen[-1].append(data)
            return data

        def take(self, data: bytes) -> str:
            return "taken"

    def begin(rng: random.Random) -> Noted:
        seen.append([])
        return Noted(rng)

    fuzz(begin, 1_200, 5)
    again: Counter[str] = fuzz(begin, 200, 5, first=1)

    assert again == {"taken": 200}
    assert seen[2] == seen[1]
    assert seen[0][:200] != seen[1]
