"""What ``Date`` headers say of UTC: which count, which stand, and for how long."""

from __future__ import annotations

import pytest

from fluxcap.capture.market.platform_dates import PlatformDates

UTC_0_MS = 1_760_000_000_000
"""UTC when the monotonic clock was 0."""


def header(mono_ms: int, late_ms: int = 0) -> int:
    """The time in a header that arrives at ``mono_ms`` and was written ``late_ms`` before."""
    return (UTC_0_MS + mono_ms - late_ms) // 1_000 * 1_000


def test_a_handshake_counts_alone() -> None:
    dates = PlatformDates()

    assert dates.add(header(5_300), 5_300, is_handshake=True)
    assert dates.utc_ms(9_300) == UTC_0_MS + 9_000


def test_nothing_is_known_without_one() -> None:
    assert PlatformDates().utc_ms(1_000) is None


def test_another_response_counts_once_a_second_agrees() -> None:
    dates = PlatformDates()

    assert not dates.add(header(1_000), 1_000, is_handshake=False)
    assert dates.utc_ms(1_000) is None
    assert dates.add(header(61_000), 61_000, is_handshake=False)
    assert dates.utc_ms(61_000) == UTC_0_MS + 61_000


@pytest.mark.parametrize(("apart_ms", "counts"), [(2_000, True), (3_000, False)])
def test_two_responses_agree_within_two_seconds(apart_ms: int, counts: bool) -> None:
    dates = PlatformDates()
    dates.add(header(1_000), 1_000, is_handshake=False)

    assert dates.add(header(1_000) - apart_ms, 1_000, is_handshake=False) is counts


def test_one_response_that_a_cache_gave_again_and_again_does_not_agree_with_itself() -> None:
    dates = PlatformDates()
    written_ms = header(0)

    assert not any(dates.add(written_ms, mono_ms, is_handshake=False) for mono_ms in range(0, 600_000, 10_000))


def test_of_headers_that_agree_the_latest_time_is_the_best() -> None:
    dates = PlatformDates()
    for late_ms in (900, 0, 1_500):
        dates.add(header(10_000, late_ms), 10_000, is_handshake=True)

    assert dates.utc_ms(10_000) == UTC_0_MS + 10_000


def test_a_header_of_long_ago_does_not_outweigh_a_new_one() -> None:
    dates = PlatformDates()
    dates.add(header(0), 0, is_handshake=True)

    dates.add(header(3_600_000, 1_000), 3_600_000, is_handshake=True)  # the quartz ran a second fast in an hour

    assert dates.utc_ms(3_600_000) == UTC_0_MS + 3_599_000


@pytest.mark.parametrize("lie_ms", [-3_600_000, 3_600_000, 31_000])
def test_one_header_that_contradicts_is_not_believed_but_two_are(lie_ms: int) -> None:
    dates = PlatformDates()
    dates.add(header(0), 0, is_handshake=True)

    assert not dates.add(header(5_000) + lie_ms, 5_000, is_handshake=True)
    assert dates.utc_ms(5_000) == UTC_0_MS + 5_000
    assert dates.add(header(9_000) + lie_ms, 9_000, is_handshake=True)
    assert dates.utc_ms(9_000) == UTC_0_MS + 9_000 + lie_ms


def test_two_that_contradict_each_other_too_change_nothing() -> None:
    dates = PlatformDates()
    dates.add(header(0), 0, is_handshake=True)

    dates.add(header(5_000) + 3_600_000, 5_000, is_handshake=True)
    dates.add(header(6_000) - 3_600_000, 6_000, is_handshake=True)

    assert dates.utc_ms(6_000) == UTC_0_MS + 6_000


def test_what_agrees_in_between_takes_the_doubt_away() -> None:
    dates = PlatformDates()
    dates.add(header(0), 0, is_handshake=True)
    dates.add(header(5_000) + 3_600_000, 5_000, is_handshake=True)
    dates.add(header(6_000), 6_000, is_handshake=True)

    assert not dates.add(header(7_000) + 3_600_000, 7_000, is_handshake=True)


def test_after_a_sleep_nothing_is_known() -> None:
    dates = PlatformDates()
    dates.add(header(0), 0, is_handshake=True)
    dates.add(header(0), 0, is_handshake=False)

    dates.forget()

    assert dates.utc_ms(1_000) is None
    assert not dates.add(header(1_000), 1_000, is_handshake=False)


