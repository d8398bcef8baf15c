"""Platforms by name: plug-ins of installed packages, and those that the settings file describes."""

from __future__ import annotations

import tomllib
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from fluxcap.capture.platforms import registry
from fluxcap.capture.platforms.base import Platform
from fluxcap.capture.platforms.generic import GenericPlatform
from fluxcap.capture.platforms.pocketoption import PocketOption
from fluxcap.capture.platforms.presets import MARK, presets
from fluxcap.capture.platforms.registry import (
    BUILT_IN,
    GROUP,
    MEMBERS,
    check_source,
    choices,
    platform_named,
    plug_ins,
    whole_table,
)
from fluxcap.capture.runtime.settings import load_settings
from fluxcap.schemas.errors import ConfigError
from tests.support.paths import ROOT

TABLE = {"pages": ["https://example.com/*"], "symbol": "s", "time": "T", "price": "p"}


@pytest.fixture
def announce(monkeypatch: pytest.MonkeyPatch):
    """Announces entry points as an installed package would."""

    def one(**points: str) -> None:
        found = EntryPoints(EntryPoint(name, where, GROUP) for name, where in points.items())
        monkeypatch.setattr(registry, "entry_points", lambda group: found.select(group=group))

    return one


def test_the_package_announces_what_is_built_in():
    announced = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][GROUP]

    assert announced == BUILT_IN


def test_a_plug_in_is_made_with_the_extra_hosts():
    platform = platform_named("pocketoption", ["*.mirror.example"])

    assert isinstance(platform, PocketOption)
    assert platform.is_page("https://www.mirror.example/")


def test_a_plug_in_of_another_package_is_found_and_goes_before_a_built_in_one(announce):
    announce(
        pocketoption="fluxcap.capture.platforms.generic:GenericPlatform",
        mine="fluxcap.capture.platforms.pocketoption:PocketOption",
    )

    assert isinstance(platform_named("mine"), PocketOption)
    assert isinstance(platform_named("pocketoption", (), {"pocketoption": TABLE}), GenericPlatform)
    assert set(plug_ins()) == {"pocketoption", "quotex", "generic", "mine"}


def test_a_table_of_any_name_makes_a_generic_platform():
    assert isinstance(platform_named("example", (), {"example": TABLE}), GenericPlatform)


def test_a_table_may_name_the_plug_in_that_reads_it(announce):
    announce(json="fluxcap.capture.platforms.generic:GenericPlatform")

    assert isinstance(platform_named("example", (), {"example": {"kind": "json", **TABLE}}), GenericPlatform)


def test_tables_come_from_the_settings_file(tmp_path: Path):
    file = tmp_path / "fluxcap.toml"
    file.write_text('platform = "example"\n[platforms.example]\npages = ["https://example.com/*"]\n')
    settings = load_settings(file)

    assert settings.platforms == {"example": {"pages": ["https://example.com/*"]}}
    with pytest.raises(ConfigError, match="Platform 'example': its table is not right: object missing required field"):
        platform_named(settings.platform, settings.platform_url, settings.platforms)


def test_an_unknown_platform_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"no platform 'nosuch'; known: binance, .*example, generic, .*kraken"):
        platform_named("nosuch", (), {"example": TABLE})


def test_an_unknown_kind_is_refused_with_the_table_that_names_it():
    with pytest.raises(ConfigError, match=r"no platform 'nosuch', which \[platforms.example\] names as its kind"):
        platform_named("example", (), {"example": {"kind": "nosuch"}})


@pytest.mark.parametrize("where", ["nowhere.at.all:Platform", "fluxcap.capture.platforms.generic:Nothing"])
def test_a_plug_in_that_cannot_be_loaded_is_named(announce, where: str):
    announce(broken=where)

    with pytest.raises(ConfigError, match=f"The platform 'broken' .{where}. cannot be loaded"):
        platform_named("broken")


def test_a_table_that_the_plug_in_does_not_take_is_refused():
    with pytest.raises(
        ConfigError, match=r"\[platforms.pocketoption\] has an entry that 'pocketoption' does not accept"
    ):
        platform_named("pocketoption", (), {"pocketoption": {"colour": "red"}})


def test_a_plug_in_that_lacks_something_is_refused_by_what_it_lacks(announce):
    announce(broken="collections:Counter")

    with pytest.raises(ConfigError, match=r"'broken' .collections:Counter. has no name, shown_asset_js, is_page"):
        platform_named("broken")


