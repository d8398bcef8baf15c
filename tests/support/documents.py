"""The documents of the project, read for the tests that hold them to the code."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.paths import ROOT

README = ROOT / "README.md"
OPERATIONS = ROOT / "capture" / "README.md"
CLIENTS = ROOT / "bridge" / "README.md"
WIRE = ROOT / "schemas" / "README.md"
TESTS = ROOT / "tests" / "README.md"
CONTRIBUTING = ROOT / ".github" / "CONTRIBUTING.md"
SECURITY = ROOT / ".github" / "SECURITY.md"
DOCUMENTS = (README, OPERATIONS, CLIENTS, WIRE, TESTS, CONTRIBUTING, SECURITY)
"""What people read; the changelog tells of the past, where names were others."""


def name_of(document: Path) -> str:
    """``capture/README.md``, as a test's id."""
    return document.relative_to(ROOT).as_posix()


def prose_of(document: Path) -> str:
    """A document without its code blocks."""
    return re.sub(r"(?ms)^```.*?^```$", "", document.read_text(encoding="utf-8"))


def section(document: Path, title: str) -> str:
    """What stands under a heading of the second level, up to the next one."""
    found = re.findall(rf"(?ms)^## {re.escape(title)}\n(.*?)(?=^## |\Z)", document.read_text(encoding="utf-8"))
    assert len(found) == 1, f"{name_of(document)} has {len(found)} headings {title!r}"
    return str(found[0])


def blocks(document: Path, language: str) -> list[str]:
    """All code blocks of a language."""
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", document.read_text(encoding="utf-8"))


def block(document: Path, language: str, word: str) -> str:
    """The one code block of a language that holds a word."""
    found = [text for text in blocks(document, language) if word in text]
    assert len(found) == 1, f"{len(found)} blocks of {language} in {name_of(document)} hold {word!r}"
    return found[0]


def rows(text: str, after: str = "") -> list[list[str]]:
    """The rows of the first table after some words, without its head."""
    lines = text[text.index(after) :].splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("|---"))
    found = []
    for line in lines[begin + 1 :]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|")])
    return found


def quoted(text: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", text)


def names(cells: list[list[str]]) -> list[str]:
    """What stands in backticks in the first column."""
    return [name for row in cells for name in quoted(row[0])]
