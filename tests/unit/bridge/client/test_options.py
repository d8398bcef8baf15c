"""fluxcap.bridge.client.options: what is wrong is refused to who asked, in plain words."""

from __future__ import annotations

from typing import Any

import pytest

from fluxcap.bridge.client.options import Via, default_requests, require_address, require_start, require_stream
from fluxcap.bridge.client.receiver.actions import StartFrom
from fluxcap.schemas.errors import ConfigError
from fluxcap.schemas.types import StreamKey


def test_a_stream_that_can_be_asked_about_is_taken() -> None:
    key = StreamKey("POCKETOPTION", "EURUSD_otc", "1m")

    assert require_stream(key) is key


@pytest.mark.parametrize(
    "key",
    [
        "SIM/EURUSD",
        None,
        ("SIM", "EURUSD", "1m"),
        StreamKey("SIM", "EURUSD", "1 minute"),
        StreamKey("SIM", None, "1m"),  # type: ignore[arg-type]
        StreamKey(1, 2, 3),  # type: ignore[arg-type]
        StreamKey("SIM", "\ud800", "1m"),
    ],
)
def test_what_is_no_stream_is_refused(key: Any) -> None:
    with pytest.raises(ConfigError):
        require_stream(key)


@pytest.mark.parametrize("start", [*StartFrom, 1, -500])
def test_a_place_to_begin_is_taken(start: StartFrom | int) -> None:
    assert require_start(start) == start


@pytest.mark.parametrize("start", [0, "EARLIEST", 1.5, None])
def test_what_is_no_place_to_begin_is_refused(start: Any) -> None:
    with pytest.raises(ConfigError):
        require_start(start)


def test_an_address_is_text_or_left_out() -> None:
    assert (require_address("tcp://127.0.0.1:1"), require_address(None)) == ("tcp://127.0.0.1:1", None)
    with pytest.raises(ConfigError, match="5556 is no address"):
        require_address(5556)  # type: ignore[arg-type]


def test_jetstream_is_asked_for_many_streams_at_once_and_a_server_for_few() -> None:
    assert default_requests(Via("nats://127.0.0.1:4222")) > 10 * default_requests(None)
