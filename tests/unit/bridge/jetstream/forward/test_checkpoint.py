"""What a forwarder remembers on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxcap.bridge.jetstream.forward.checkpoint import CheckpointFile, ForwardCheckpoint
from fluxcap.bridge.jetstream.forward.stream_state import CheckpointEntry
from fluxcap.bridge.jetstream.subjects import Position
from fluxcap.schemas.errors import StoreError
from fluxcap.schemas.types import StreamKey, StreamStatus

KEY = StreamKey("DESK", "EUR/USD OTC.x", "1m")
KNOWN = {KEY: CheckpointEntry(Position("store", 5, 300_000, 2, 1), 77)}


def test_it_comes_back_as_it_was_written(tmp_path: Path):
    CheckpointFile(tmp_path, "FLUX", "today").save(KNOWN)

    assert CheckpointFile(tmp_path, "FLUX", "today").load() == KNOWN
    assert [path.suffix for path in (tmp_path / "forward").iterdir()] == [".json"]


@pytest.mark.parametrize(("stream", "created"), [("FLUX", "later"), ("OTHER", "today")])
def test_another_log_is_remembered_apart(tmp_path: Path, stream: str, created: str):
    CheckpointFile(tmp_path, "FLUX", "today").save(KNOWN)

    assert CheckpointFile(tmp_path, stream, created).load() == {}


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b'{"stream":"a","created":"b","subjects":{"x":{}}}', b"\xff"])
def test_a_file_that_cannot_be_read_is_as_none(tmp_path: Path, content: bytes):
    cursor = CheckpointFile(tmp_path, "FLUX", "today")
    cursor.save(KNOWN)
    cursor.path.write_bytes(content)

    assert cursor.load() == {}


def test_a_folder_that_takes_nothing_is_told_once_a_minute(tmp_path: Path):
    (tmp_path / "forward").write_text("a file in its place")
    memory = ForwardCheckpoint(tmp_path)
    memory.bind_stream("FLUX", "today")
    stream = memory.stream_state(KEY)
    stream.set_store_status(StreamStatus(KEY, 5, 300_000, 0, 1, "store"))
    stream.answered(KNOWN[KEY].position, 77)

    with pytest.raises(StoreError, match="cannot be written"):
        memory.save()
    memory.save()  # not due yet


def test_streams_that_are_not_seen_any_more_stay_remembered(tmp_path: Path):
    CheckpointFile(tmp_path, "FLUX", "today").save(KNOWN)
    memory = ForwardCheckpoint(tmp_path)
    memory.bind_stream("FLUX", "today")
    other = StreamKey("DESK", "NEW", "1m")
    stream = memory.stream_state(other)
    stream.set_store_status(StreamStatus(other, 1, 60_000, 0, 1, "store"))
    stream.answered(Position("store", 1, 60_000, 0, 1), 78)

    memory.save()

    assert set(CheckpointFile(tmp_path, "FLUX", "today").load()) == {KEY, other}


def test_a_log_made_anew_forgets_the_streams(tmp_path: Path):
    memory = ForwardCheckpoint(tmp_path)
    memory.bind_stream("FLUX", "today")
    memory.stream_state(KEY)
    memory.bind_stream("FLUX", "today")
    assert set(memory.streams) == {KEY}

    memory.bind_stream("FLUX", "later")

    assert memory.streams == {}
