"""Settings: file, environment and options, each overriding the one before; errors in one sentence."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from fluxcap.bridge.system.folders import own_data_dir
from fluxcap.capture.runtime.folders import own_config_file
from fluxcap.capture.runtime.settings import CollectMode, Settings, config_file, load_settings
from fluxcap.schemas.errors import ConfigError


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings file and no variable of the machine's."""
    monkeypatch.chdir(tmp_path)
    for variable in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "WIN_PD_OVERRIDE_LOCAL_APPDATA"):
        monkeypatch.setenv(variable, str(tmp_path / "own" / variable))
    for name in ("FLUX_LIVE_PUB", "FLUX_CHUNK_REP", "FLUX_SOURCE_ID", "FLUX_INTERVAL", "FLUXCAP_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def test_defaults_are_those_of_the_command_line():
    settings = load_settings()

    assert settings.chrome == "127.0.0.1:9222"
    assert (settings.interval, settings.source, settings.focus) == ("1m", "POCKETOPTION", ())
    assert (settings.pub, settings.rep) == ("tcp://127.0.0.1:5556", "tcp://127.0.0.1:5557")
    assert (settings.collect, settings.tick_chunk_size, settings.candle_chunk_size) == (CollectMode.NONE, 1_000, 100)
    assert (settings.web, settings.web_port, settings.data_dir) == (True, 3001, own_data_dir())


def test_an_option_goes_before_the_environment_and_that_before_the_file(monkeypatch: pytest.MonkeyPatch):
    Path("fluxcap.toml").write_text('interval = "5m"\nsource = "FILE"\ntick_chunk_size = 7\n')
    monkeypatch.setenv("FLUXCAP_SOURCE", "ENVIRONMENT")
    monkeypatch.setenv("FLUXCAP_INTERVAL", "15m")

    settings = load_settings(interval="1h")

    assert (settings.interval, settings.source, settings.tick_chunk_size) == ("1h", "ENVIRONMENT", 7)


@pytest.mark.parametrize(
    ("variable", "field", "value"),
    [
        ("FLUX_LIVE_PUB", "pub", "tcp://127.0.0.1:7001"),
        ("FLUX_CHUNK_REP", "rep", "tcp://127.0.0.1:7002"),
        ("FLUX_SOURCE_ID", "source", "SIM"),
        ("FLUX_INTERVAL", "interval", "1s"),
        ("FLUXCAP_CHROME", "chrome", "127.0.0.1:9333"),
    ],
)
def test_variables_that_clients_and_servers_know_are_honoured(
    monkeypatch: pytest.MonkeyPatch, variable: str, field: str, value: str
):
    monkeypatch.setenv(variable, value)

    assert getattr(load_settings(), field) == value


def test_the_projects_own_variable_goes_before_the_shared_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FLUX_INTERVAL", "1s")
    monkeypatch.setenv("FLUXCAP_INTERVAL", "5s")

    assert load_settings().interval == "5s"


@pytest.mark.parametrize("given", ["EURUSD_otc, GBPUSD_otc,", ["EURUSD_otc", "GBPUSD_otc"], ("EURUSD_otc,GBPUSD_otc",)])
def test_lists_are_written_with_commas_or_as_lists(given: Any):
    assert load_settings(focus=given).focus == ("EURUSD_otc", "GBPUSD_otc")


@pytest.mark.parametrize("name", ["focus", "platform_url", "web_origin"])
@pytest.mark.parametrize("given", ["30", "true", "{ a = 1 }", "[1, 2]", '[["A"]]', "1979-05-27"])
def test_what_is_no_list_of_texts_is_refused(name: str, given: str):
    Path("fluxcap.toml").write_text(f"{name} = {given}\n")

    with pytest.raises(ConfigError, match=f"Setting '{name}' cannot be .*: write a list of texts"):
        load_settings()


def test_of_the_default_timeframes_those_that_fit_the_interval_are_made():
    assert load_settings().derived_timeframes == ("5m", "15m", "1h", "4h")
    assert load_settings(interval="15m").derived_timeframes == ("1h", "4h")
    assert load_settings(interval="7s").derived_timeframes == ()


def test_only_timeframes_that_are_made_go_to_csv_files(monkeypatch: pytest.MonkeyPatch):
    assert load_settings().csv_timeframes == ()
    assert load_settings(csv_timeframes="5m, 1h").csv_timeframes == ("5m", "1h")
    with pytest.raises(ConfigError, match="30m is none of the timeframes that are made: 5m, 15m, 1h, 4h"):
        load_settings(csv_timeframes="30m")
    monkeypatch.setenv("FLUXCAP_TIMEFRAMES", "")
    with pytest.raises(ConfigError, match="that are made: none"):
        load_settings(csv_timeframes="5m")


def test_timeframes_are_sorted_by_length_and_none_when_empty(monkeypatch: pytest.MonkeyPatch):
    assert load_settings(timeframes="1d,30m").derived_timeframes == ("30m", "1d")
    monkeypatch.setenv("FLUXCAP_TIMEFRAMES", "")
    assert load_settings().derived_timeframes == ()


@pytest.mark.parametrize("given", ["1m", "30s", "90s", "60m,1h", "5x"])
def test_a_timeframe_that_cannot_be_made_of_the_interval_is_refused(given: str):
    with pytest.raises(ConfigError, match="Setting 'timeframes' cannot be"):
        load_settings(timeframes=given)


def test_lists_in_the_environment_are_plain_text(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FLUXCAP_FOCUS", "EURUSD_otc,GBPUSD_otc")

    assert load_settings().focus == ("EURUSD_otc", "GBPUSD_otc")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"interval": "7x"}, "Setting 'interval' cannot be '7x': '7x' is not an interval"),
        ({"collect": "all"}, "Setting 'collect' cannot be 'all': input should be 'tick', 'candle', 'both' or 'none'."),
        ({"web_port": 99_999}, "Setting 'web_port' cannot be 99999: input should be less than or equal to 65535."),
        ({"tick_chunk_size": 0}, "Setting 'tick_chunk_size' cannot be 0"),
        ({"source": "a.b"}, "Setting 'source' cannot be 'a.b'"),
    ],
)
def test_what_cannot_be_set_is_told_in_one_sentence(options: dict[str, Any], sentence: str):
    with pytest.raises(ConfigError) as caught:
        load_settings(**options)

    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_an_unknown_key_of_the_file_is_refused_by_name():
    Path("fluxcap.toml").write_text("intervall = '1m'\n")

    with pytest.raises(ConfigError, match=re.escape("Unknown setting 'intervall' in fluxcap.toml")):
        load_settings()


