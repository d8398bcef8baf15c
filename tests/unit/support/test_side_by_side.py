"""tests/support/side_by_side: files are dealt out evenly, and one hand that fails is all that counts."""

from __future__ import annotations

import sys

import pytest

from tests.support.side_by_side import NOT_TIMED_S, NOTHING_TO_RUN, TOGETHER, deal, run, worst


def test_every_file_is_dealt_once_and_each_hand_takes_about_as_long():
    seconds_of = {"a": 9.0, "b": 5.0, "c": 4.0, "d": 3.0, "e": 3.0}

    hands = deal([*seconds_of, *(f"short-{n}" for n in range(12))], seconds_of, 2)

    assert sorted(file for hand in hands for file in hand) == sorted([*seconds_of, *(f"short-{n}" for n in range(12))])
    assert [sum(seconds_of.get(file, NOT_TIMED_S) for file in hand) for hand in hands] == pytest.approx([12.6, 12.6])


def test_in_whatever_order_files_are_found_they_are_dealt_alike():
    assert deal("abcde", {"c": 2.0}, 2) == deal("edcba", {"c": 2.0}, 2)


def test_what_parses_all_modules_is_dealt_as_one():
    rules = [f"{TOGETHER}test_{letter}.py" for letter in "abc"]

    hands = deal([*rules, "d", "e"], dict.fromkeys(rules, 1.0) | {"d": 2.0, "e": 1.0}, 2)

    assert hands == [rules, ["d", "e"]]


def test_what_runs_beside_must_end_well_too(capfd: pytest.CaptureFixture[str]):
    beside = [[sys.executable, "-c", f"print('told'); raise SystemExit({code})"] for code in (0, 3)]

    assert [run([["--version"]], [], [command]) for command in beside] == [0, 3]

    assert capfd.readouterr().out.count("told") == 2


def test_with_fewer_files_than_hands_none_is_empty():
    assert deal("ab", {}, 3) == [["a"], ["b"]]


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ([0, 0], 0),
        ([0, 1], 1),
        ([0, NOTHING_TO_RUN], 0),
        ([NOTHING_TO_RUN] * 2, NOTHING_TO_RUN),
        ([1, NOTHING_TO_RUN], 1),
        ([0, -9], -9),
    ],
)
def test_one_hand_that_fails_fails_all_and_one_with_nothing_to_run_does_not(codes: list[int], code: int):
    assert worst(codes) == code
