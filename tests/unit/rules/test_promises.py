"""Every promise names the tests that show it, and those tests exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from fluxcap.capture.cli import app as cli
from tests.support.documents import DOCUMENTS, README, TESTS, prose_of, quoted, rows, section
from tests.support.paths import ROOT

PROMISES = rows(section(TESTS, "What it promises"))
FIVE = rows(section(README, "Five promises"))


@cache
def functions(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


def test_every_promise_names_what_shows_it() -> None:
    assert len(PROMISES) > 20
    assert all(len(row) == 2 and quoted(row[1]) for row in PROMISES + FIVE)


def test_the_readme_makes_five_promises_and_shows_them_by_tests_of_the_whole_list() -> None:
    whole = {name.partition("::")[0] for row in PROMISES for name in quoted(row[1])}

    assert len(FIVE) == 5
    assert {name for row in FIVE for name in quoted(row[1])} <= whole


@pytest.mark.parametrize("name", sorted({name for row in PROMISES + FIVE for name in quoted(row[1])}))
def test_what_shows_a_promise_exists(name: str) -> None:
    if name.startswith("make "):
        assert re.search(rf"^{name.split()[1]}:", (ROOT / "Makefile").read_text(), re.M)
    elif name.startswith("fluxcap "):
        assert name.split()[1] in cli.COMMANDS
    else:
        path, _, function = name.partition("::")
        assert (ROOT / path).exists()
        assert not function or function in functions(ROOT / path)


def test_every_single_test_that_a_document_names_is_there() -> None:
    named = {name for document in DOCUMENTS for name in quoted(prose_of(document)) if ".py::" in name}

    assert named
    assert [name for name in named if name.split("::")[1] not in functions(ROOT / name.split("::")[0])] == []
