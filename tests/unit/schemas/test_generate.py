"""The generated code is what the pinned compiler makes of the schemas, and version 1 only ever grew."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fluxcap.schemas import generate
from fluxcap.schemas.errors import ConfigError
from tests.support.wire.flatbuffer_verifier import Verifier

FOUND = generate.flatc_version()
needs_flatc = pytest.mark.skipif(
    FOUND != generate.FLATC_VERSION, reason=f"flatc {generate.FLATC_VERSION} is needed, found {FOUND}"
)


@needs_flatc
def test_the_generated_code_is_what_flatc_makes_of_the_schemas():
    sources = generate.generate()

    assert {name: (generate.GENERATED_FOLDER / name).read_text() for name in sources} == sources


@needs_flatc
def test_generating_twice_gives_the_same_text():
    assert generate.generate() == generate.generate()


@needs_flatc
def test_check_names_what_is_stale_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(generate, "GENERATED_FOLDER", tmp_path)

    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "stale: schemas/generated/market_data.py",
        "stale: schemas/generated/market_data_v1.py",
    ]
    assert list(tmp_path.iterdir()) == []


@needs_flatc
def test_generating_writes_what_is_stale_and_then_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(generate, "GENERATED_FOLDER", tmp_path)

    assert generate.main([]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"market_data.py", "market_data_v1.py"}
    capsys.readouterr()
    assert generate.main([]) == 0
    assert capsys.readouterr().out == ""


def test_another_compiler_is_refused_with_a_word_on_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(generate, "flatc_version", lambda: "99.1")

    with pytest.raises(ConfigError, match=r"found 99\.1; install Debian's flatbuffers-compiler"):
        generate.generate()


def test_without_a_compiler_the_command_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(generate.shutil, "which", lambda name: None)

    assert generate.main([]) == 2
    assert "there is none on the path" in capsys.readouterr().err


@needs_flatc
def test_the_schema_conforms_to_version_1(tmp_path: Path):
    schema, frozen = (str(generate.SCHEMA_FOLDER / f"{name}.fbs") for name in ("market_data", "market_data_v1"))

    result = subprocess.run(
        ["flatc", "--conform", frozen, "--python", "-o", str(tmp_path), schema], capture_output=True, text=True
    )

    assert (result.returncode, result.stdout + result.stderr) == (0, "")


def test_tables_and_union_of_version_1_are_a_prefix_of_the_schema():
    now = Verifier(generate.SCHEMA_FOLDER / "market_data.fbs")
    frozen = Verifier(generate.SCHEMA_FOLDER / "market_data_v1.fbs")

    assert now.members[: len(frozen.members)] == frozen.members
    assert {name: now.tables[name][: len(fields)] for name, fields in frozen.tables.items()} == frozen.tables
