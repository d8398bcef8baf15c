"""``fluxcap record`` and ``fluxcap replay`` as they are typed: results, options, errors, exit codes."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fluxcap.capture.cli.app import run_cli
from fluxcap.capture.cli.record import line
from fluxcap.capture.recording.file import RecordingReader, RecordingWriter
from fluxcap.capture.recording.recorder import open_recorder
from fluxcap.capture.recording.records import RULES, Header
from fluxcap.capture.tools.record import RecordingProgress
from tests.golden.write_recording import EXPECTED, RECORDING
from tests.support.systems import not_on_windows

pytestmark = pytest.mark.costly

NO_CHROME = ("--chrome", "127.0.0.1:1", "--seconds", "0.3")


def test_a_replay_says_what_it_made_and_ends_with_the_digest(capsys: pytest.CaptureFixture[str]) -> None:
    code = run_cli(["replay", str(RECORDING)])

    told = capsys.readouterr().out
    assert code == 0
    assert told.splitlines()[-1] == f"Digest {json.loads(EXPECTED.read_text())['digest']}"
    assert "ticks over 15 min" in told
    assert "GOLDEN.EURUSD_otc.1m: " in told
    assert "The platform stamps ticks +2 h from UTC, by this computer's clock alone; removed." in told
    assert "econstructed" not in told


def test_a_recording_of_older_rules_is_told_and_one_of_todays_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, rules in (("old", msgspec.UNSET), ("new", RULES)):
        with RecordingWriter(tmp_path / name, Header(platform="pocketoption", rules=rules)):
            pass

    assert run_cli(["replay", str(tmp_path / "old")]) == 0
    assert f"under older rules (1, now {RULES})" in " ".join(capsys.readouterr().out.split())
    assert run_cli(["replay", str(tmp_path / "new")]) == 0
    assert "older rules" not in capsys.readouterr().out


def test_a_replay_writes_csv_and_keeps_its_store_where_told(tmp_path: Path) -> None:
    code = run_cli(
        ["replay", str(RECORDING), "--out", str(tmp_path / "a.csv"), "--data-dir", str(tmp_path / "d"), "--json"]
    )

    rows = (tmp_path / "a.csv").read_text().splitlines()
    expected = json.loads(EXPECTED.read_text())
    assert code == 0
    assert len(rows) == 1 + sum(len(stream["candles"]) for stream in expected["streams"].values())
    assert (tmp_path / "d" / "fluxcap.duckdb").is_file()


def test_json_is_one_value_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    run_cli(["replay", str(RECORDING), "--json", "--focus", "usdjpy otc", "--interval", "15s", "--speed", "1000000"])

    summary: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [stream["key"] for stream in summary["streams"]] == [
        {"source_id": "GOLDEN", "symbol": "USDJPY_otc", "interval": "15s"}
    ]
    assert summary["trouble"] == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["replay", "nothing"], "The recording nothing cannot be opened: No such file or directory."),
        (["replay", str(EXPECTED.with_suffix(".py"))], "cannot be opened"),
        (["replay", str(RECORDING), "--speed", "fast"], "'fast' is no speed; write a number above 0"),
        (["replay", str(RECORDING), "--speed", "-1"], "'-1' is no speed"),
        (["replay", str(RECORDING), "--speed", "nan"], "'nan' is no speed"),
        (["replay", str(RECORDING), "--interval", "soon"], "'soon' is not an interval"),
        (["replay", str(EXPECTED)], "holds no captured frames"),
        (["record", str(RECORDING), *NO_CHROME], "exists; choose another name, or overwrite it with --force"),
        (["record", "/nowhere/at/all", *NO_CHROME], "cannot be made"),
        (["record", "x", "--chrome", "nonsense"], "'nonsense' is not HOST:PORT"),
        (["record", "x", "--platform", "nobody"], "There is no platform 'nobody'"),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_code_2(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)

    code = run_cli(arguments)

    told = capsys.readouterr().err
    assert code == 2
    assert sentence in told
    assert len(told.strip().splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_a_recording_lasts_as_long_as_told_however_long_its_beginning_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(*arguments: Any, **named: Any) -> Any:
        time.sleep(0.3)
        return open_recorder(*arguments, **named)

    monkeypatch.setattr("fluxcap.capture.tools.record.open_recorder", slowly)

    assert run_cli(["record", str(tmp_path / "a.fluxcap"), *NO_CHROME, "--json"]) == 0

    assert json.loads(capsys.readouterr().out)["seconds"] >= 0.3


def test_recording_without_chrome_waits_for_it_and_leaves_a_sound_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.rec"

    code = run_cli(["record", str(file), *NO_CHROME, "--json"])

    assert code == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["frames"], told["sockets"], told["chrome"]) == (0, 0, "not reachable")
    with RecordingReader(file) as reader:
        assert list(reader)
        assert reader.error == ""


def test_force_overwrites(tmp_path: Path) -> None:
    file = tmp_path / "a.rec"
    file.write_bytes(b"old")

    assert run_cli(["record", str(file), *NO_CHROME, "--force"]) == 0
    assert file.read_bytes() != b"old"


@not_on_windows("it has no file that is always full")
def test_a_full_disk_ends_the_recording_with_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(RecordingWriter):
        def _put(self, data: bytes) -> None:
            if self.size_bytes:
                self._file.close()
                self._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
            super()._put(data)

    monkeypatch.setattr("fluxcap.capture.recording.recorder.RecordingWriter", Full)

    code = run_cli(["record", str(tmp_path / "a.rec"), "--chrome", "127.0.0.1:1", "--seconds", "30"])

    assert code == 1
    assert "cannot be written: No space left on device. It can be replayed up to here." in capsys.readouterr().err


def test_the_line_shown_while_recording_says_how_it_goes_or_what_it_waits_for() -> None:
    going = RecordingProgress("attached", 61.2, 3, 12_345, 20, 6_000, 45_600)

    assert line(Path("a.rec"), going) == (
        "Recording to a.rec: 61 s, 3 sockets, 12,345 frames, 6,000 ticks, 46 kB; Ctrl-C to stop"
    )
    waiting = RecordingProgress("not reachable", 1, 0, 0, 0, 0, 0)
    assert line(Path("a.rec"), waiting) == "Waiting for Chrome (not reachable); Ctrl-C to stop"
