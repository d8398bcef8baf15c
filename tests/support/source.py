"""The project's own modules as syntax trees, for the tests that hold its rules. Each file is parsed once."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from tests.support.paths import ROOT


@cache
def tree_of(path: Path) -> ast.Module:
    """Return the tree of a module; it is shared, so leave it as it is."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path.relative_to(ROOT)))
