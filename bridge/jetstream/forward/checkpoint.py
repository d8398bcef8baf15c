"""The forwarder's checkpoint on disk: the position of each stream in JetStream.

One file per JetStream stream, written in one piece. JetStream itself is asked first; see stream_state.py for what this
is needed for.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from fluxcap.bridge.jetstream.forward.stream_state import CheckpointEntry, StreamForwardState
from fluxcap.bridge.jetstream.subjects import parse_subject, subject
from fluxcap.bridge.system.files import remove_file, replace_file, sync
from fluxcap.schemas.errors import CodecError, StoreError
from fluxcap.schemas.types import StreamKey

FOLDER = "forward"
SAVE_S = 1.0
FAILED_WAIT_S = 60.0


class _File(msgspec.Struct):
    stream: str
    created: str
    subjects: dict[str, CheckpointEntry]


class CheckpointFile:
    """The checkpoint of one JetStream stream.

    Parameters
    ----------
    data_dir
        The folder ``forward`` in it is used, and made.
    stream, created
        Name of the JetStream stream, and when it was made: one of the same name made later is another stream.
    """

    def __init__(self, data_dir: Path, stream: str, created: str) -> None:
        mark = hashlib.sha256(f"{stream}\n{created}".encode()).hexdigest()[:12]
        self.path = data_dir / FOLDER / f"{stream}-{mark}.json"
        self._identity = stream, created

    def load(self) -> dict[StreamKey, CheckpointEntry]:
        """Return the saved positions; empty without a readable file, as JetStream knows them too."""
        try:
            file = msgspec.json.decode(self.path.read_bytes(), type=_File)
            return {parse_subject(name): found for name, found in file.subjects.items()}
        except (OSError, msgspec.DecodeError, CodecError):
            return {}

    def save(self, streams: Mapping[StreamKey, CheckpointEntry]) -> None:
        """Write all of it durably: a reader sees this or what was before. Raises StoreError."""
        content = msgspec.json.encode(_File(*self._identity, {subject(key): what for key, what in streams.items()}))
        new = self.path.with_suffix(f".{os.getpid()}.new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with new.open("wb") as file:
                file.write(content)
                file.flush()
                sync(file.fileno())
            replace_file(new, self.path)
        except OSError as error:
            remove_file(new)
            raise StoreError(f"The forward cursor {self.path} cannot be written: {error.strerror}.") from error


class ForwardCheckpoint:
    """The streams on their way to one JetStream stream, with what is remembered of them; saved once a second at most.

    data_dir: None keeps nothing on disk.
    """

    def __init__(self, data_dir: Path | None) -> None:
        self._data_dir = data_dir
        self.streams: dict[StreamKey, StreamForwardState] = {}
        self.created = ""
        """When the JetStream stream in use was made."""
        self._file: CheckpointFile | None = None
        self._entries: dict[StreamKey, CheckpointEntry] = {}
        self._saved: dict[StreamKey, CheckpointEntry] = {}
        self._next_save_s = 0.0

    def bind_stream(self, stream: str, created: str) -> None:
        """Use the JetStream stream found on a new connection. One that was recreated gets all there is."""
        if created == self.created:
            return
        self.created = created
        self.streams.clear()
        self._entries = self._saved = {}
        if self._data_dir is not None:
            self._file = CheckpointFile(self._data_dir, stream, created)
            self._entries = self._saved = self._file.load()

    def stream_state(self, key: StreamKey) -> StreamForwardState:
        """The state of a stream; made when it is asked for the first time."""
        found = self.streams.get(key)
        if found is None:
            found = self.streams[key] = StreamForwardState(key, self._entries.get(key))
        return found

    def save(self, *, now: bool = False) -> None:
        """Write down what has changed, if it is time. Raises StoreError, then not again for a minute."""
        begun_s = time.monotonic()
        if self._file is None or (begun_s < self._next_save_s and not now):
            return
        streams = self._entries | _entries_of(self.streams.values())
        if streams == self._saved:
            return
        self._next_save_s = begun_s + FAILED_WAIT_S
        self._file.save(streams)
        self._saved = streams
        ended_s = time.monotonic()
        self._next_save_s = ended_s + max(SAVE_S, 20 * (ended_s - begun_s))


def _entries_of(streams: Iterable[StreamForwardState]) -> dict[StreamKey, CheckpointEntry]:
    return {stream_state.key: found for stream_state in streams if (found := stream_state.checkpoint) is not None}
