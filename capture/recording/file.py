"""Recordings on the disk: written as they happen, read as a stream.

A file is gzip. Within: a line that says what it is, then blocks of ``length, CRC-32, msgpack``; the first block is the
header, every other a list of records. The compressed stream is flushed about once a second, so a kill loses no more
than that, and what a kill leaves of the last block is no damage. Memory is bounded on both sides.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import msgspec

from fluxcap.bridge.system.files import remove_file
from fluxcap.capture.recording.framing import HEAD_BYTES, encode_frame, frame_bytes, frame_payload
from fluxcap.capture.recording.records import FORMAT, EndOfRecording, Header, Record
from fluxcap.schemas.errors import ConfigError, FluxcapError

MAGIC = b"fluxcap recording\n"
BLOCK_RECORDS = 4_096
BLOCK_NS = 1_000_000_000
"""A block is written when it is full, or a second old."""
BLOCK_BYTES_MAX = 64 * 1024 * 1024
LEVEL = 6
_GZIP = 31
_CHUNK = 64 * 1024
_MAX_INFLATE = 1024 * 1024
"""So much is decompressed at a time, however little it was compressed from."""


class RecordingWriter:
    """Writes one recording. A context manager; ``close`` ends it as whole.

    Raises ConfigError when the file exists (unless ``force``) or cannot be made, FluxcapError when the disk takes no
    more; what was written until then can be read.
    """

    def __init__(self, path: Path, header: Header, *, force: bool = False) -> None:
        self.path = path
        self.records = 0
        self.size_bytes = 0
        self._file = _create(path, force)
        self._gzip = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP)
        self._encoder = msgspec.msgpack.Encoder()
        self._pending: list[Record] = []
        self._last_ns = 0
        self._due_ns = 0
        self._identity = _identity(path)
        try:
            self._write(MAGIC + self._block(header))
        except FluxcapError as error:
            if path.is_file():  # an empty file would be in the way of the next attempt
                remove_file(path)
            raise FluxcapError(str(error).replace("It can be replayed up to here.", "Nothing was recorded.")) from None

    def add(self, record: Record) -> None:
        """Append one record, which is on its way to the disk about a second later at most."""
        self._pending.append(record)
        self.records += 1
        self._last_ns += record.mono_ns
        if self._last_ns >= self._due_ns or len(self._pending) >= BLOCK_RECORDS:
            self.flush()

    def flush(self) -> None:
        """Write what was added."""
        self._due_ns = self._last_ns + BLOCK_NS
        if self._pending:
            if _identity(self.path) != self._identity:
                self._file.close()
                raise FluxcapError(f"{self.path} was deleted or replaced while it was being written.")
            block = self._block(self._pending)
            self._pending.clear()
            self._write(block)

    def close(self) -> None:
        """Say that this is the end, and close the file. Idempotent."""
        if self._file.closed:
            return
        self._pending.append(EndOfRecording(0, 0, self.records))
        try:
            self.flush()
            self._put(self._gzip.flush(zlib.Z_FINISH))
        finally:
            self._file.close()

    def __enter__(self) -> RecordingWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _block(self, content: Header | list[Record]) -> bytes:
        return encode_frame(self._encoder.encode(content))

    def _write(self, data: bytes) -> None:
        self._put(self._gzip.compress(data) + self._gzip.flush(zlib.Z_SYNC_FLUSH))

    def _put(self, data: bytes) -> None:
        try:
            left = memoryview(data)
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            self._file.close()
            raise FluxcapError(
                f"{self.path} cannot be written: {error.strerror}. It can be replayed up to here."
            ) from None
        self.size_bytes += len(data)


class RecordingReader:
    """Reads one recording: the ``header`` at once, the records by iterating over ``blocks``, once.

    Attributes
    ----------
    trouble
        After reading: why it was not read to a proper end, one sentence; "" if it was.
    read_bytes
        Compressed bytes read so far, of ``size_bytes``.

    Raises ConfigError for a file that cannot be opened, is no recording, or one of a newer format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read_bytes = 0
        self.error = ""
        try:
            self._file = path.open("rb")
            self.size_bytes = os.fstat(self._file.fileno()).st_size
        except OSError as error:
            raise ConfigError(f"The recording {path} cannot be opened: {error.strerror}.") from None
        self._pieces = self._decompressed()
        self._blocks = self._sound_blocks()
        try:
            self.header = self._read_header()
        except BaseException:
            self.close()
            raise

    def blocks(self) -> Iterator[Sequence[Record]]:
        """The records, some thousand at a time, as far as the file is sound."""
        decoder = msgspec.msgpack.Decoder(list[Record])
        ended = False
        for payload in self._blocks:
            try:
                records = decoder.decode(payload)
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                self._damaged()
                return
            ended = bool(records) and type(records[-1]) is EndOfRecording
            yield records
        if not (ended or self.error):
            self.error = f"{self.path} is cut off, as after a kill; it was read up to there."

    def __iter__(self) -> Iterator[Record]:
        for block in self.blocks():
            yield from block

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> RecordingReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read_header(self) -> Header:
        payload = next(self._blocks, None)
        if payload is None:
            raise ConfigError(f"{self.path} is not a fluxcap recording, or is empty.")
        try:
            version = msgspec.msgpack.decode(payload, type=_Version).format
            if version <= FORMAT:
                return msgspec.msgpack.decode(payload, type=Header)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise ConfigError(f"{self.path} is not a fluxcap recording: its header cannot be read.") from None
        raise ConfigError(
            f"{self.path} is a recording of format {version}, and this fluxcap reads up to {FORMAT}: update fluxcap."
        )

    def _sound_blocks(self) -> Iterator[memoryview]:
        """Payloads of the blocks whose CRC holds; ends where the file does, or is damaged."""
        buffer = bytearray()
        if not self._fill(buffer, len(MAGIC)) or not buffer.startswith(MAGIC):
            return
        del buffer[: len(MAGIC)]
        while self._fill(buffer, HEAD_BYTES):
            size = frame_bytes(buffer)
            if size > HEAD_BYTES + BLOCK_BYTES_MAX:
                self._damaged()
                return
            if not self._fill(buffer, size):
                return
            payload = frame_payload(memoryview(buffer[:size]))
            if payload is None:
                self._damaged()
                return
            del buffer[:size]
            yield payload

    def _fill(self, buffer: bytearray, size: int) -> bool:
        """Return whether ``size`` bytes could be had."""
        while len(buffer) < size:
            piece = next(self._pieces, None)
            if piece is None:
                return False
            buffer += piece
        return True

    def _decompressed(self) -> Iterator[bytes]:
        gzip = zlib.decompressobj(_GZIP)
        while not gzip.eof:
            try:
                chunk = self._file.read(_CHUNK)
            except OSError:
                self._damaged()
                return
            if not chunk:
                return
            while chunk and not gzip.eof:
                before = gzip.copy()
                try:
                    piece = gzip.decompress(chunk, _MAX_INFLATE)
                except zlib.error:
                    yield from self._up_to_the_damage(before, chunk)
                    self._damaged()
                    return
                self.read_bytes += len(chunk) - len(gzip.unconsumed_tail)
                yield piece
                chunk = gzip.unconsumed_tail

    def _up_to_the_damage(self, gzip: zlib._Decompress, chunk: bytes) -> Iterator[bytes]:
        """Yield the data before the damage that zlib has not returned yet."""
        for at in range(len(chunk)):
            try:
                yield gzip.decompress(chunk[at : at + 1])
            except zlib.error:
                return
            self.read_bytes += 1

    def _damaged(self) -> None:
        if not self.error:
            self.error = f"{self.path} is damaged near byte {self.read_bytes:,}; it was read up to there."


class _Version(msgspec.Struct):
    format: int


def _identity(path: Path) -> tuple[int, int] | None:
    """Return which file lies at a path, None without one."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _create(path: Path, force: bool) -> BinaryIO:
    try:
        return path.open("wb" if force else "xb", buffering=0)
    except FileExistsError:
        raise ConfigError(f"{path} exists; choose another name, or overwrite it with --force.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be made: {error.strerror}.") from None
