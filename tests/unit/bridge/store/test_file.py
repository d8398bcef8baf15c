"""Setting a damaged store aside loses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxcap.bridge.store.store import Store, quarantine
from fluxcap.schemas.errors import StoreError

NOON = 1_700_000_000_000


def test_a_store_set_aside_takes_its_log_and_mark_along(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    for ending in ("", ".wal", ".mark"):
        path.with_name(path.name + ending).write_text(f"content{ending}")

    target = quarantine(path, lambda: NOON)

    assert target.name == "store.duckdb.damaged-20231114T221320Z"
    assert sorted(p.name for p in tmp_path.iterdir()) == [target.name, f"{target.name}.mark", f"{target.name}.wal"]
    assert target.with_name(f"{target.name}.wal").read_text() == "content.wal"


def test_two_set_aside_in_a_second_do_not_overwrite_each_other(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    targets = set()
    for content in ("first", "second", "third"):
        path.write_text(content)
        targets.add(quarantine(path, lambda: NOON))

    assert {target.read_text() for target in targets} == {"first", "second", "third"}


def test_after_setting_aside_a_new_store_can_be_made(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    path.write_bytes(b"damaged beyond recognition" * 1000)

    quarantine(path)

    with Store.open(path) as store:
        assert store.watermarks() == {}


def test_what_cannot_be_renamed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store.duckdb"
    path.touch()

    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError("no")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(StoreError, match="set aside"):
        quarantine(path)
