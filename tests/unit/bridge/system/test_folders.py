"""The data folder is the one that is here, else the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxcap.bridge.system import folders


def test_a_file_that_is_called_data_is_no_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").touch()

    assert folders.default_data_dir() == folders.own_data_dir()


def test_the_folder_that_is_here_goes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()

    assert folders.default_data_dir() == Path("data")
