"""Docstrings: every module has one, each opens with a sentence, and those of the public API have NumPy's sections."""

from __future__ import annotations

import ast
import enum
import inspect
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import fluxcap.errors
import fluxcap.platforms
from tests.support.paths import ROOT
from tests.support.source import nodes_of, tree_of

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

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
    for node in nodes_of(path, *DOCUMENTED):
        if text := ast.get_docstring(node):
            line = 1 if isinstance(node, ast.Module) else node.lineno
            yield f"{path.relative_to(ROOT)}:{line}", text.splitlines()[0]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_module_has_a_docstring() -> None:
    trees = {name(path): tree_of(path) for path in MODULES}
    bare = [file for file, tree in trees.items() if tree.body and not ast.get_docstring(tree)]

    assert len(trees) > 200
    assert bare == [], "say what the module is for"


def test_a_docstring_opens_with_a_sentence_that_names_the_thing() -> None:
    riddles = [place for path in MODULES for place, line in documented(path) if RIDDLE.match(line)]

    assert riddles == [], "open with an imperative (Return …) or with what it is (A page of …)"


def test_the_first_line_of_a_docstring_is_a_whole_sentence() -> None:
    cut = [place for path in MODULES for place, line in documented(path) if not line.endswith(".")]

    assert cut == [], "end the first line with a full stop; the rest goes below an empty line"


# --- names in docstrings ----------------------------------------------------------------------------------------------

FILE = re.compile(r"\b([a-z0-9][a-z_0-9]*\.(?:py|js|fbs))\b")
FILES = {file.name for folder in ("capture", "bridge", "schemas", "tests") for file in (ROOT / folder).rglob("*.*")}


def test_files_that_comments_and_docstrings_name_exist() -> None:
    wrong = {name(path): gone for path in MODULES if (gone := set(FILE.findall(said_in(path))) - FILES)}

    assert wrong == {}, "name the file as it is called now"


def said_in(path: Path) -> str:
    """Return the comments and texts of a file."""
    code = path.read_text()
    if not FILE.search(code):
        return ""
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    return "\n".join(token.string for token in tokens if token.type in (tokenize.COMMENT, tokenize.STRING))


def test_parameters_that_docstrings_explain_are_parameters() -> None:
    wrong = {}
    for path in MODULES:
        for node in nodes_of(path, *DOCUMENTED):
            explained = sections(ast.get_docstring(node) or "").get("Parameters")
            if explained is not None and (gone := set(explained) - parameters_of(node)):
                wrong[f"{name(path)}:{node.lineno}"] = gone

    assert wrong == {}, "name the parameters as they are now"


def sections(docstring: str) -> dict[str, list[str]]:
    """Return the NumPy sections of a docstring, each with the names that it explains."""
    lines = docstring.splitlines()
    heads = [at for at, line in enumerate(lines[1:]) if re.fullmatch("-{3,}", line)]
    found = {}
    for head, end in pairwise([*heads, len(lines)]):
        entries = pairwise([*lines[head + 2 : end], ""])
        terms = [line for line, below in entries if line[:1].strip() and below.startswith("    ")]
        found[lines[head]] = [term for line in terms for term in line.split(", ")]
    return found


def parameters_of(node: ast.AST) -> set[str]:
    """Return the names of a function's parameters, or of those that make an object of a class."""
    if isinstance(node, ast.ClassDef):
        made_by = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
        if not made_by:
            return {
                part.target.id
                for part in node.body
                if isinstance(part, ast.AnnAssign)
                if isinstance(part.target, ast.Name)
            }
        node = made_by[0]
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    return {argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg)}


# --- the public API ---------------------------------------------------------------------------------------------------


def exported() -> Iterator[tuple[str, Any]]:
    """Yield every class and function that users import."""
    for module in (fluxcap, fluxcap.platforms, fluxcap.errors):
        for public in module.__all__:
            value = getattr(module, public)
            if inspect.isclass(value) or inspect.isfunction(value):
                yield f"{module.__name__}.{public}", value


def functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield every exported function, and the public methods of every exported class."""
    for where, value in exported():
        if inspect.isfunction(value):
            yield where, value
        else:
            yield from (
                (f"{where}.{attribute}", method)
                for attribute, method in vars(value).items()
                if inspect.isfunction(method) and not attribute.startswith("_")
            )


FUNCTIONS = dict(functions())
CLASSES = {where: value for where, value in exported() if inspect.isclass(value)}


def sections_of(value: object) -> dict[str, list[str]]:
    return sections(inspect.getdoc(value) or "")


@pytest.mark.parametrize("where", FUNCTIONS)
def test_a_public_function_explains_each_of_its_parameters(where: str) -> None:
    signature = inspect.signature(FUNCTIONS[where])

    assert sections_of(FUNCTIONS[where]).get("Parameters", []) == [
        each for each in signature.parameters if each != "self"
    ]


@pytest.mark.parametrize("where", FUNCTIONS)
def test_a_public_function_that_returns_something_says_what(where: str) -> None:
    returns = inspect.signature(FUNCTIONS[where]).return_annotation

    assert ("Returns" in sections_of(FUNCTIONS[where])) == (returns != "None")


@pytest.mark.parametrize("where", CLASSES)
def test_a_public_class_explains_each_of_its_parameters_or_fields(where: str) -> None:
    value = CLASSES[where]
    explained = sections_of(value)
    if issubclass(value, enum.Enum):
        return  # its members say what they mean
    if "__init__" in vars(value) and not getattr(value, "_is_protocol", False):
        makes = inspect.signature(value).parameters
        assert sorted(explained.get("Parameters", [])) == sorted(makes)
    else:
        assert explained.get("Attributes", []) == list(inspect.get_annotations(value))


@pytest.mark.parametrize("where", [*FUNCTIONS, *CLASSES])
def test_what_the_public_api_raises_stands_in_a_section_of_its_own(where: str) -> None:
    value = FUNCTIONS.get(where) or CLASSES[where]
    text = inspect.getdoc(value) or ""

    assert "Raises " not in text
    assert set(sections_of(value).get("Raises", [])) <= set(fluxcap.errors.__all__)
    if where in FUNCTIONS:
        raised = set(re.findall(r"raise (\w+)\(", inspect.getsource(value)))
        assert raised <= set(sections_of(value).get("Raises", []))
