"""What stands in for status and heartbeat where a server has none."""

from __future__ import annotations

import pytest

from fluxcap.bridge.client.version1 import POLL_NS, CursorPoll, is_version1_error, status_of
from fluxcap.schemas.errors import FluxcapError, WireError, WireTimeout
from fluxcap.schemas.types import (
    GetCursorRequest,
    GetCursorResponse,
    Message,
    StreamKey,
    StreamStatus,
    StreamStatusRequest,
)

KEY = StreamKey("SIM", "A", "1s")


@pytest.mark.parametrize(
    ("request_", "error", "expected"),
    [
        (StreamStatusRequest(KEY), WireError(400, "malformed"), True),
        (StreamStatusRequest(KEY), WireError(426, "version"), True),
        (StreamStatusRequest(KEY), WireError(404, "no such stream"), False),
        (StreamStatusRequest(KEY), WireError(500, "trouble"), False),
        (StreamStatusRequest(KEY), WireTimeout("late"), False),
        (GetCursorRequest(KEY), WireError(400, "malformed"), False),
    ],
)
def test_only_a_status_that_is_not_understood_shows_an_old_server(
    request_: Message, error: FluxcapError, expected: bool
) -> None:
    assert is_version1_error(request_, error) is expected


def test_a_cursor_is_a_status_that_knows_nothing_more() -> None:
    assert status_of(GetCursorResponse(KEY, 5, 5_000)) == StreamStatus(KEY, 5, 5_000)


def test_it_is_due_each_second_while_on_and_never_twice_at_a_time() -> None:
    poll = CursorPoll()
    assert not poll.is_due(10 * POLL_NS)
    poll.start(0)

    due = [poll.is_due(POLL_NS // 2), poll.is_due(POLL_NS), poll.is_due(3 * POLL_NS)]
    poll.answered()
    again = poll.is_due(3 * POLL_NS)
    poll.stop()

    assert (due, again) == ([False, True, False], True)
    assert not poll.is_due(9 * POLL_NS)
