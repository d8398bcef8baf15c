"""The user's own folders, on each system where they belong."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxcap.bridge.system.folders import own_data_dir
from fluxcap.capture.runtime import folders


def test_they_lie_side_by_side_and_are_absolute():
    own = (own_data_dir(), folders.own_profile(), folders.own_config_file())

    assert all(path.is_absolute() for path in own)
    assert own_data_dir().parent == folders.own_profile().parent
    assert folders.own_config_file().name == "fluxcap.toml"


def test_the_state_folder_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("FLUXCAP_STATE_DIR", str(tmp_path))
    assert folders.state_dir() == tmp_path

    monkeypatch.delenv("FLUXCAP_STATE_DIR")
    assert folders.state_dir().name == "fluxcap"
