"""What the README shows is true: its examples are taken from it and run."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fluxcap.bridge.archive.partition import Partition
from fluxcap.bridge.archive.partition_file import PartitionFiles
from fluxcap.bridge.archive.rows import ROW_DTYPE
from fluxcap.capture.platforms import registry
from fluxcap.capture.platforms.base import Keep, RawTick
from fluxcap.capture.platforms.registry import GROUP, platform_named
from fluxcap.capture.runtime.settings import load_settings
from fluxcap.schemas.types import StreamKey
from tests.support.paths import ROOT
from tests.support.wire.samples import candle_rows

README = (ROOT / "README.md").read_text()


def block(language: str, word: str) -> str:
    """The one code block of a language that holds a word."""
    found = [text for text in re.findall(rf"```{language}\n(.*?)```", README, re.S) if word in text]
    assert len(found) == 1, f"{len(found)} blocks of {language} hold {word!r}"
    return str(found[0])


def test_the_platform_in_30_lines_works_as_a_plug_in(monkeypatch: pytest.MonkeyPatch):
    code = block("python", "class Semicolons")
    module = ModuleType("my_package")
    exec(compile(code, "README.md", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, "my_package", module)
    announced = EntryPoints([EntryPoint("semicolons", "my_package:Semicolons", GROUP)])
    monkeypatch.setattr(registry, "entry_points", lambda group: announced.select(group=group))

    platform = platform_named("semicolons", ["mirror.example"])
    decoder, redaction = platform.decoder(), platform.redaction()

    assert len([line for line in code.splitlines() if line.strip()]) <= 30
    assert [platform.is_page(url) for url in ("https://example.com/x", "https://evil.test/")] == [True, False]
    assert platform.is_socket("wss://ws.example.com/")
    assert platform.is_page("https://mirror.example/")
    assert decoder.received(1, "EURUSD;1690000000.123;1.0912") == [RawTick("EURUSD", 1_690_000_000_123, 1.0912)]
    assert [list(decoder.received(1, bad)) for bad in ("x", "A;1;nan", "A;b;1", "A;1;-1")] == [[]] * 4
    assert decoder.malformed["frame"] == 4
    assert platform.decoder().malformed == {}
    assert redaction.received(1, "EURUSD;1690000000.123;1.0912").keep is Keep.CONTENT
    assert redaction.received(1, "balance 5").keep is Keep.TALK


def test_the_described_platform_is_read_as_it_stands(tmp_path: Path):
    file = tmp_path / "fluxcap.toml"
    file.write_text(block("toml", "[platforms.binance]"))
    settings = load_settings(file)

    platform = platform_named(settings.platform, settings.platform_url, settings.platforms)
    frame = '{"stream":"x","data":{"e":"trade","s":"BTCUSDT","p":"27123.45","T":1690000000123}}'

    assert platform.is_page("https://www.binance.com/en/trade/BTC_USDT")
    assert list(platform.decoder().received(1, frame)) == [RawTick("BTCUSDT", 1_690_000_000_123, 27_123.45)]


def test_the_archive_is_read_as_the_readme_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    code = block("python", "read_parquet")
    begin = 20_779 * 1_440
    with PartitionFiles(tmp_path / "archive") as files:
        for symbol in ("EURUSD_otc", "100"):
            rows = np.zeros(3, ROW_DTYPE)
            rows["sequence"], rows["candle"] = [1, 2, 3], candle_rows(begin, 3)
            files.write([(Partition(StreamKey("DESK1", symbol, "1m"), 20_779), rows)], ["a"])
    monkeypatch.chdir(tmp_path)

    exec(compile(code, "README.md", "exec"), {})

    told = capsys.readouterr().out
    shown = [[cell.strip() for cell in line.split("│")[1:-1]] for line in told.splitlines() if "DESK1" in line]
    assert [row[:3] + row[-2:] for row in shown] == [
        ["DESK1", "100", "2026-11-22", "30.0", "3"],
        ["DESK1", "EURUSD_otc", "2026-11-22", "30.0", "3"],
    ]
    assert str(Partition(StreamKey("DESK1", "EURUSD_otc", "1m"), 20_779).path) in README


def test_the_entry_point_is_announced_as_the_readme_says():
    assert f'[project.entry-points."{GROUP}"]' in README
    assert GROUP in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]


def test_completion_knows_the_commands():
    asked = {"_FLUXCAP_COMPLETE": "complete_bash", "COMP_WORDS": "fluxcap co", "COMP_CWORD": "1"}

    run = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv[0] = 'fluxcap'; from fluxcap.capture.cli.app import main; main()"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | asked,
        check=False,
    )

    assert run.stdout.split() == ["collect", "collect-mode", "config"]


def test_the_service_starts_a_command_that_exists_and_comes_back_when_it_fails():
    unit = configparser.ConfigParser()
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(block("ini", "[Service]").replace("%h", "/home/me"))

    assert unit["Service"]["ExecStart"].split()[1:] == ["run", "--log-json"]
    assert unit["Service"]["Restart"] == "on-failure"


def test_every_command_that_the_readme_shows_exists():
    from typer.main import get_command

    from fluxcap.capture.cli.app import app

    commands = set(get_command(app).commands)  # type: ignore[attr-defined]
    shown = {
        match[1]
        for text in re.findall(r"```sh\n(.*?)```", README, re.S)
        for match in re.finditer(r"(?m)^(?:\.venv/bin/)?fluxcap ([a-z][a-z-]*)", text)
    }

    assert {"collect", "doctor", "config"} <= shown <= commands
