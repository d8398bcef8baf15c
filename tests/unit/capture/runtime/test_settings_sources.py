"""Every setting in file, environment and options, each overriding the one before; where it comes from; a new file."""

from __future__ import annotations

import json
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from fluxcap.capture.cli.app import run_cli
from fluxcap.capture.runtime.settings import NO_OPTION, Settings, load_settings, variables_of
from fluxcap.capture.runtime.settings_sources import (
    SettingSource,
    change_settings,
    effective_settings,
    option_of,
    unknown_variables,
)
from fluxcap.schemas.errors import ConfigError
from tests.support.paths import ROOT

VALUES: dict[str, tuple[Any, Any, Any]] = {
    "chrome": ("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"),
    "chrome_profile": ("a", "b", "c"),
    "consent": (True, False, True),
    "browser": ("chrome", "edge", "brave"),
    "page": ("https://a/", "https://b/", "https://c/"),
    "keep_chrome": (True, False, True),
    "platform": ("a", "b", "c"),
    "platform_url": (["a"], ["b"], ["c"]),
    "focus": (["A"], ["B"], ["C", "D"]),
    "interval": ("5s", "10s", "15s"),
    "source": ("A", "B", "C"),
    "collect": ("tick", "candle", "both"),
    "tick_chunk_size": (1, 2, 3),
    "csv_timeframes": (["2h"], ["1d"], ["2h", "1d"]),
    "candle_chunk_size": (1, 2, 3),
    "data_dir": ("a", "b", "c"),
    "record": ("a", "b", "c"),
    "pub": ("tcp://127.0.0.1:1", "tcp://127.0.0.1:2", "tcp://127.0.0.1:3"),
    "rep": ("tcp://127.0.0.1:1", "tcp://127.0.0.1:2", "tcp://127.0.0.1:3"),
    "curve": ("a", "b", "c"),
    "forward": ("nats://a", "nats://b", "nats://c"),
    "nats_credentials": ("a", "b", "c"),
    "nats_stream": ("A", "B", "C"),
    "publish_ticks": (True, False, True),
    "retention_days": (1, 2, 3),
    "web": (False, True, False),
    "web_host": ("127.0.0.2", "127.0.0.3", "127.0.0.4"),
    "web_port": (1, 2, 3),
    "timeframes": (["2h"], ["1d"], ["2h", "1d"]),
    "web_origin": (["http://a"], ["http://b"], ["http://c"]),
    "control_port": (1, 2, 3),
    "log_json": (True, False, True),
    "log_file": ("a", "b", "c"),
    "allowed_lateness_ms": (1, 2, 3),
    "idle_timeout_ms": (1, 2, 3),
    "history_wait_ms": (1, 2, 3),
    "alert_after_s": (10, 20, 30),
    "alert_quiet_hours": ("22:00-07:00", "1:00-2:00", "3:00-4:00"),
    "alert_mute": (["csv"], ["disk"], ["csv", "disk"]),
}
"""What file, environment and option say."""


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("FLUX")]:
        monkeypatch.delenv(name)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings that `fluxcap run` would have run with."""
    found: list[Settings] = []
    monkeypatch.setattr(
        "fluxcap.capture.daemon.foreground.run_daemon", lambda settings, debug: found.append(settings) or 0
    )
    return found


def toml(value: Any) -> str:
    return json.dumps(value)


def text(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)


def option(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [option_of(name) if value else option_of(f"no_{name}")]
    return [option_of(name), text(value)]


def test_every_setting_is_tried_here():
    assert set(VALUES) == set(Settings.model_fields) - set(NO_OPTION)


@pytest.mark.costly
def test_every_setting_goes_by_the_option_then_the_variable_then_the_file(
    monkeypatch: pytest.MonkeyPatch, started: list[Settings]
):
    Path("fluxcap.toml").write_text("".join(f"{name} = {toml(said[0])}\n" for name, said in VALUES.items()))

    assert run_cli(["run"]) == 0
    for name, said in VALUES.items():
        monkeypatch.setenv(f"FLUXCAP_{name.upper()}", text(said[1]))
    assert run_cli(["run"]) == 0
    assert run_cli(["run", *(word for name, said in VALUES.items() for word in option(name, said[2]))]) == 0

    for settings, place in zip(started, range(3), strict=True):
        dumped = settings.model_dump(mode="json")
        assert {name: dumped[name] for name in VALUES} == {name: said[place] for name, said in VALUES.items()}


OLD_NAMES = [("grace_ms", "allowed_lateness_ms"), ("doubt_ms", "idle_timeout_ms")]


@pytest.mark.costly
@pytest.mark.parametrize(("old", "new"), OLD_NAMES)
def test_an_old_name_goes_on_working_in_the_file_the_environment_and_as_an_option(
    monkeypatch: pytest.MonkeyPatch, started: list[Settings], old: str, new: str
):
    Path("fluxcap.toml").write_text(f"{old} = 1\n")

    assert run_cli(["run"]) == 0
    monkeypatch.setenv(f"FLUXCAP_{old.upper()}", "2")
    assert run_cli(["run"]) == 0
    assert run_cli(["run", option_of(old), "3"]) == 0

    assert [getattr(settings, new) for settings in started] == [1, 2, 3]


@pytest.mark.parametrize(("old", "new"), OLD_NAMES)
def test_the_new_name_wins_over_the_old_one_in_the_same_place(monkeypatch: pytest.MonkeyPatch, old: str, new: str):
    Path("fluxcap.toml").write_text(f"{old} = 1\n{new} = 2\n")

    from_file = getattr(load_settings(), new)
    monkeypatch.setenv(f"FLUXCAP_{old.upper()}", "3")
    monkeypatch.setenv(f"FLUXCAP_{new.upper()}", "4")

    assert (from_file, getattr(load_settings(), new)) == (2, 4)


@pytest.mark.parametrize(("old", "new"), OLD_NAMES)
def test_a_setting_by_its_old_name_is_shown_with_where_it_stands(monkeypatch: pytest.MonkeyPatch, old: str, new: str):
    Path("fluxcap.toml").write_text(f"{old} = 1\n")

    from_file = next(one for one in effective_settings(None, {}) if one.name == new)
    monkeypatch.setenv(f"FLUXCAP_{old.upper()}", "2")
    from_variable = next(one for one in effective_settings(None, {}) if one.name == new)

    assert (from_file.value, from_file.where) == (1, "fluxcap.toml")
    assert (from_variable.value, from_variable.where) == (2, f"FLUXCAP_{old.upper()}")
    assert unknown_variables() == []


@pytest.mark.parametrize(("old", "new"), OLD_NAMES)
def test_a_wrong_value_by_an_old_name_is_refused(old: str, new: str):
    Path("fluxcap.toml").write_text(f"{old} = -1\n")

    with pytest.raises(ConfigError, match=f"Setting '{new}' cannot be -1"):
        load_settings()


def test_platforms_are_tables_of_the_file_and_json_in_the_environment(monkeypatch: pytest.MonkeyPatch):
    Path("fluxcap.toml").write_text('[platforms.a]\nsymbol = "s"\n')
    from_file = load_settings().platforms
    monkeypatch.setenv("FLUXCAP_PLATFORMS", '{"b": {"symbol": "t"}}')

    assert from_file == {"a": {"symbol": "s"}}
    assert load_settings().platforms == {"b": {"symbol": "t"}}
    monkeypatch.setenv("FLUXCAP_PLATFORMS", "{")
    with pytest.raises(ConfigError, match=r"Setting 'platforms' cannot be .* it is no JSON"):
        load_settings()


def test_where_each_setting_comes_from_is_told(monkeypatch: pytest.MonkeyPatch):
    Path("fluxcap.toml").write_text('interval = "5m"\nsource = "FILE"\n')
    monkeypatch.setenv("FLUX_SOURCE_ID", "SHARED")
    monkeypatch.setenv("FLUXCAP_PUB", "tcp://127.0.0.1:1")

    found = {one.name: one for one in effective_settings(None, {"web_port": 5, "chrome": None})}

    told = {name: (str(one.value), one.origin, one.where) for name, one in found.items() if one.origin != "default"}
    assert told == {
        "interval": ("5m", SettingSource.FILE, "fluxcap.toml"),
        "source": ("SHARED", SettingSource.ENVIRONMENT, "FLUX_SOURCE_ID"),
        "pub": ("tcp://127.0.0.1:1", SettingSource.ENVIRONMENT, "FLUXCAP_PUB"),
        "web_port": ("5", SettingSource.OPTION, "--web-port"),
    }
    assert list(found) == list(Settings.model_fields)


def test_the_projects_own_variable_is_named_first():
    assert variables_of("interval") == ("FLUXCAP_INTERVAL", "FLUX_INTERVAL")
    assert variables_of("web_port") == ("FLUXCAP_WEB_PORT",)


def test_misspelt_variables_are_found(monkeypatch: pytest.MonkeyPatch):
    for name in ("FLUXCAP_INTERVALL", "FLUXCAP_INTERVAL", "FLUXCAP_CONFIG", "FLUXCAP_CHROME_BINARY"):
        monkeypatch.setenv(name, "1m")

    assert unknown_variables() == ["FLUXCAP_INTERVALL"]


@pytest.mark.costly
def test_no_variable_that_something_reads_is_called_misspelt(monkeypatch: pytest.MonkeyPatch):
    reading = re.compile(r"""(?:environ(?:\.get)?[\[(]|getenv\(|envvar=)\s*["'](FLUXCAP_[A-Z_]+)""")
    sources = [path for folder in ("capture", "bridge", "schemas", "tests") for path in (ROOT / folder).rglob("*.py")]
    read = {name for path in sources for name in reading.findall(path.read_text(encoding="utf-8"))}
    assert len(read) > 8
    for name in read:
        monkeypatch.setenv(name, "x")

    assert unknown_variables() == []


def test_config_show_takes_the_options_of_run(capsys: pytest.CaptureFixture[str]):
    assert run_cli(["config", "show", "--interval", "15m", "--no-web", "--focus", "A,B", "--json"]) == 0

    told = json.loads(capsys.readouterr().out)
    changed = {name: one["value"] for name, one in told["settings"].items() if one["from"] == "option"}
    assert changed == {"interval": "15m", "web": False, "focus": ["A", "B"]}
    assert told["file"] is None


def test_config_show_tells_every_setting_as_a_table(capsys: pytest.CaptureFixture[str]):
    Path("fluxcap.toml").write_text('interval = "5m"\n')

    assert run_cli(["config", "show"]) == 0

    told = capsys.readouterr().out
    assert all(name in told for name in Settings.model_fields)
    assert re.search(r"interval +5m +file fluxcap.toml", told)


@pytest.mark.parametrize(
    "arguments", [["--nosuch"], ["--web-port", "x"], ["--interval", "7x"], ["--config", "none.toml"]]
)
def test_config_show_refuses_what_run_would_refuse(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    assert run_cli(["config", "show", *arguments]) == 2
    assert capsys.readouterr().out == ""


def test_config_init_writes_a_file_that_changes_nothing(capsys: pytest.CaptureFixture[str]):
    assert run_cli(["config", "init"]) == 0

    assert capsys.readouterr().out == "Wrote fluxcap.toml; every setting in it is commented out.\n"
    assert {one.origin for one in effective_settings(None, {})} == {SettingSource.DEFAULT}


def test_every_line_of_the_new_file_is_right_when_its_sign_is_taken_away():
    assert run_cli(["config", "init", "--json"]) == 0
    settings = re.sub(r"(?m)^# (?=[a-z_]+ = |\[)", "", Path("fluxcap.toml").read_text())
    Path("fluxcap.toml").write_text(settings)

    loaded = load_settings().model_dump()

    assert set(tomllib.loads(settings)) == set(Settings.model_fields)
    defaults = {name: field.get_default(call_default_factory=True) for name, field in Settings.model_fields.items()}
    changed = {name for name in defaults if loaded[name] != defaults[name]}
    assert changed == {
        "chrome_profile",
        "browser",
        "curve",
        "forward",
        "nats_credentials",
        "record",
        "platforms",
        "alerts",
        "data_dir",
        "log_file",
    }


def test_config_init_leaves_a_file_that_is_there_as_it_was(capsys: pytest.CaptureFixture[str]):
    Path("mine.toml").write_text("mine")

    assert run_cli(["config", "init", "mine.toml"]) == 2

    assert Path("mine.toml").read_text() == "mine"
    assert "mine.toml exists" in capsys.readouterr().err


def test_config_init_where_nothing_can_be_written_says_so(capsys: pytest.CaptureFixture[str]):
    assert run_cli(["config", "init", "nowhere/fluxcap.toml"]) == 2
    assert f"{Path('nowhere/fluxcap.toml')} cannot be written" in capsys.readouterr().err


MINE = """# My desk.
source = "DESK"   # the left one
# consent = true
platform_url = [
    "a.example",
]

[platforms.mine]
symbol = "s"
consent = "no setting of ours"
"""


def test_settings_are_changed_in_a_file_and_all_else_in_it_stays(tmp_path: Path):
    file = tmp_path / "fluxcap.toml"
    file.write_text(MINE, encoding="utf-8")

    change_settings(file, {"consent": True, "source": "RIGHT", "chrome_profile": Path("/a b/c"), "curve": None})

    text = file.read_text(encoding="utf-8")
    assert tomllib.loads(text) == tomllib.loads(MINE) | {
        "consent": True,
        "source": "RIGHT",
        "chrome_profile": str(Path("/a b/c")),
    }
    assert text.startswith('# My desk.\nsource = "RIGHT"\n# consent = true\n')
    assert text.endswith(MINE[MINE.index("[platforms") :])


def test_changing_twice_is_changing_once_and_none_takes_a_setting_out(tmp_path: Path):
    file = tmp_path / "new" / "fluxcap.toml"
    change_settings(file, {"consent": True, "page": "https://x/", "platform_url": ("a", "b")})
    once = file.read_text(encoding="utf-8")

    change_settings(file, {"consent": True, "page": "https://x/"})
    assert file.read_text(encoding="utf-8") == once

    change_settings(file, {"page": None})
    assert tomllib.loads(file.read_text(encoding="utf-8")) == {"consent": True, "platform_url": ["a", "b"]}


@pytest.mark.parametrize("value", ['platform_url = [\n  "a",\n]\n', 'platform_url = """a\nb"""\n'])
def test_what_only_a_person_can_change_is_refused_and_left_as_it_was(tmp_path: Path, value: str):
    file = tmp_path / "fluxcap.toml"
    file.write_text(value, encoding="utf-8")

    with pytest.raises(ConfigError, match=r"cannot be changed by a program; write into it: platform_url|is not TOML"):
        change_settings(file, {"platform_url": ("b",)})

    assert file.read_text(encoding="utf-8") == value


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path):
    (tmp_path / "fluxcap.toml").write_text("what?")

    with pytest.raises(ConfigError, match="is not TOML"):
        change_settings(tmp_path / "fluxcap.toml", {"consent": True})


# --- addresses of alerts ---

SECRET = "Tok3nOfABot"
ADDRESS = f"tgram://{SECRET}/chat"


def test_addresses_of_alerts_come_from_the_file_or_the_environment(monkeypatch: pytest.MonkeyPatch):
    Path("fluxcap.toml").write_text(f'alerts = ["{ADDRESS}"]\n')
    in_file = load_settings().alerts
    monkeypatch.setenv("FLUXCAP_ALERTS", f"mailto://a:b@example.com?to=c,d@example.com, {ADDRESS}")
    in_environment = load_settings().alerts

    assert [one.get_secret_value() for one in in_file] == [ADDRESS]
    assert [one.get_secret_value() for one in in_environment] == [
        "mailto://a:b@example.com?to=c,d@example.com",
        ADDRESS,
    ]


def test_there_is_no_option_for_addresses_of_alerts(capsys: pytest.CaptureFixture[str]):
    assert run_cli(["run", "--alerts", ADDRESS]) == 2
    assert "--alerts" not in [option_of(name) for name in VALUES]


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_config_show_masks_addresses_of_alerts(capsys: pytest.CaptureFixture[str], as_json: list[str]):
    Path("fluxcap.toml").write_text(f'alerts = ["{ADDRESS}"]\n')

    assert run_cli(["config", "show", *as_json]) == 0

    shown = capsys.readouterr().out
    assert SECRET not in shown
    assert "tgram://****" in shown


@pytest.mark.parametrize("value", [f'"{SECRET}"', f'["{SECRET}"]', f'[["{ADDRESS}"]]', f'{{ a = "{ADDRESS}" }}'])
def test_what_is_no_address_is_refused_without_showing_it(value: str):
    Path("fluxcap.toml").write_text(f"alerts = {value}\n")

    with pytest.raises(ConfigError) as refused:
        load_settings()

    assert str(refused.value).startswith("Setting 'alerts")
    assert SECRET not in str(refused.value)


def test_settings_as_text_show_no_address():
    Path("fluxcap.toml").write_text(f'alerts = ["{ADDRESS}"]\n')

    assert SECRET not in repr(load_settings()) + str(load_settings()) + load_settings().model_dump_json()


@pytest.mark.parametrize("text", ["22", "25:00-07:00", "22:00-7", "night"])
def test_quiet_hours_are_times_of_the_day(text: str):
    with pytest.raises(ConfigError, match="alert_quiet_hours"):
        load_settings(alert_quiet_hours=text)
