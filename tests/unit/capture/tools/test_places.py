"""Where everything is, and which of several counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fluxcap.bridge.system.folders import own_data_dir
from fluxcap.capture.cli.app import run_cli
from fluxcap.capture.runtime.folders import own_config_file
from fluxcap.capture.tools.places import Place, size_of, where_everything_is


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for variable in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "WIN_PD_OVERRIDE_LOCAL_APPDATA"):
        monkeypatch.setenv(variable, str(tmp_path / variable))


def made(path: Path, size: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


def places() -> dict[str, Place]:
    return {place.name: place for place in where_everything_is()}


def test_on_a_new_machine_nothing_is_there_and_everything_has_its_place():
    found = places()

    assert not any(place.exists for name, place in found.items() if name != "state")
    assert found["data folder"].path == str(own_data_dir())
    assert found["settings"] == Place(
        "settings", str(own_config_file()), False, 0, "none is in force; `fluxcap setup` writes it"
    )
    assert found["runs"].note == "no daemon"


def test_sizes_are_counted_with_what_belongs_together():
    data = own_data_dir()
    made(data / "fluxcap.duckdb", 1_000)
    made(data / "fluxcap.duckdb.wal", 200)
    made(data / "fluxcap.duckdb.mark", 7)
    made(data / "fluxcap.duckdb.version-1", 30)
    made(data / "logs" / "fluxcap.log", 5)
    made(data / "logs" / "fluxcap.log.1", 50)
    made(data / "data_output/assets_data/realtime_stream/a/b.csv", 9)

    found = places()

    sizes = {name: found[name].bytes for name in ("store", "older stores", "log", "CSV, live")}
    assert sizes == {"store": 1_200, "older stores": 30, "log": 55, "CSV, live": 9}
    assert size_of(data) == 1_301


def test_of_two_data_folders_it_is_said_which_one_counts_and_why():
    made(own_data_dir() / "fluxcap.duckdb")
    Path("data").mkdir()

    [folder] = [place for place in where_everything_is() if place.name == "data folder"]

    assert folder.path == str(Path("data").absolute())
    assert folder.note == f"since ./data is here; your own, {own_data_dir()}, has a store, too"


def test_of_two_settings_files_it_is_said_which_one_wins():
    made(own_config_file())
    made(Path("fluxcap.toml"))

    found = [(place.path, place.note) for place in where_everything_is() if place.name == "settings"]

    assert found == [
        (str(Path("fluxcap.toml").absolute()), "in force: this folder"),
        (str(own_config_file()), "not read here, your own: the one above goes first"),
    ]


def test_caches_of_clients_are_found_here_and_in_the_data_folder():
    caches = [made(Path("my-data/client.duckdb")).absolute(), made(own_data_dir() / "tail" / "client.duckdb")]

    found = [place.path for place in where_everything_is() if place.name == "client cache"]

    assert found == list(map(str, sorted(caches)))


@pytest.mark.costly
def test_the_command_tells_a_line_for_each_or_json(capsys: pytest.CaptureFixture[str]):
    made(own_data_dir() / "fluxcap.duckdb", 2_500_000)

    assert run_cli(["data"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert run_cli(["data", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)

    assert f"store{'':<10}   2.5 MB  {own_data_dir() / 'fluxcap.duckdb'}" in lines
    assert len(told) == len(lines)
    assert set(told[0]) == {"name", "path", "exists", "bytes", "note"}
