"""The files that fluxcap 0.1.0 wrote, opened for a test."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

from tests.golden.write_golden import GOLDEN_FOLDER

GOLDEN = GOLDEN_FOLDER / "v0_1_0"


def opened(name: str, folder: Path) -> Path:
    """A copy of a golden folder, as 0.1.0 left it: what is kept compressed is decompressed."""
    copy = folder / name.replace("/", "-")
    for file in sorted((GOLDEN / name).rglob("*")):
        target = copy / file.relative_to(GOLDEN / name)
        if file.is_dir() or file.name == "expected.json":
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".gz":
            target.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        else:
            shutil.copyfile(file, target)
    return copy


def expected(name: str) -> Any:
    """What is to be read from it."""
    return json.loads((GOLDEN / name / "expected.json").read_text(encoding="utf-8"))
