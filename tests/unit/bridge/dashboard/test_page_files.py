"""The page's files: found, versioned, and the chart library only as its makers published it."""

from __future__ import annotations

import gzip
import importlib.machinery
import importlib.util
import re
from pathlib import Path

import pytest

from fluxcap.bridge.dashboard import page_files
from fluxcap.bridge.dashboard.page_files import FOLDER, LIBRARY, PageFiles, chart_library
from fluxcap.schemas.errors import ConfigError


@pytest.fixture(scope="module")
def files() -> PageFiles:
    return PageFiles()


def test_every_file_that_the_page_names_is_there(files: PageFiles) -> None:
    index = files.page("index.html", has_daemon=True).decode()
    named = set(re.findall(rf'"page/{files.version}/([^"]+)"', index))
    imported = {
        name for path in FOLDER.glob("*.js") for name in re.findall(r'from "\./([^"]+)"', path.read_text("utf-8"))
    }

    assert {"style.css", "main.js", LIBRARY, "lightweight-charts-license.txt"} <= named
    assert [name for name in sorted(named | imported) if files.get(name) is None] == []
    assert "VERSION" not in index


def modules_of(name: str, files: dict[str, bytes]) -> list[str]:
    """A module and all that it imports, directly or not."""
    found = [name]
    for one in found:
        names = re.findall(r'from "\./([^"]+)"', files[one].decode())
        found += [other for other in names if other not in found]
    return found


@pytest.mark.parametrize("main", ["main", "panel"])
def test_a_bundle_has_each_module_once_after_those_it_imports(files: PageFiles, main: str) -> None:
    found = files.get(f"{main}.js")
    assert found is not None
    places = re.findall(r'^MODULES\["([^"]+)"\] = ', found.content.decode(), re.MULTILINE)

    modules = {path.name: path.read_bytes() for path in FOLDER.glob("*.js")}

    assert sorted(places) == sorted(modules_of(f"{main}.js", modules))
    assert places[-1] == f"{main}.js"
    for place, name in enumerate(places):
        imported = re.findall(r'from "\./([^"]+)"', modules[name].decode())
        assert set(imported) <= set(places[:place]), name
    needed = {
        name.strip()
        for one in places
        for names in re.findall(rb"import {([^}]*)}", modules[one])
        for name in names.decode().split(",")
    }
    given = {
        name
        for names in re.findall(r"^return { (.*) };$", found.content.decode(), re.MULTILINE)
        for name in names.split(", ")
    }
    assert needed <= given
    assert not re.search(r"^(import|export)\b", found.content.decode(), re.MULTILINE)


def test_what_comes_before_anything_is_drawn_stands_in_the_page_itself(files: PageFiles) -> None:
    index = files.page("index.html", has_daemon=True).decode()

    assert '<script data-ask="/api/status">' in index
    assert "early.js" not in index
    assert "document.documentElement.dataset.theme" in index


def test_the_page_knows_whether_there_is_a_daemon(files: PageFiles) -> None:
    assert b'data-daemon="yes"' in files.page("index.html", has_daemon=True)
    assert b'data-daemon="no"' in files.page("index.html", has_daemon=False)


def test_a_file_that_changes_changes_the_version(files: PageFiles, tmp_path: Path) -> None:
    for path in FOLDER.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert PageFiles(tmp_path).version == files.version

    (tmp_path / "style.css").write_text("body {}")

    assert PageFiles(tmp_path).version != files.version


def test_a_compressed_file_is_the_same_file(files: PageFiles) -> None:
    found = files.get("style.css")

    assert found is not None
    assert gzip.decompress(found.gzipped) == found.content


def test_the_chart_library_has_its_notice_and_the_page_its_licence_notice_and_link(files: PageFiles) -> None:
    index = files.page("index.html", has_daemon=True).decode()
    licence = files.get("lightweight-charts-license.txt")

    assert b"TradingView Lightweight Charts" in chart_library()[:300]
    assert b"Licensed under Apache License 2.0" in chart_library()[:300]
    assert 'href="https://www.tradingview.com/"' in index
    assert "Copyright (c) 2025 TradingView, Inc." in index
    assert licence is not None
    assert b"Apache License" in licence.content[:200]


def test_no_copy_of_the_library_lies_among_the_files() -> None:
    """By a name that every build of it exports."""
    assert [path.name for path in FOLDER.iterdir() if b"isBusinessDay" in path.read_bytes()] == []
    assert b"isBusinessDay" in chart_library()


def test_another_library_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "js").mkdir()
    spec = importlib.machinery.ModuleSpec("litecharts", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(page_files.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(ConfigError, match="missing; install fluxcap again"):
        chart_library()

    (tmp_path / "js" / LIBRARY).write_text("alert(1)")

    with pytest.raises(ConfigError, match="another chart library"):
        chart_library()


def test_a_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_files.importlib.util, "find_spec", lambda name: None)

    with pytest.raises(ConfigError, match="litecharts"):
        chart_library()


def test_nothing_is_fetched_from_outside() -> None:
    """Links that somebody may click are no fetches."""
    for path in FOLDER.iterdir():
        text = path.read_text("utf-8")
        found = re.findall(r"(?:src|href|url|import|fetch)[^\n]{0,12}?[\"'(](https?:)?//[^\"')]+", text)
        links = re.findall(r'<a href="https://www.tradingview.com/"', text)
        assert len(found) == len(links), path.name
