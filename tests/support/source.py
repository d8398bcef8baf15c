"""The project's own modules as syntax trees, for the tests that hold its rules. Each file is parsed once."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT


@cache
def tree_of(path: Path) -> ast.Module:
    """Return the tree of a module; it is shared, so leave it as it is."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path.relative_to(ROOT)))


def nodes_of(path: Path, *kinds: type[ast.AST]) -> list[Any]:
    """Return the nodes of some kinds, anywhere in a module, kind by kind; walked through once."""
    by_kind = _nodes_by_kind(path)
    return [node for kind in kinds for node in by_kind.get(kind, ())]


@cache
def _nodes_by_kind(path: Path) -> dict[type[ast.AST], list[ast.AST]]:
    found: dict[type[ast.AST], list[ast.AST]] = {}
    for node in ast.walk(tree_of(path)):
        found.setdefault(type(node), []).append(node)
    return found
