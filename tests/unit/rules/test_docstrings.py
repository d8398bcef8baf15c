"""Docstrings: every module has one, and each opens with a sentence that says what the thing is or does."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.support.paths import ROOT

Documented: TypeAlias = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

RIDDLE = re.compile(r"(What|Where|Whether|Why|How|Who|Whose|Which|When)\b")
"""A first line that opens so is a clause about the thing, not a sentence that names it."""

MODULES = sorted(
    path
    for folder in ("capture", "bridge", "schemas", "fluxcap")
    for path in (ROOT / folder).rglob("*.py")
    if "generated" not in path.parts
)


def documented(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the place and the first line of every docstring in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, Documented) and (text := ast.get_docstring(node)):
            line = 1 if isinstance(node, ast.Module) else node.lineno
            yield f"{path.relative_to(ROOT)}:{line}", text.splitlines()[0]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_every_module_has_a_docstring(path: Path) -> None:
    text = path.read_text()

    assert not text.strip() or ast.get_docstring(ast.parse(text)), "say what the module is for"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_docstring_opens_with_a_sentence_that_names_the_thing(path: Path) -> None:
    riddles = [place for place, line in documented(path) if RIDDLE.match(line)]

    assert not riddles, "open with an imperative (Return …) or with what it is (A page of …)"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_the_first_line_of_a_docstring_is_a_whole_sentence(path: Path) -> None:
    cut = [place for place, line in documented(path) if not line.endswith(".")]

    assert not cut, "end the first line with a full stop; the rest goes below an empty line"
