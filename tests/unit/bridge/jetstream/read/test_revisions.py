"""fluxcap.bridge.jetstream.read.revisions: none is missed, and they are found in few turns however long the log is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from fluxcap.bridge.jetstream.read import pages as log_pages
from fluxcap.bridge.jetstream.read import revisions as log_revisions
from fluxcap.bridge.jetstream.read.pages import StreamPages
from fluxcap.schemas.errors import NatsUnavailable
from tests.support.nats.fake_log import SUBJECT, FakeLog, ask, read_by_fakes
from tests.support.patience import PATIENCE_S


@pytest.fixture(autouse=True, scope="module")
def _reader() -> Iterator[None]:
    with read_by_fakes():
        yield


def ask_revisions(pages: StreamPages, after: int) -> tuple[int, list[int], bool]:
    async def found() -> tuple[int, list[int], bool]:
        newest = await pages.newest()
        assert newest is not None
        page = await pages.revisions(newest[0], after, 100)
        return page.start_revision, page.sequences.tolist(), page.has_more

    return asyncio.run(found())


def test_a_jump_in_revision_numbers_costs_none_that_the_log_has() -> None:
    log = FakeLog()
    log.add(10, "a")
    log.revise([1, 2], 1.25)
    log.skip(revisions=4)
    log.revise([9], 1.75)
    pages = StreamPages(log, SUBJECT)  # type: ignore[arg-type]

    _, candles, _ = ask(log, pages, 0, 100)

    assert candles.tolist() == [row.tolist() for row in log.page(1, 10)]
    assert [ask_revisions(pages, after) for after in (0, 1, 2, 7)] == [
        (1, [1, 2], True),
        (2, [2], True),
        (7, [9], False),
        (8, [], False),
    ]


@pytest.mark.costly
def test_many_revisions_near_each_other_are_read_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_pages, "PAGE_S", PATIENCE_S)  # however slow the machine is, it is one page
    log = FakeLog()
    for n in range(1, 301):
        log.add(5, "a")
        log.revise([5 * n - 1], 1.25)
    pages = StreamPages(log, SUBJECT)  # type: ignore[arg-type]

    _, candles, _ = ask(log, pages, 0, 10_000)

    assert candles.tolist() == [row.tolist() for row in log.page(1, 1_500)]
    assert log.turns <= 30


def test_few_revisions_on_a_long_log_are_searched_for_all_at_once() -> None:
    log = FakeLog()
    for n in range(1, 3_001):
        log.add(1, "a")
        if n % 150 == 0:
            log.revise([n - 1], 1.25)
    pages = StreamPages(log, SUBJECT)  # type: ignore[arg-type]

    _, candles, _ = ask(log, pages, 2_500, 20)

    assert candles.tolist() == [row.tolist() for row in log.page(2_501, 20)]
    assert log.read <= 30
    assert log.turns <= 60  # in series it would be twenty for each of twenty


def test_revisions_that_were_found_before_the_log_went_away_are_not_searched_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_revisions, "SEARCHED_AT_ONCE", 10)
    log = FakeLog()
    log.is_long = True
    for n in range(1, 401):
        log.add(1, "a")
        if n % 8 == 0:
            log.revise([n - 1], 1.25)
    ask(log, StreamPages(log, SUBJECT), 390, 10)  # type: ignore[arg-type]
    all_of_them = log.asked
    pages = StreamPages(log, SUBJECT)  # type: ignore[arg-type]
    log.asked, log.answers = 0, all_of_them * 3 // 4
    with pytest.raises(NatsUnavailable):
        ask(log, pages, 390, 10)
    log.asked = 0

    _, candles, _ = ask(log, pages, 390, 10)

    assert candles.tolist() == [row.tolist() for row in log.page(391, 10)]
    assert log.asked < all_of_them // 2


def test_a_page_after_one_looks_for_new_revisions_alone() -> None:
    log = FakeLog()
    for _ in range(3_000):
        log.add(1, "a")
    log.revise([7], 1.25)
    pages = StreamPages(log, SUBJECT)  # type: ignore[arg-type]
    ask(log, pages, 2_900, 10)
    log.add(1, "a")
    log.revise([2_915], 1.75)
    log.asked = log.read = 0

    _, candles, _ = ask(log, pages, 2_910, 10)

    assert candles.tolist() == [row.tolist() for row in log.page(2_911, 10)]
    assert (log.asked, log.read <= 20) == (0, True)