def test_a_file_that_is_not_toml_is_refused():
    Path("fluxcap.toml").write_text("interval = \n")

    with pytest.raises(ConfigError, match=re.escape("fluxcap.toml is not TOML")):
        load_settings()


def test_a_file_of_windows_with_a_mark_first_and_its_line_ends_is_read():
    Path("fluxcap.toml").write_bytes(b"\xef\xbb\xbfsource = 'B\xc3\xbcro'\r\n".replace(b"\xc3\xbc", b"ue"))

    assert load_settings().source == "Buero"


def test_a_path_of_windows_in_double_quotes_is_refused_with_the_way_to_write_it():
    Path("fluxcap.toml").write_text('data_dir = "C:\\Users\\me"\n')

    with pytest.raises(ConfigError, match=r"not TOML: .* in single quotes: 'C:\\Users\\me'\.$"):
        load_settings()


def test_a_path_of_windows_in_single_quotes_is_taken_as_it_is():
    Path("fluxcap.toml").write_text("data_dir = 'D:\\Börse und Daten'\n", "utf-8")

    assert str(load_settings().data_dir) == r"D:\Börse und Daten"


def test_a_file_that_is_not_utf8_is_refused():
    Path("fluxcap.toml").write_bytes(b'source = "\xff"\n')

    with pytest.raises(ConfigError, match=re.escape("fluxcap.toml is not TOML")):
        load_settings()


