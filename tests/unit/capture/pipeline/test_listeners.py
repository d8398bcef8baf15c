"""Listeners: each is told, whatever another one does."""

from __future__ import annotations

from typing import Any

from fluxcap.capture.pipeline.listeners import ChromeState, ListenerGroup, PublishedUpdate
from fluxcap.schemas.types import Candle, StreamKey

KEY = StreamKey("TEST", "EURUSD_otc", "1m")
NEWS = PublishedUpdate((), (), (), ())


class Ear:
    def __init__(self, *, fails: bool = False) -> None:
        self.heard: list[Any] = []
        self.fails = fails

    def _hear(self, what: Any) -> None:
        if self.fails:
            raise RuntimeError("no")
        self.heard.append(what)

    def published(self, update: PublishedUpdate) -> None:
        self._hear(update)

    def forming(self, key: StreamKey, candle: Candle) -> None:
        self._hear(candle.ts_ms)

    def chrome_changed(self, state: ChromeState, reason: str) -> None:
        self._hear((state, reason))


def test_everyone_is_told_everything_in_order():
    ears = [Ear(), Ear()]
    listeners = ListenerGroup(ears)

    listeners.chrome_changed(ChromeState.ATTACHED, "")
    listeners.forming(KEY, Candle(60_000, 1, 1, 1, 1))
    listeners.published(NEWS)

    assert [ear.heard for ear in ears] == [[(ChromeState.ATTACHED, ""), 60_000, NEWS]] * 2


def test_one_that_fails_is_reported_once_a_minute_and_keeps_nothing_from_the_others(logged: list[str]):
    good = Ear()
    listeners = ListenerGroup([Ear(fails=True), good])

    for _ in range(3):
        listeners.published(NEWS)

    assert good.heard == [NEWS] * 3
    assert listeners.failures == 3
    assert logged == ["listener.error"]
