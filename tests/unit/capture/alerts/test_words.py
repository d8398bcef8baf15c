"""What an alert says: what happened, since when, what to do, what was filled, and nothing that a page put into it."""

from __future__ import annotations

from datetime import UTC

import pytest

from fluxcap.capture.alerts.rules import Alert, AlertKind, Phase
from fluxcap.capture.alerts.words import Fill, asset_name, fill_of, harmless, message
from fluxcap.schemas.types import CandleFlags, FeedState

MINUTE = 60_000
START_MS = 1_760_000_040_000
EUR = "EURUSD_otc"


def told(alert: Alert, fills: dict[str, Fill] | None = None) -> str:
    said = message(alert, fills or {}, UTC, "MINE", START_MS + 600_000)
    return f"{said.title}\n{said.body}"


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("kind", AlertKind)
def test_each_kind_has_its_words_in_each_phase(kind: AlertKind, phase: Phase):
    said = message(Alert(kind, phase, START_MS, START_MS + MINUTE, count=3), {}, UTC, "MINE", START_MS)

    assert said.title.startswith("fluxcap MINE: ")
    assert said.body
    assert said.is_good is (phase in (Phase.ENDED, Phase.PAST))


@pytest.mark.parametrize("state", FeedState)
def test_each_state_of_a_feed_has_its_words(state: FeedState):
    text = told(Alert(AlertKind.FEED, Phase.BEGAN, START_MS, assets=(EUR,), state=state))

    assert EUR in text


def test_an_alert_says_since_when_why_and_what_to_do():
    alert = Alert(AlertKind.FEED, Phase.BEGAN, START_MS, assets=(EUR,), state=FeedState.NO_SOCKET, reason="tab closed")

    assert told(alert) == (
        "fluxcap MINE: EURUSD_otc: no trading page talks (tab closed)\n"
        "Since 2025-10-09 08:54:00 UTC. Open or reload the trading page, and log in."
    )


def test_an_end_says_from_when_to_when_and_what_was_filled():
    alert = Alert(AlertKind.CHROME, Phase.ENDED, START_MS, START_MS + 5 * MINUTE)

    assert told(alert, {EUR: Fill(filled=4, blind=1, waiting=1)}) == (
        "fluxcap MINE: Chrome is connected again\n"
        "No connection to Chrome, from 2025-10-09 08:54:00 UTC to 2025-10-09 08:59:00 UTC.\n"
        "EURUSD_otc: 4 filled from the page's history, 1 flagged BLIND, 1 not sealed yet"
    )


def test_what_was_filled_is_counted_by_the_buckets_that_the_time_touches():
    flags = [CandleFlags.NONE, CandleFlags.FILLED | CandleFlags.BLIND, CandleFlags.BLIND, CandleFlags.FILLED]
    candles = [(START_MS + number * MINUTE, int(flag)) for number, flag in enumerate(flags)]
    latest_ms = START_MS + 5 * MINUTE

    filled = fill_of([*candles, (latest_ms, 0)], latest_ms, START_MS + 30_000, START_MS + 6 * MINUTE + 1, MINUTE)

    assert filled == Fill(whole=2, filled=2, blind=1, missing=1, waiting=1)


def test_a_moment_touches_one_bucket():
    assert fill_of([], 0, START_MS, START_MS, MINUTE) == Fill(waiting=1)


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        (EUR, EUR),
        ("#AAPL_otc", "#AAPL_otc"),
        ("BTC~2FUSD", "BTC~2FUSD"),
        ("<b>@everyone</b>", "~3Cb~3E~40everyone~3C~2Fb~3E"),
        ("[x](https://evil.example)", "~5Bx~5D~28https~3A~2F~2Fevil~2Eexample~29"),
        ("*_`|", "~2A_~60~7C"),
        ("\u202eDSU\n\x1b[2J", "~E2~80~AEDSU~0A~1B~5B2J"),
        ("A" * 500, "A" * 64 + "…"),
    ],
)
def test_a_name_of_a_page_is_letters_digits_and_codes(symbol: str, name: str):
    assert asset_name(symbol) == name


def test_text_of_the_system_loses_mark_up_links_and_what_cannot_be_seen():
    text = harmless("<a href='https://evil.example'>*full*</a> @all `x` [y]\x1b[2J\u202e\n2 GB free on C:/data")

    assert set("<>*@`[]\x1b\u202e\n").isdisjoint(text)
    assert "://" not in text
    assert text.endswith("2 GB free on C:/data")
    assert len(harmless("x" * 5_000)) < 300


def test_text_of_pages_and_of_the_system_stands_in_an_alert_as_such():
    evil = "<img src=x>[a](http://evil.example)@everyone"
    for alert in (
        Alert(AlertKind.FEED, Phase.BEGAN, START_MS, assets=(evil,), state=FeedState.STALLED, reason=evil),
        Alert(AlertKind.STORE, Phase.BEGAN, START_MS, reason=evil),
    ):
        assert set("<>[]@*").isdisjoint(told(alert, {evil: Fill(blind=1)}))
        assert "://" not in told(alert)


def test_many_assets_are_counted_after_the_first_ones():
    assets = tuple(f"A{number}" for number in range(20))
    text = told(Alert(AlertKind.FEED, Phase.BEGAN, START_MS, assets=assets, state=FeedState.STALLED))

    assert "A7 and 12 more: the page has gone silent" in text
