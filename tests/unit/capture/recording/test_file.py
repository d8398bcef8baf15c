"""Recordings on the disk: what was added is read again, in any state that a kill or a bad disk leaves."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import msgspec
import pytest

from fluxcap.capture.market.focus import Focus, FocusMode
from fluxcap.capture.recording import records as r
from fluxcap.capture.recording.file import MAGIC, RecordingReader, RecordingWriter
from fluxcap.schemas.errors import ConfigError, FluxcapError
from tests.support.paths import ROOT
from tests.support.systems import not_on_windows

SECOND_NS = 1_000_000_000
RECORDS: list[r.Record] = [
    r.SocketOpened(5 * SECOND_NS, 7, 1, "wss://api.po.market/socket.io/", 2),
    r.TextFrame(1, -3, 1, False, '451-["updateStream",{"_placeholder":true,"num":0}]'),
    r.BinaryFrame(SECOND_NS, 0, 1, True, b'[["EURUSD_otc",1760000000.5,1.1]]'),
    r.RawFrame(2, 2, 1, True, 2, "=="),
    r.RedactedFrame(3, 0, 1, True, False),
    r.SentFrame(0, 0, 1, 1, '42["changeSymbol",{}]'),
    r.TimeAdvanced(200_000_000, 0),
    r.FocusChanged(0, 0, Focus(FocusMode.LOCK, ("EURUSD_otc",))),
    r.ActiveAssetLabel(5_000_000, 0, "EUR/USD OTC"),
    r.TabAttached(0, 0, 2, "page", "https://pocketoption.com/"),
    r.TabGone(0, 0, 2, "tab_closed"),
    r.BrowserState(0, 0, False, "closed by the browser"),
    r.Restored(0, 0, "EURUSD_otc", [(1_760_000_000_000, 1.1)], 1, 2, True),
    r.SocketLost(-5, 2**40, 1, "socket closed"),
]


def written(path: Path, records: list[r.Record] = RECORDS, header: r.Header | None = None) -> Path:
    with RecordingWriter(path, header or r.Header(platform="pocketoption")) as writer:
        for record in records:
            writer.add(record)
    return path


def read(path: Path) -> tuple[list[r.Record], str]:
    with RecordingReader(path) as reader:
        return list(reader), reader.error


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a.fluxcap"


def test_what_was_added_is_read_again_and_ends_properly(file: Path) -> None:
    assert read(written(file)) == ([*RECORDS, r.EndOfRecording(0, 0, len(RECORDS))], "")


def test_the_header_is_read_as_it_was_written(file: Path) -> None:
    header = r.Header(platform="p", focus=Focus(FocusMode.ALL), interval="5s", published={"EURUSD_otc": 7})

    written(file, header=header)

    with RecordingReader(file) as reader:
        assert reader.header == header


def test_a_recording_is_gzip_that_says_what_it_is(file: Path) -> None:
    assert gzip.decompress(written(file).read_bytes()).startswith(MAGIC)


def test_many_records_are_read_in_blocks_of_some_thousand(file: Path) -> None:
    written(file, [r.TimeAdvanced(1, 0)] * 10_000)

    with RecordingReader(file) as reader:
        sizes = [len(block) for block in reader.blocks()]

    assert sum(sizes) == 10_001
    assert max(sizes) <= 4_096


def test_what_is_older_than_a_second_is_on_the_disk_before_the_end(file: Path) -> None:
    writer = RecordingWriter(file, r.Header())
    for _ in range(3):
        writer.add(r.TimeAdvanced(SECOND_NS, 0))
    on_the_disk = file.with_name("copy")
    on_the_disk.write_bytes(file.read_bytes())
    writer.close()

    records, trouble = read(on_the_disk)

    assert records == [r.TimeAdvanced(SECOND_NS, 0)] * 3
    assert trouble == f"{on_the_disk} is cut off, as after a kill; it was read up to there."


@pytest.mark.costly
def test_a_recording_cut_off_at_any_byte_gives_what_came_before(file: Path) -> None:
    written(file)
    whole = file.read_bytes()
    cut = file.with_name("cut")
    counts = []
    for size in range(len(whole)):
        cut.write_bytes(whole[:size])
        try:
            records, trouble = read(cut)
        except ConfigError:
            assert not counts, "once the header is there, every longer part can be read"
            continue
        assert records == [*RECORDS, r.EndOfRecording(0, 0, len(RECORDS))][: len(records)]
        assert trouble or records[-1:] == [r.EndOfRecording(0, 0, len(RECORDS))]
        counts.append(len(records))

    assert counts == sorted(counts)
    assert counts[-1] == len(RECORDS) + 1


@pytest.mark.costly
def test_a_damaged_byte_ends_the_reading_and_never_changes_a_record(file: Path) -> None:
    written(file, [record for _ in range(50) for record in RECORDS])
    whole = file.read_bytes()
    good, _ = read(file)
    bad = file.with_name("bad")
    saved: list[int] = []
    for at in range(0, len(whole), 7):
        bad.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        try:
            records, trouble = read(bad)
        except ConfigError:
            continue
        assert records == good[: len(records)]
        if "damaged near byte" in trouble:
            saved.append(len(records))

    assert len(saved) > len(whole) / 7 / 2
    assert any(0 < count < len(good) for count in saved), "what comes before the damage is saved"


def test_memory_stays_bounded_however_much_a_block_claims_to_hold(file: Path) -> None:
    block = struct.pack("<II", 0, 0)
    header = msgspec.msgpack.encode(r.Header())
    plain = MAGIC + struct.pack("<II", len(header), zlib.crc32(header)) + header
    file.write_bytes(gzip.compress(plain + struct.pack("<II", 2**32 - 1, 0) + block))

    records, trouble = read(file)

    assert records == []
    assert "is damaged near byte" in trouble


@pytest.mark.parametrize("content", [b"", b"hello", gzip.compress(b"hello", mtime=0), gzip.compress(MAGIC, mtime=0)])
def test_what_is_no_recording_is_refused_in_a_sentence(file: Path, content: bytes) -> None:
    file.write_bytes(content)

    with pytest.raises(ConfigError, match="is not a fluxcap recording, or is empty"):
        RecordingReader(file)


def test_a_recording_of_a_newer_format_says_what_to_do(file: Path) -> None:
    written(file, header=r.Header(format=r.FORMAT + 1))

    with pytest.raises(ConfigError, match=r"format 3, and this fluxcap reads up to 2: update fluxcap\."):
        RecordingReader(file)


def test_fields_that_a_newer_header_has_besides_do_no_harm(file: Path) -> None:
    header = msgspec.msgpack.encode(msgspec.to_builtins(r.Header(platform="p")) | {"new": [1, 2]})
    file.write_bytes(gzip.compress(MAGIC + struct.pack("<II", len(header), zlib.crc32(header)) + header))

    with RecordingReader(file) as reader:
        assert reader.header.platform == "p"


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be opened: No such file"):
        RecordingReader(tmp_path / "nothing")


def test_an_existing_file_is_overwritten_only_when_told_to(file: Path) -> None:
    file.write_bytes(b"precious")

    with pytest.raises(ConfigError, match="exists; choose another name, or overwrite it with --force"):
        RecordingWriter(file, r.Header())
    assert file.read_bytes() == b"precious"

    with RecordingWriter(file, r.Header(), force=True):
        pass
    assert read(file) == ([r.EndOfRecording(0, 0, 0)], "")


def test_a_file_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be made: No such file or directory"):
        RecordingWriter(tmp_path / "no folder" / "file", r.Header())


@not_on_windows("it has no file that is always full")
def test_a_full_disk_ends_the_recording_with_a_sentence() -> None:
    writer = None
    with pytest.raises(FluxcapError, match="cannot be written: No space left on device"):
        writer = RecordingWriter(Path("/dev/full"), r.Header(), force=True)
    assert writer is None


def test_a_record_of_before_losses_were_kept_reads_as_one_without() -> None:
    told = msgspec.msgpack.encode([12, 0, 0, "EURUSD_otc", [[1, 1.5]], 1, 2, True])

    assert msgspec.msgpack.decode(told, type=r.Record) == r.Restored(0, 0, "EURUSD_otc", [(1, 1.5)], 1, 2, True)


@pytest.mark.costly
@not_on_windows("no limit on the size of files can be set there")
def test_a_recording_that_a_full_disk_did_not_let_begin_is_not_in_the_way_of_the_next(tmp_path: Path) -> None:
    path = tmp_path / "market.rec"
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from fluxcap.capture.recording import records as r\n"
        "from fluxcap.capture.recording.file import RecordingWriter\n"
        "header = r.Header()\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))\n"
        "try: RecordingWriter(Path(sys.argv[1]), header)\n"
        "except Exception as error: print(error)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "RecordingWriter(Path(sys.argv[1]), header).close()\n"
    )

    ran = subprocess.run([sys.executable, "-c", code, path], cwd=ROOT, capture_output=True, text=True, timeout=300)

    assert ran.returncode == 0, ran.stderr
    assert "cannot be written: File too large. Nothing was recorded." in ran.stdout
    assert read(path)[1] == ""


@pytest.mark.skipif(os.name != "posix", reason="an open file cannot be deleted there")
def test_a_recording_whose_file_is_deleted_says_so(file: Path) -> None:
    writer = RecordingWriter(file, r.Header())
    file.unlink()

    with pytest.raises(FluxcapError, match="was deleted or replaced while it was being written"):
        writer.add(RECORDS[0])