def test_a_file_with_a_number_beyond_all_measure_is_refused():
    Path("fluxcap.toml").write_text("tick_chunk_size = " + "9" * 5_000)

    with pytest.raises(ConfigError, match=re.escape("fluxcap.toml is not TOML")):
        load_settings()


def test_a_file_nested_beyond_measure_is_refused():
    Path("fluxcap.toml").write_text("focus = " + "[" * 100_000)

    with pytest.raises(ConfigError, match="nested too deeply"):
        load_settings()


def test_a_file_that_cannot_be_read_is_refused(monkeypatch: pytest.MonkeyPatch):
    Path("fluxcap.toml").touch()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)

    with pytest.raises(ConfigError, match=re.escape("fluxcap.toml cannot be read: Permission denied.")):
        load_settings()


def test_a_file_that_was_changed_is_read_anew():
    Path("fluxcap.toml").write_text("tick_chunk_size = 7\n")
    assert load_settings().tick_chunk_size == 7
    Path("fluxcap.toml").write_text("candle_chunk_size = 8\n")

    settings = load_settings()

    assert (settings.tick_chunk_size, settings.candle_chunk_size) == (1_000, 8)


def test_of_a_long_wrong_value_only_its_begin_is_told():
    with pytest.raises(ConfigError) as caught:
        load_settings(collect="x" * 5_000)

    assert "xxx" in str(caught.value)
    assert len(str(caught.value)) < 400


def test_the_file_in_force_is_the_one_chosen_then_the_variables_then_the_folders_then_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert config_file() is None
    own_config_file().parent.mkdir(parents=True)
    own_config_file().touch()
    assert config_file() == own_config_file()
    (tmp_path / "fluxcap.toml").touch()
    assert config_file() == Path("fluxcap.toml")
    (tmp_path / "other.toml").touch()
    monkeypatch.setenv("FLUXCAP_CONFIG", "other.toml")
    assert config_file() == Path("other.toml")
    (tmp_path / "chosen.toml").touch()
    assert config_file(Path("chosen.toml")) == Path("chosen.toml")


def test_paths_in_the_users_own_file_are_relative_to_it_and_others_to_where_one_stands(tmp_path: Path):
    elsewhere = Path("/elsewhere/profile").absolute()
    text = f"data_dir = 'candles'\nchrome_profile = '{elsewhere}'\nsource = 'DESK'\n"
    own_config_file().parent.mkdir(parents=True)
    own_config_file().write_text(text)
    (tmp_path / "other.toml").write_text(text)

    own, other = load_settings(), load_settings(Path("other.toml"))

    assert own.data_dir == own_config_file().parent / "candles"
    assert own.chrome_profile == elsewhere
    assert (own.source, other.data_dir) == ("DESK", Path("candles"))


def test_a_data_folder_here_goes_before_the_users_own(tmp_path: Path):
    assert load_settings().data_dir == own_data_dir()
    (tmp_path / "data").mkdir()
    assert load_settings().data_dir == Path("data")


def test_started_anywhere_else_it_is_the_same_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    before = load_settings().store_path
    (tmp_path / "another folder").mkdir()
    monkeypatch.chdir(tmp_path / "another folder")

    assert load_settings().store_path == before
    assert before.is_absolute()


def test_a_file_that_was_named_must_exist():
    with pytest.raises(ConfigError, match=re.escape("There is no settings file nowhere.toml")):
        load_settings(Path("nowhere.toml"))


def test_the_control_port_is_the_webs_while_the_web_is_on():
    assert Settings(web_port=5, control_port=6).listen_port == 5
    assert Settings(web=False, web_port=5, control_port=6).listen_port == 6