def test_what_contradicts_by_half_a_minute_to_the_millisecond_still_agrees() -> None:
    dates = PlatformDates()
    dates.add(header(0), 0, is_handshake=True)

    assert dates.add(header(5_000) + 30_000, 5_000, is_handshake=True)


@pytest.mark.parametrize(("apart_ms", "believed"), [(2_000, True), (3_000, False)])
def test_two_that_contradict_agree_with_each_other_within_two_seconds(apart_ms: int, believed: bool) -> None:
    dates = PlatformDates()
    dates.add(header(0), 0, is_handshake=True)

    dates.add(header(5_000) + 3_600_000, 5_000, is_handshake=True)

    assert dates.add(header(5_000) + 3_600_000 + apart_ms, 5_000, is_handshake=True) is believed


@pytest.mark.parametrize(("later_ms", "stands"), [(600_000, True), (601_000, False)])
def test_the_best_of_ten_minutes_stands(later_ms: int, stands: bool) -> None:
    dates = PlatformDates()
    dates.add(header(0), 0, is_handshake=True)

    dates.add(header(later_ms, 1_000), later_ms, is_handshake=True)

    assert (dates.utc_ms(later_ms) == UTC_0_MS + later_ms) is stands


def test_the_arrival_of_the_newest_that_counts_is_known() -> None:
    dates = PlatformDates()
    assert dates.newest_mono_ms == 0

    dates.add(header(4_000), 4_000, is_handshake=True)
    dates.add(header(5_000) + 3_600_000, 5_000, is_handshake=True)

    assert dates.newest_mono_ms == 4_000


def test_memory_is_bounded() -> None:
    dates = PlatformDates()
    for mono_ms in range(0, 100_000, 1_000):
        dates.add(header(mono_ms), mono_ms, is_handshake=mono_ms % 2_000 == 0)

    assert len(dates._responses) == len(dates._witnesses) == 8


def test_one_that_waited_is_no_contradiction_and_does_not_make_what_is_known_worse() -> None:
    dates = PlatformDates()
    dates.add(header(0), 0, is_handshake=True)

    assert dates.add(header(200_000, 150_000), 200_000, is_handshake=True, waited_ms=150_000)
    assert dates.utc_ms(200_000) == UTC_0_MS + 200_000
    assert dates.waited_ms == 0


def test_one_that_did_not_wait_makes_better_what_one_that_waited_said() -> None:
    dates = PlatformDates()
    dates.add(header(150_000, 120_000), 150_000, is_handshake=True, waited_ms=150_000)
    assert dates.waited_ms == 150_000

    assert dates.add(header(160_000), 160_000, is_handshake=True)
    assert dates.utc_ms(160_000) == UTC_0_MS + 160_000
    assert dates.waited_ms == 0


def test_of_two_that_waited_the_narrower_bounds_count() -> None:
    dates = PlatformDates()
    dates.add(header(100_000, 90_000), 100_000, is_handshake=True, waited_ms=100_000)

    dates.add(header(110_000, 50_000), 110_000, is_handshake=True, waited_ms=70_000)

    assert dates.utc_ms(110_000) == UTC_0_MS + 60_000
    assert dates.waited_ms == 60_000  # by the first it is no later, by the second no earlier


@pytest.mark.parametrize(("late_ms", "counts"), [(90_000, True), (91_000, False)])
def test_one_later_than_it_waited_and_half_a_minute_contradicts(late_ms: int, counts: bool) -> None:
    dates = PlatformDates()
    dates.add(header(0), 0, is_handshake=True)

    assert dates.add(header(60_000, late_ms), 60_000, is_handshake=True, waited_ms=60_000) is counts


@pytest.mark.parametrize(("ahead_ms", "counts"), [(90_000, True), (91_000, False)])
def test_one_further_ahead_than_the_first_waited_and_half_a_minute_contradicts(ahead_ms: int, counts: bool) -> None:
    dates = PlatformDates()
    dates.add(header(0, 60_000), 0, is_handshake=True, waited_ms=60_000)

    assert dates.add(header(5_000) - 60_000 + ahead_ms, 5_000, is_handshake=True) is counts
