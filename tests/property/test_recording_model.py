"""Any records, in any order, are read as they were written, and of any part of the file a prefix of them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from fluxcap.capture.market.focus import Focus, FocusMode
from fluxcap.capture.recording import records as r
from fluxcap.capture.recording.file import RecordingReader, RecordingWriter
from fluxcap.schemas.errors import ConfigError
from tests.support.examples import examples

I64 = st.integers(-(2**63), 2**63 - 1)
NUMBER = st.integers(0, 2**40)
TEXT = st.text(max_size=60)
AT = (st.integers(-(2**62), 2**62), I64)
FOCUS = st.builds(Focus, st.sampled_from(FocusMode), st.lists(TEXT, max_size=3).map(tuple))
TICKS = st.lists(st.tuples(NUMBER, st.floats(allow_nan=False)), max_size=5)
LOST = st.lists(st.tuples(NUMBER, NUMBER), max_size=3)

RECORDS = st.lists(
    st.one_of(
        st.builds(r.TextFrame, *AT, NUMBER, st.booleans(), TEXT),
        st.builds(r.BinaryFrame, *AT, NUMBER, st.booleans(), st.binary(max_size=60)),
        st.builds(r.RawFrame, *AT, NUMBER, st.booleans(), NUMBER, TEXT),
        st.builds(r.RedactedFrame, *AT, NUMBER, st.booleans(), st.booleans()),
        st.builds(r.SentFrame, *AT, NUMBER, NUMBER, TEXT),
        st.builds(r.SocketOpened, *AT, NUMBER, TEXT, NUMBER),
        st.builds(r.SocketLost, *AT, NUMBER, TEXT),
        st.builds(r.TimeAdvanced, *AT),
        st.builds(r.FocusChanged, *AT, FOCUS),
        st.builds(r.TabAttached, *AT, NUMBER, TEXT, TEXT),
        st.builds(r.TabGone, *AT, NUMBER, TEXT),
        st.builds(r.BrowserState, *AT, st.booleans(), TEXT),
        st.builds(r.Restored, *AT, TEXT, TICKS, NUMBER, NUMBER, st.booleans(), LOST),
    ),
    max_size=40,
)


@given(records=RECORDS, data=st.data())
@settings(max_examples=examples(60), deadline=None)
def test_any_records_round_trip_and_any_part_of_the_file_gives_a_prefix(
    records: list[r.Record], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recording"
        with RecordingWriter(path, r.Header()) as writer:
            for record in records:
                writer.add(record)
        with RecordingReader(path) as reader:
            assert list(reader) == [*records, r.EndOfRecording(0, 0, len(records))]
            assert not reader.error

        whole = path.read_bytes()
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole)), label="bytes left")])
        try:
            with RecordingReader(path) as reader:
                assert list(reader) == [*records, r.EndOfRecording(0, 0, len(records))][: _count(path)]
        except ConfigError:
            pass


def _count(path: Path) -> int:
    with RecordingReader(path) as reader:
        return sum(1 for _ in reader)
