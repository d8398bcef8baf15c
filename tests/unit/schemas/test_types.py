"""Values of the contract that are numbers on the wire."""

from __future__ import annotations

import pytest

from fluxcap.schemas.types import FeedState


def test_the_bytes_of_feed_states_never_change() -> None:
    assert [(state.value, state.name) for state in FeedState] == [
        (0, "UNKNOWN"),
        (1, "NO_BROWSER"),
        (2, "NO_SOCKET"),
        (3, "UNSYNCHRONISED"),
        (4, "LIVE"),
        (5, "STALLED"),
        (6, "UNSUBSCRIBED"),
        (7, "LOGGED_OUT"),
        (8, "WAITING_FOR_CONSENT"),
        (9, "NOT_IN_FOCUS"),
        (10, "CLOCK_IN_QUESTION"),
    ]


@pytest.mark.parametrize("byte", [11, 127, -1])
def test_a_feed_state_that_is_not_known_yet_is_unknown(byte: int) -> None:
    assert FeedState(byte) is FeedState.UNKNOWN


def test_what_is_no_byte_is_no_feed_state() -> None:
    with pytest.raises(ValueError, match="live"):
        FeedState("live")
