"""fluxcap.bridge.jetstream.connection.header_lines: what nats-py would read, sooner; and that nats-py asks it."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client

from fluxcap.bridge.jetstream.connection import _make_client, header_lines

NAMES = st.text(st.sampled_from("ABCabc-0123"), min_size=1, max_size=12)
VALUES = st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=("Cs",)), max_size=20)


@given(st.dictionaries(NAMES, VALUES, max_size=6))
def test_headers_are_read_as_nats_py_reads_them(headers: dict[str, str]) -> None:
    raw = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()

    assert header_lines(raw) == Client._parse_header_lines(raw)


def test_lines_that_are_none_are_passed_over() -> None:
    assert header_lines(b"NATS/1.0\r\nA: 1\r\nno line\r\n\r\n") == {"A": "1"}


def test_a_message_is_read_with_it() -> None:
    async def read() -> dict[str, str] | None:
        return await _make_client(False)._process_headers(b"NATS/1.0\r\nNats-Msg-Id: a/b\r\nX:y\r\n\r\n")

    assert asyncio.run(read()) == {"Nats-Msg-Id": "a/b", "X": "y"}
    assert "header_lines" in _make_client(False)._parse_header_lines.__code__.co_names
