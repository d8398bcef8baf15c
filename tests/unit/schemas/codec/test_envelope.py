"""Versions, correlation ids and sizes of envelopes."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable

import pytest

import fluxcap.schemas.codec
from fluxcap.schemas.codec import MAX_MESSAGE_BYTES, decode, encode, envelope
from fluxcap.schemas.errors import CodecError, MessageTooLarge, UnsupportedVersion
from fluxcap.schemas.generated import market_data as fb
from fluxcap.schemas.types import (
    CandleBatch,
    Envelope,
    ErrorResponse,
    GetCursorRequest,
    HealthRequest,
    ListStreamsRequest,
    Message,
    StreamKey,
)
from tests.support.wire import generated_wire
from tests.support.wire.wire_samples import KEY, sample_candles


def with_field(data: bytes, slot: int, format_: str, number: int) -> bytes:
    """The message with a number of its envelope changed."""
    buffer = bytearray(data)
    table = fb.Envelope.GetRootAs(data)._tab
    struct.pack_into(format_, buffer, table.Pos + table.Offset(4 + 2 * slot), number)
    return bytes(buffer)


def with_version(message: Message, version: int, correlation_id: str = "") -> bytes:
    return with_field(encode(message, correlation_id), 0, "<I", version)


def test_the_public_names():
    assert fluxcap.schemas.codec.__all__ == ["MAX_MESSAGE_BYTES", "MAX_STREAMS", "decode", "encode"]


def test_a_message_that_version_1_knows_says_1():
    assert fb.Envelope.GetRootAs(encode(CandleBatch(KEY, 1, sample_candles(1)))).SchemaVersion() == 1


def test_a_message_new_in_version_2_says_2():
    assert fb.Envelope.GetRootAs(encode(ListStreamsRequest())).SchemaVersion() == 2


def test_a_version_1_message_in_an_envelope_of_version_2_is_read():
    envelope = decode(with_version(GetCursorRequest(KEY), 2))

    assert (envelope.message, envelope.schema_version) == (GetCursorRequest(KEY), 2)


def test_a_version_2_message_in_an_envelope_of_version_1_is_refused():
    with pytest.raises(CodecError, match="ListStreamsRequest needs an envelope of schema version 2"):
        decode(with_version(ListStreamsRequest(), 1))


@pytest.mark.parametrize("version", [0, 3, 2**32 - 1])
def test_an_unknown_version_is_refused_with_the_correlation_id(version: int):
    with pytest.raises(UnsupportedVersion) as refusal:
        decode(with_version(HealthRequest(), version, "q-9"))

    assert refusal.value.correlation_id == "q-9"
    assert refusal.value.wire_code == 426


def test_an_unknown_version_is_the_reason_even_when_nothing_else_can_be_read():
    data = bytearray(with_version(GetCursorRequest(KEY), 3, "q-9"))
    text = bytes(data).index(b"q-9")
    data[text : text + 3] = b"\xff\xff\xff"
    del data[text + 8 :]

    with pytest.raises(UnsupportedVersion) as refusal:
        decode(bytes(data))

    assert refusal.value.correlation_id == ""


def test_an_envelope_that_says_no_version_is_of_version_1():
    # the generated builder elides the default
    assert decode(generated_wire.build(fb, HealthRequest())).schema_version == 1


def test_a_wrong_type_hint_does_not_matter():
    assert decode(with_field(encode(HealthRequest()), 1, "<b", 99)).message == HealthRequest()


@pytest.mark.parametrize("member", [0, 23, 255])
def test_an_unknown_member_of_the_union_is_refused_with_the_correlation_id(member: int):
    with pytest.raises(CodecError, match=f"union member {member}") as refusal:
        decode(with_field(encode(HealthRequest(), "q-9"), 3, "<B", member))

    assert refusal.value.correlation_id == "q-9"
    assert refusal.value.wire_code == 400


def test_a_damaged_message_is_refused_with_the_correlation_id():
    data = encode(GetCursorRequest(KEY), "q-9")

    with pytest.raises(CodecError) as refusal:
        decode(data[: data.index(KEY.symbol.encode())])

    assert refusal.value.correlation_id == "q-9"


def test_an_envelope_without_a_message_is_refused():
    data = bytearray(encode(HealthRequest(), "q-9"))
    table = fb.Envelope.GetRootAs(bytes(data))._tab
    vtable = table.Pos - struct.unpack_from("<i", data, table.Pos)[0]
    struct.pack_into("<H", data, vtable + 12, 0)

    with pytest.raises(CodecError, match="no message"):
        decode(bytes(data))


def test_no_correlation_id_is_absent_and_reads_as_empty():
    data = encode(HealthRequest())

    assert fb.Envelope.GetRootAs(data).CorrelationId() is None
    assert decode(data).correlation_id == ""


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_is_read(kind: type):
    assert decode(kind(encode(GetCursorRequest(KEY)))).message == GetCursorRequest(KEY)


def test_what_was_decoded_does_not_change_with_a_reused_buffer():
    buffer = bytearray(encode(CandleBatch(KEY, 1, sample_candles(50))))

    message = decode(buffer).message
    buffer[:] = bytes(len(buffer))

    assert isinstance(message, CandleBatch)
    assert message.candles.tobytes() == sample_candles(50).tobytes()


@pytest.mark.parametrize("data", [b"", b"\0", bytes(4), bytes(100), b"\xff" * 100, b"GET / HTTP/1.1\r\n\r\n"])
def test_garbage_is_refused(data: bytes):
    with pytest.raises(CodecError):
        decode(data)


def test_a_message_longer_than_the_limit_is_not_written():
    with pytest.raises(MessageTooLarge):
        encode(CandleBatch(KEY, 1, sample_candles(MAX_MESSAGE_BYTES // 68 + 1)))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_message_longer_than_the_limit_is_not_read(kind: type):
    with pytest.raises(MessageTooLarge) as refusal:
        decode(kind(bytes(MAX_MESSAGE_BYTES + 1)))

    assert refusal.value.wire_code == 413


def test_the_longest_message_is_written_and_read():
    text = "x" * (MAX_MESSAGE_BYTES - 200)

    assert decode(encode(ErrorResponse(1, text))).message == ErrorResponse(1, text)


def test_a_correlation_id_that_cannot_be_written_is_refused():
    with pytest.raises(CodecError):
        encode(HealthRequest(), "\ud800")


def test_names_may_be_any_text():
    key = StreamKey("", "Яндекс\0 é", "🕯")

    assert decode(encode(GetCursorRequest(key))).message == GetCursorRequest(key)


def test_the_codec_needs_neither_flatbuffers_nor_the_generated_code():
    code = (
        "import sys, fluxcap.schemas.codec; print([m for m in sys.modules if 'flatbuffers' in m or 'generated' in m])"
    )

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"


# --- a batch of one candle, which is read by what is known of its frame ----------------------------------------------


def outcome(read: Callable[[bytes], Envelope | None], data: bytes) -> object:
    """The batch that was read, by value, or that it was refused; the message for any other."""
    try:
        found = read(data)
    except CodecError as error:
        return type(error), str(error)
    if found is None or not isinstance(found.message, CandleBatch):
        return repr(found)
    batch = found.message
    return batch.key, batch.start_sequence, batch.candles.tobytes(), found.correlation_id, found.schema_version


ONE_CANDLE_KEYS = [KEY, StreamKey("", "", ""), StreamKey("PÖCKET", "BRK.B", "1h"), StreamKey("S", "x" * 250, "1m")]


@pytest.mark.parametrize("key", ONE_CANDLE_KEYS, ids=lambda key: f"{str(key)[:12]}…")
def test_a_batch_of_one_candle_is_known_by_its_frame(key: StreamKey) -> None:
    for sequence in (1, 2**64 - 1):
        message = encode(CandleBatch(key, sequence, sample_candles(1)))

        known = envelope._decode_one_candle(message)

        assert known is not None
        assert outcome(decode, message) == outcome(envelope._decode, message)


@pytest.mark.parametrize("key", ONE_CANDLE_KEYS[:3], ids=lambda key: f"{str(key)[:12]}…")
def test_a_frame_with_any_byte_changed_is_read_as_if_it_were_not_known(key: StreamKey) -> None:
    message = encode(CandleBatch(key, 7, sample_candles(1)))
    decode(message)

    for place, was in enumerate(message):
        for byte in {0, 1, 0x7F, 0xFF, was ^ 1, was ^ 4} - {was}:
            changed = message[:place] + bytes([byte]) + message[place + 1 :]

            assert outcome(decode, changed) == outcome(envelope._decode, changed)
    for cut in range(1, len(message)):
        assert outcome(decode, message[:-cut]) == outcome(envelope._decode, message[:-cut])


def test_batches_of_more_candles_and_answers_are_not_taken_for_one_candle() -> None:
    for message in (
        encode(CandleBatch(KEY, 1, sample_candles(2))),
        encode(CandleBatch(KEY, 1, sample_candles(0))),
        encode(CandleBatch(KEY, 1, sample_candles(1)), "7"),
        encode(CandleBatch(StreamKey("S", "x" * 2_000, "1m"), 1, sample_candles(1))),
    ):
        assert envelope._decode_one_candle(message) is None