def test_every_member_of_the_interface_is_asked_for():
    assert set(MEMBERS) == {name for name in vars(Platform) if not name.startswith("_")} | set(Platform.__annotations__)


def test_generic_alone_says_that_it_needs_a_table():
    with pytest.raises(ConfigError, match="Platform 'generic': no table describes it"):
        platform_named("generic")


def test_a_description_that_ships_is_chosen_by_its_name_and_the_users_own_goes_first():
    shipped, own = platform_named("kraken"), platform_named("kraken", ["mirror.example"], {"kraken": TABLE})

    assert shipped.is_page("https://pro.kraken.com/app/trade/btc-usd")
    assert not own.is_page("https://pro.kraken.com/app/trade/btc-usd")
    assert own.is_page("https://mirror.example/x")


def test_a_table_may_change_some_entries_of_a_description_that_ships():
    changed = {"kraken": {"kind": "kraken", "pages": ["https://kraken.example/*"], "repeats": False}}

    platform = platform_named("kraken", (), changed)

    assert platform.is_page("https://kraken.example/x")
    assert not platform.is_page("https://pro.kraken.com/x")
    assert platform.is_socket("wss://ws.kraken.com/v2")
    assert isinstance(platform, GenericPlatform)
    assert not platform.repeats


def test_a_table_that_only_some_entries_were_written_into_is_told_how_to_change_one():
    with pytest.raises(ConfigError, match=r"missing required field `\w+`\. To change only some .* add kind = 'kraken'"):
        platform_named("kraken", (), {"kraken": {"repeats": False}})


@pytest.mark.parametrize(
    ("name", "tables", "kept"),
    [
        ("mine", {"mine": TABLE}, TABLE),
        ("mine", {"mine": {"kind": "generic", **TABLE}}, TABLE),
        ("generic", {"generic": TABLE}, {"kind": "generic", **TABLE}),
        ("pocketoption", {"pocketoption": {"kind": "generic", **TABLE}}, {"kind": "generic", **TABLE}),
        ("deriv", {}, presets()["deriv"].table),
        ("deriv", {"deriv": {"kind": "deriv", "repeats": False}}, presets()["deriv"].table | {"repeats": False}),
        ("binance-futures", {}, presets()["binance-futures"].table),
    ],
)
def test_a_recording_keeps_the_whole_table(name: str, tables: dict[str, Any], kept: dict[str, Any]):
    assert whole_table(name, tables) == kept
    assert isinstance(platform_named(name, (), {name: kept}), GenericPlatform)


def test_a_table_that_was_there_before_a_platform_of_its_name_shipped_goes_on_working(announce):
    assert isinstance(platform_named("quotex", (), {"quotex": TABLE}), GenericPlatform)
    assert whole_table("quotex", {"quotex": TABLE}) == {"kind": "generic", **TABLE}

    announce(quotex="fluxcap.capture.platforms.pocketoption:PocketOption")
    with pytest.raises(ConfigError, match="has an entry that 'quotex' does not accept"):
        platform_named("quotex", (), {"quotex": TABLE})


def test_a_recording_names_the_plug_in_that_reads_its_table(announce):
    announce(json="fluxcap.capture.platforms.generic:GenericPlatform")

    assert whole_table("mine", {"mine": {"kind": "json", **TABLE}}) == {"kind": "json", **TABLE}


@pytest.mark.parametrize("name", ["kraken", "binomo"])
def test_candles_of_another_platform_are_not_named_as_if_they_were_pocketoptions(name: str):
    with pytest.raises(ConfigError, match=f"name them with --source {name.upper()}"):
        check_source(name, "POCKETOPTION", {})

    check_source(name, "MINE", {})
    check_source(name, "POCKETOPTION", {name: TABLE})
    check_source("pocketoption", "POCKETOPTION", {})
    check_source("of-somebody-else", "POCKETOPTION", {})


def test_what_can_be_chosen_is_listed_with_where_it_comes_from(announce):
    announce(mine="fluxcap.capture.platforms.pocketoption:PocketOption")

    listed = {one.name: one.origin for one in choices({"kraken": TABLE, "example": TABLE})}

    assert listed["pocketoption"] == "recorded in September and October 2025"
    assert (listed["mine"], listed["deriv"]) == ("a plug-in", MARK)
    assert listed["kraken"] == listed["example"] == "described in your settings"
    assert "generic" not in listed
