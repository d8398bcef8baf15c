"""What the documents show is true: examples run, commands, links, paths and names exist, and the README is short."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import numpy as np
import pytest
from typer.main import get_command

import fluxcap.errors
from fluxcap.bridge.archive.partition import Partition
from fluxcap.bridge.archive.partition_file import PartitionWriter
from fluxcap.bridge.archive.rows import ROW_DTYPE
from fluxcap.bridge.client.events import Event
from fluxcap.capture.cli.app import app
from fluxcap.capture.platforms import registry
from fluxcap.capture.platforms.base import Keep, RawTick
from fluxcap.capture.platforms.registry import GROUP, choices, platform_named
from fluxcap.capture.runtime.settings import load_settings
from fluxcap.schemas.types import StreamKey
from tests.support.documents import (
    CLIENTS,
    CONTRIBUTING,
    DOCUMENTS,
    OPERATIONS,
    README,
    block,
    blocks,
    name_of,
    names,
    prose_of,
    quoted,
    rows,
    section,
)
from tests.support.paths import ROOT
from tests.support.wire.samples import candle_rows

MOST_LINES = 180
"""Of the README. What is too much for it has a place in one of the documents that it links."""
FOLDERS = ("fluxcap", "capture", "bridge", "schemas", "tests", "data", ".github", ".ci")
"""Where paths in backticks begin, and where folders are looked for."""
COMMAND = re.compile(r"fluxcap (?!was not running)")
"""Not the reason of a gap that begins so."""
MIRRORED = ("tests/unit", "tests/integration", "tests/soak", "tests/support", "tests/golden")
"""Their own folders follow from what the map says of them."""


# --- examples --------------------------------------------------------------------------------------------------------


def test_the_platform_in_30_lines_works_as_a_plug_in(monkeypatch: pytest.MonkeyPatch):
    code = block(OPERATIONS, "python", "class Semicolons")
    module = ModuleType("my_package")
    exec(compile(code, "<document>", "exec"), module.__dict__)
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
    file.write_text(block(OPERATIONS, "toml", "[platforms.binance]"))
    settings = load_settings(file)

    platform = platform_named(settings.platform, settings.platform_url, settings.platforms)
    frame = '{"stream":"x","data":{"e":"trade","s":"BTCUSDT","p":"27123.45","T":1690000000123}}'

    assert platform.is_page("https://www.binance.com/en/trade/BTC_USDT")
    assert list(platform.decoder().received(1, frame)) == [RawTick("BTCUSDT", 1_690_000_000_123, 27_123.45)]


@pytest.mark.parametrize(
    ("name", "frames", "tick"),
    [
        (
            "lists",
            [
                '{"channel": "market_trades", "events": [{"type": "update", "trades": [{"product_id": "ETH-USD",'
                '"time": "2023-07-22T04:26:40.123Z", "price": "1.5"}]}]}'
            ],
            RawTick("ETH-USD", 1_690_000_000_123, 1.5),
        ),
        (
            "numbers",
            ['{"name": "quote", "msg": {"active_id": 76, "at": 1690000000123000000, "bid": 1.5}}'],
            RawTick("EURUSD-OTC", 1_690_000_000_123, 1.5),
        ),
        (
            "channels",
            [
                '{"event": "subscribed", "channel": "trades", "chanId": 17470, "pair": "BTCUSD"}',
                '[17470, "te", [401597395, 1574694478808, 0.005, 7245.3]]',
            ],
            RawTick("BTCUSD", 1_574_694_478_808, 7_245.3, "401597395"),
        ),
        ("kinds", ['[0, [["1.5", "1", "1690000000.123"]], "trade", "XBT"]'], RawTick("XBT", 1_690_000_000_123, 1.5)),
    ],
)
def test_each_way_to_describe_a_platform_is_read_as_it_stands(name: str, frames: list[str], tick: RawTick):
    tables = tomllib.loads(block(OPERATIONS, "toml", f"[platforms.{name}]"))["platforms"]
    decoder = platform_named(name, (), tables).decoder()

    assert [found for frame in frames for found in decoder.received(1, frame)] == [tick]


def test_the_platforms_that_ship_stand_in_the_table_with_their_mark():
    rows = dict(re.findall(r"(?m)^\| `([\w-]+)` \|.* \| ([^|]+) \|$", section(OPERATIONS, "Other platforms")))

    assert rows == {one.name: one.origin for one in choices({})}


def test_the_archive_is_read_as_the_document_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    code = block(CLIENTS, "python", "read_parquet")
    begin = 20_779 * 1_440
    with PartitionWriter(tmp_path / "archive") as files:
        for symbol in ("EURUSD_otc", "100"):
            rows = np.zeros(3, ROW_DTYPE)
            rows["sequence"], rows["candle"] = [1, 2, 3], candle_rows(begin, 3)
            files.write([(Partition(StreamKey("DESK1", symbol, "1m"), 20_779), rows)], ["a"])
    monkeypatch.chdir(tmp_path)

    exec(compile(code, "<document>", "exec"), {})

    told = capsys.readouterr().out
    shown = [[cell.strip() for cell in line.split("│")[1:-1]] for line in told.splitlines() if "DESK1" in line]
    assert [row[:3] + row[-2:] for row in shown] == [
        ["DESK1", "100", "2026-11-22", "30.0", "3"],
        ["DESK1", "EURUSD_otc", "2026-11-22", "30.0", "3"],
    ]
    assert str(Partition(StreamKey("DESK1", "EURUSD_otc", "1m"), 20_779).path) in CLIENTS.read_text()


def test_the_entry_point_is_announced_as_the_document_says():
    assert f'[project.entry-points."{GROUP}"]' in OPERATIONS.read_text()
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

    assert sorted(run.stdout.split()) == ["collect", "collect-mode", "config"]


@pytest.mark.parametrize("document", [README, CLIENTS, OPERATIONS], ids=name_of)
def test_what_examples_import_is_public(document: Path):
    imported = [
        (node.module, alias.name)
        for code in blocks(document, "python")
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if node.module in ("fluxcap", "fluxcap.errors", "fluxcap.platforms")
    ]

    assert imported
    assert [(module, name) for module, name in imported if name not in import_module(str(module)).__all__] == []


# --- the public API --------------------------------------------------------------------------------------------------


def test_every_event_of_the_client_stands_there_with_its_fields_and_no_other():
    told = {quoted(row[0])[0]: quoted(row[1]) for row in rows(section(CLIENTS, "Events"))}

    assert told == {kind.__name__: list(kind.__struct_fields__) for kind in get_args(Event)}


def test_every_option_of_the_client_stands_there_and_no_other():
    told = names(rows(section(CLIENTS, "In Python")))

    assert sorted(told) == sorted(set(inspect.signature(fluxcap.LiveClient.__init__).parameters) - {"self"})


def test_every_error_that_a_client_raises_is_one_of_ours():
    told = names(rows(section(CLIENTS, "Errors")))

    assert told
    assert set(told) <= set(fluxcap.errors.__all__)


def test_every_state_of_health_stands_there_and_no_other():
    first = section(CLIENTS, "Health").partition(".")[0]

    assert set(quoted(first)) == {state.name for state in fluxcap.HealthState}


# --- commands --------------------------------------------------------------------------------------------------------


def commands_of(document: Path) -> list[str]:
    """Every ``fluxcap …`` that a document shows, in a block or in a line."""
    in_blocks = [
        match[1]
        for text in blocks(document, "sh")
        for match in re.finditer(r"(?m)^(?:\.venv/bin/)?fluxcap (.*?)\s*(?:#.*)?$", text)
    ]
    in_prose = [" ".join(text.split()) for text in quoted(prose_of(document))]
    return in_blocks + [text.removeprefix("fluxcap ") for text in in_prose if COMMAND.match(text)]


@cache
def root_command() -> Any:
    return get_command(app)


def what_is_wrong_with(shown: str) -> str:
    """Why a command cannot be what is shown; "" when it can."""
    command = root_command()
    words = shown.split()
    while words and not words[0].startswith("-") and hasattr(command, "commands"):
        if words[0] not in command.commands:
            return f"fluxcap {shown}: there is no command {words[0]}"
        command = command.commands[words.pop(0)]
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help"}
    unknown = [word for word in words if re.match(r"--[a-z]", word) and word not in known]
    return f"fluxcap {shown}: there is no {', '.join(unknown)}" if unknown else ""


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_command_that_a_document_shows_exists_with_its_options(document: Path):
    assert [wrong for shown in commands_of(document) if (wrong := what_is_wrong_with(shown))] == []


def test_a_command_that_does_not_exist_is_found():
    assert what_is_wrong_with("tail A B --keys keys") == ""
    assert what_is_wrong_with("focus set A") == ""
    assert what_is_wrong_with("tali A B") == "fluxcap tali A B: there is no command tali"
    assert what_is_wrong_with("focus st A") == "fluxcap focus st A: there is no command st"
    assert what_is_wrong_with("tail A B --no-such x") == "fluxcap tail A B --no-such x: there is no --no-such"


def test_the_readme_shows_five_commands():
    commands = re.findall(r"(?m)^fluxcap (\w+)", section(README, "Five commands").partition("```sh")[2])

    assert commands == ["status", "tail", "doctor", "service", "stop"]


def test_the_readme_installs_in_three_lines_on_each_system():
    text = section(README, "Installation")
    shown = [*blocks(README, "powershell"), *(block for block in blocks(README, "sh") if "uv tool" in block)]

    assert [text.index(f"**{system}**") for system in ("Windows", "macOS", "Linux")]
    assert [block.strip().splitlines()[2] for block in shown] == ["fluxcap setup"] * 3
    assert [len(block.strip().splitlines()) for block in shown] == [3, 3, 3]
    assert not re.search(r"\bapt\b|\bgit clone\b|make ", text)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_make_target_that_a_document_names_exists(document: Path):
    targets = re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text())
    named = re.findall(r"(?m)(?:^|`)make\s+([a-z]+)", document.read_text(encoding="utf-8"))

    assert set(named) <= set(targets)


# --- links, paths, names, the map ------------------------------------------------------------------------------------


def test_the_readme_is_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= MOST_LINES, "Move it to the document of its readers."


def test_the_readme_has_ten_rows_of_trouble_in_the_words_that_a_client_shows():
    trouble = rows(section(README, "When something is wrong"))
    shown = [text for row in trouble for text in re.findall(r'"([^"]+)"', row[0])]

    assert len(trouble) == 10
    assert len(shown) == 4
    health = (ROOT / "bridge" / "client" / "health.py").read_text()
    assert [text for text in shown if text not in health] == []


def test_the_readme_leads_to_every_document():
    linked = {(README.parent / target).resolve() for target in links_of(README)}

    assert {*DOCUMENTS, ROOT / "CHANGELOG.md", ROOT / "LICENSE"} - {README} <= linked


def links_of(document: Path) -> list[str]:
    """Targets of links and pictures that lie in the project."""
    found = re.findall(r"\]\(([^)\s]+)\)", prose_of(document))
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def anchors_of(document: Path) -> set[str]:
    """What headings are called in links, as GitHub makes it of them."""
    titles = re.findall(r"(?m)^#+ (.*)$", prose_of(document))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "CHANGELOG.md"], ids=name_of)
def test_every_link_of_a_document_leads_somewhere(document: Path):
    broken = []
    for target in links_of(document):
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        if not file.exists() or (anchor and anchor not in anchors_of(file)):
            broken.append(target)

    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_path_that_a_document_names_is_there(document: Path):
    words = [word for text in quoted(prose_of(document)) for word in text.split()]
    paths = [word.partition("::")[0].rstrip("/") for word in words if word.startswith(tuple(f"{f}/" for f in FOLDERS))]
    ours = [
        path for path in paths if not path.startswith(("data/", "tests/bench/report")) or path.endswith("universe.csv")
    ]

    assert [path for path in ours if not list(ROOT.glob(path))] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_module_and_name_of_ours_that_a_document_names_exists(document: Path):
    text = document.read_text(encoding="utf-8")
    named = set(re.findall(r"(?<![\w./\"~])fluxcap(?:\.\w+)+(?![\w(]*/)", text))
    files = {
        "fluxcap.toml",
        "fluxcap.duckdb",
        "fluxcap.duckdb.version",
        "fluxcap.service",
        "fluxcap.exe",
        "fluxcap.run",
        "fluxcap.run.json",
    }

    assert [name for name in sorted(named - files) if not is_ours(name)] == []


def is_ours(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    try:
        import_module(name)
        return True
    except ModuleNotFoundError:
        return bool(module) and hasattr(import_module(module), attribute)


def folders_of_the_tree() -> set[str]:
    """Every folder that holds files of the project, but for those that follow from the one above."""
    found = {".github", ".ci", "data"}
    for top in ("fluxcap", "capture", "bridge", "schemas", "tests"):
        for folder in (ROOT / top, *(path for path in (ROOT / top).rglob("*") if path.is_dir())):
            name = folder.relative_to(ROOT).as_posix()
            if any(part.startswith((".", "__")) for part in folder.relative_to(ROOT).parts):
                continue
            if not name.startswith(tuple(f"{above}/" for above in MIRRORED)) and any(folder.iterdir()):
                found.add(name)
    return found


def test_the_map_shows_every_folder_of_the_tree_and_no_other():
    shown = names(rows(section(CONTRIBUTING, "Map of the tree")))

    assert sorted(name.rstrip("/") for name in shown) == sorted(folders_of_the_tree())
