"""fluxcap.bridge.client.receiver.pacing: single flight, and a wait after each request that brought nothing."""

from __future__ import annotations

from fluxcap.bridge.client.receiver.pacing import RequestKind, RequestPacer
from fluxcap.bridge.transport.backoff import Backoff


def asking() -> RequestPacer:
    return RequestPacer(Backoff(lambda: 1.0, base_ns=100, cap_ns=1_000))


def test_nothing_is_asked_while_a_request_is_under_way() -> None:
    it = asking()
    assert it.can_send(0)

    it.begin(RequestKind.CANDLES)

    assert not it.can_send(10**12)
    assert it.wake_ns is None


def test_only_the_answer_awaited_lands() -> None:
    it = asking()
    it.begin(RequestKind.CANDLES)

    assert not it.complete(RequestKind.STATUS)
    assert it.complete(RequestKind.CANDLES)
    assert not it.complete(RequestKind.CANDLES)


def test_vain_requests_wait_longer_and_longer_and_begin_with_the_status() -> None:
    it = asking()

    it.on_empty(0)
    assert (it.wake_ns, it.status_due) == (100, True)
    assert not it.can_send(99)
    assert it.can_send(100)
    it.on_empty(100)
    assert it.wake_ns == 300


def test_a_gain_ends_the_waiting() -> None:
    it = asking()
    it.on_empty(0)
    it.on_empty(0)

    it.on_success()

    assert it.can_send(0)
    assert (it.consecutive_empty, it.empty_replies) == (0, 2)


def test_asking_for_the_status_is_done_once() -> None:
    it = asking()
    it.on_empty(0)

    it.begin(RequestKind.STATUS)

    assert not it.status_due


def test_a_new_connection_forgets_the_waits_but_not_the_count() -> None:
    it = asking()
    it.on_empty(0)
    it.begin(RequestKind.STATUS)

    it.reset()

    assert it.can_send(0)
    assert it.empty_replies == 1
