"""The rules of asking: once for each start, once an hour beside the same, after a refusal at the user's word alone."""

from __future__ import annotations

import pytest

from fluxcap.capture.chrome.consent import HOUR_MS, Answer, ConsentRecord, asking_sentence

NOW_MS = 1_796_000_000_000
ASKED = ConsentRecord().asking("start 1", "Chrome", NOW_MS)


def test_a_browser_that_was_never_asked_may_be_asked():
    assert ConsentRecord().may_ask("start 1", NOW_MS)


@pytest.mark.parametrize("answer", [Answer.NONE, Answer.ALLOWED])
@pytest.mark.parametrize(("later_ms", "may"), [(0, False), (HOUR_MS - 1, False), (HOUR_MS, True)])
def test_the_same_start_is_asked_at_most_once_an_hour(answer: Answer, later_ms: int, may: bool):
    assert ASKED.answered(answer).may_ask("start 1", NOW_MS + later_ms) is may


@pytest.mark.parametrize("answer", [Answer.NONE, Answer.ALLOWED])
def test_another_start_is_asked_at_once(answer: Answer):
    assert ASKED.answered(answer).may_ask("start 2", NOW_MS + 1)


@pytest.mark.parametrize("start", ["start 1", "start 2"])
def test_after_a_refusal_nobody_is_asked_however_late(start: str):
    assert not ASKED.answered(Answer.REFUSED).may_ask(start, NOW_MS + 1_000 * HOUR_MS)


@pytest.mark.parametrize("answer", list(Answer))
def test_the_users_word_allows_one_dialog(answer: Answer):
    wanted = ASKED.answered(answer).wanting()

    assert wanted.may_ask("start 1", NOW_MS)
    assert not wanted.asking("start 1", "Chrome", NOW_MS).may_ask("start 1", NOW_MS)


def test_a_clock_that_was_set_back_does_not_silence_it():
    assert ASKED.may_ask("start 1", NOW_MS - 5 * HOUR_MS)


def test_each_sentence_says_what_to_do():
    assert "click Allow" in asking_sentence("Edge")
    assert "Edge" in asking_sentence("Edge")
    assert "`fluxcap chrome --ask`" in ASKED.answered(Answer.REFUSED).why_not()
    assert "`fluxcap chrome --ask`" in ASKED.why_not()
    assert "click Cancel there" in ASKED.why_not()
