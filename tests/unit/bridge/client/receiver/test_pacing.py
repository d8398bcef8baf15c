"""fluxcap.bridge.client.receiver.pacing: single flight, and a wait after each request that brought nothing."""

from __future__ import annotations

from fluxcap.bridge.client.receiver.pacing import Asking, Flight
from fluxcap.bridge.transport.backoff import Backoff


def asking() -> Asking:
    return Asking(Backoff(lambda: 1.0, base_ns=100, cap_ns=1_000))


def test_nothing_is_asked_while_a_request_is_under_way() -> None:
    it = asking()
    assert it.may_ask(0)

    it.launch(Flight.CANDLES)

    assert not it.may_ask(10**12)
    assert it.wake_ns is None


def test_only_the_answer_awaited_lands() -> None:
    it = asking()
    it.launch(Flight.CANDLES)

    assert not it.lands(Flight.STATUS)
    assert it.lands(Flight.CANDLES)
    assert not it.lands(Flight.CANDLES)


def test_vain_requests_wait_longer_and_longer_and_begin_with_the_status() -> None:
    it = asking()

    it.gained_nothing(0)
    assert (it.wake_ns, it.status_due) == (100, True)
    assert not it.may_ask(99)
    assert it.may_ask(100)
    it.gained_nothing(100)
    assert it.wake_ns == 300


def test_a_gain_ends_the_waiting() -> None:
    it = asking()
    it.gained_nothing(0)
    it.gained_nothing(0)

    it.gained()

    assert it.may_ask(0)
    assert (it.vain_in_a_row, it.vain) == (0, 2)


def test_asking_for_the_status_is_done_once() -> None:
    it = asking()
    it.gained_nothing(0)

    it.launch(Flight.STATUS)

    assert not it.status_due


def test_a_new_connection_forgets_the_waits_but_not_the_count() -> None:
    it = asking()
    it.gained_nothing(0)
    it.launch(Flight.STATUS)

    it.reset()

    assert it.may_ask(0)
    assert it.vain == 1
