"""The bytes of every message are pinned by golden files, and every reader there is reads them alike."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fluxcap.schemas.codec import decode, encode
from fluxcap.schemas.generate import SCHEMA_FOLDER
from fluxcap.schemas.generated import market_data, market_data_v1
from fluxcap.schemas.types import BackfillCandlesResponse, CandleBatch, Message
from tests.golden.write_golden import GOLDEN_FOLDER, json_by_flatc
from tests.support.wire import generated_wire
from tests.support.wire.flatbuffer_verifier import Verifier
from tests.support.wire.wire_samples import SAMPLES, differences

VERSION_1 = [name for name, (message, _) in SAMPLES.items() if type(message) not in generated_wire.VERSION_2]
VERSION_2 = [name for name in SAMPLES if name not in VERSION_1]

needs_flatc = pytest.mark.skipif(shutil.which("flatc") is None, reason="flatc (flatbuffers-compiler) is not installed")


def golden(name: str) -> bytes:
    return (GOLDEN_FOLDER / f"{name}.bin").read_bytes()


def golden_json(name: str) -> dict[str, Any]:
    return json.loads((GOLDEN_FOLDER / f"{name}.json").read_text())


def without_version_2(tree: Any) -> Any:
    """The JSON as a version-1 reader sees it: the fields appended to candles are not there."""
    if isinstance(tree, dict):
        return {name: without_version_2(value) for name, value in tree.items() if name not in ("tick_count", "flags")}
    return [without_version_2(value) for value in tree] if isinstance(tree, list) else tree


def as_version_1(message: Message) -> Message:
    if not isinstance(message, CandleBatch | BackfillCandlesResponse):
        return message
    candles = message.candles.copy()
    candles["tick_count"] = candles["flags"] = 0
    return msgspec.structs.replace(message, candles=candles)


def test_there_is_a_golden_file_for_every_sample_and_a_sample_for_every_message():
    assert {path.stem for path in GOLDEN_FOLDER.glob("*.bin")} == set(SAMPLES)
    assert {type(message) for message, _ in SAMPLES.values()} == set(generated_wire.MEMBERS)


@pytest.mark.parametrize("name", SAMPLES)
def test_encoding_gives_the_golden_bytes(name: str):
    message, correlation_id = SAMPLES[name]

    assert encode(message, correlation_id) == golden(name)


@pytest.mark.parametrize("name", SAMPLES)
def test_decoding_the_golden_bytes_gives_the_message(name: str):
    message, correlation_id = SAMPLES[name]

    envelope = decode(golden(name))

    assert differences(message, envelope.message) == []
    assert envelope.correlation_id == correlation_id
    assert envelope.schema_version == (1 if name in VERSION_1 else 2)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_generated_reader_reads_the_golden_bytes(name: str):
    message, correlation_id = SAMPLES[name]
    hint = generated_wire.MEMBERS[type(message)][1]

    envelope = generated_wire.read(market_data, golden(name))

    assert differences(message, envelope.message) == []
    assert envelope.correlation_id == correlation_id
    assert envelope.schema_version == (1 if name in VERSION_1 else 2)
    assert generated_wire.type_hint(market_data, golden(name)) == getattr(market_data.MessageType, hint)


@pytest.mark.parametrize("name", VERSION_1)
def test_a_reader_of_version_1_alone_reads_every_message_of_version_1(name: str):
    expected = as_version_1(SAMPLES[name][0])

    envelope = generated_wire.read(market_data_v1, golden(name))

    assert differences(expected, envelope.message) == []
    assert envelope.schema_version == 1


@pytest.mark.parametrize("name", VERSION_2)
def test_a_reader_of_version_1_alone_can_tell_that_a_message_of_version_2_is_not_for_it(name: str):
    envelope = market_data_v1.Envelope.GetRootAs(golden(name))

    assert envelope.SchemaVersion() == 2
    assert envelope.CorrelationId() == (SAMPLES[name][1].encode() or None)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_verifier_of_other_languages_accepts_the_golden_bytes(name: str):
    Verifier(SCHEMA_FOLDER / "market_data.fbs").verify(golden(name))


@pytest.mark.parametrize("name", VERSION_1)
def test_the_verifier_of_version_1_accepts_every_message_of_version_1(name: str):
    Verifier(SCHEMA_FOLDER / "market_data_v1.fbs").verify(golden(name))


@needs_flatc
def test_flatc_reads_the_golden_bytes(tmp_path: Path):
    json_by_flatc("market_data", [GOLDEN_FOLDER / f"{name}.bin" for name in SAMPLES], tmp_path)

    assert {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in SAMPLES} == {
        name: golden_json(name) for name in SAMPLES
    }


@needs_flatc
def test_flatc_with_the_schema_of_version_1_reads_every_message_of_version_1(tmp_path: Path):
    json_by_flatc("market_data_v1", [GOLDEN_FOLDER / f"{name}.bin" for name in VERSION_1], tmp_path)

    assert {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in VERSION_1} == {
        name: without_version_2(golden_json(name)) for name in VERSION_1
    }


@needs_flatc
@pytest.mark.parametrize("options", [[], ["--force-defaults"]], ids=["zeros elided", "zeros written"])
def test_what_the_builder_of_another_language_writes_is_decoded_alike(tmp_path: Path, options: list[str]):
    files = [str(GOLDEN_FOLDER / f"{name}.json") for name in SAMPLES]
    schema = str(SCHEMA_FOLDER / "market_data.fbs")

    subprocess.run(["flatc", "--binary", *options, "-o", str(tmp_path), schema, *files], check=True)

    for name, (message, correlation_id) in SAMPLES.items():
        data = (tmp_path / f"{name}.bin").read_bytes()
        envelope = decode(data)
        assert (name, differences(message, envelope.message)) == (name, [])
        assert envelope.correlation_id == correlation_id
        assert data != golden(name)
