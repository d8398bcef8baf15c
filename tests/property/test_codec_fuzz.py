"""A bounded run of the fuzzer of ``tests/fuzz``; ``make fuzz`` runs it a million times."""

from __future__ import annotations

import pytest

from fluxcap.schemas.codec import decode
from fluxcap.schemas.errors import CodecError, MessageTooLarge
from fluxcap.schemas.types import CandleBatch, ListStreamsResponse
from tests.fuzz.driver import fuzz
from tests.fuzz.fuzz_codec import amplifiers, begin, check, check_memory, seeds
from tests.support.examples import examples


def test_damaged_messages_are_decoded_or_refused_and_nothing_else_happens():
    count = examples(20_000)

    outcomes = fuzz(begin, count, seed=20_250_903)

    # Neither the damage nor the checks are so coarse that one of the two never happens.
    assert outcomes["decoded"] > count / 20
    assert outcomes["refused"] > count / 2


def test_every_seed_of_the_fuzzer_is_sound():
    assert all(check(data) for data in seeds())


@pytest.mark.costly
@pytest.mark.parametrize("name", amplifiers())
def test_memory_stays_in_proportion_however_much_a_message_shares(name: str):
    check_memory(amplifiers()[name])


def test_shared_tables_are_read_as_long_as_they_stay_in_proportion():
    candles = decode(amplifiers()["candles that share a table"]).message
    streams = decode(amplifiers()["streams that share a table"]).message

    assert isinstance(candles, CandleBatch)
    assert len(candles.candles) == 5_000
    assert isinstance(streams, ListStreamsResponse)
    assert len(streams.streams) == 5_000


def test_more_shared_tables_than_bytes_to_hold_them_are_refused():
    with pytest.raises(CodecError):
        decode(amplifiers()["candles that share a table"][:-1])
    with pytest.raises(MessageTooLarge):
        decode(amplifiers()["streams that share a table"][:-1])


def test_strings_shared_without_end_are_refused():
    with pytest.raises(MessageTooLarge, match="strings"):
        decode(amplifiers()["streams that share a long string"])
