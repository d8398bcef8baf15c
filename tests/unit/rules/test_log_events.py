"""capture/runtime/log_events.py: the table of events is the code's."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from fluxcap.capture.runtime.log import LIBRARY_EVENT
from fluxcap.capture.runtime.log_events import EVENTS
from tests.support.paths import ROOT
from tests.support.source import nodes_of, tree_of

EMITTERS = {"event", "warn", "failure", "error", "critical", "warning", "info", "exception"}
RECEIVERS = {"log", "LOGGER", "_limit", "limit"}


def emitted() -> Iterator[tuple[str, str]]:
    """Yield the place and the token of every event in the capture package."""
    for path in sorted((ROOT / "capture").rglob("*.py")):
        for node in nodes_of(path, ast.Call):
            if _is_emitter(node.func) and node.args:
                for name in _names(node.args[0], tree_of(path)):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", name


def _is_emitter(function: ast.expr) -> bool:
    if not isinstance(function, ast.Attribute) or function.attr not in EMITTERS:
        return False
    receiver = function.value
    name = receiver.attr if isinstance(receiver, ast.Attribute) else getattr(receiver, "id", "")
    return name in RECEIVERS


def _names(argument: ast.expr, module: ast.Module) -> list[str]:
    """Return the tokens an emitter's first argument can be: a literal, or a table of literals in the same module."""
    if isinstance(argument, ast.Constant):
        return [str(argument.value)]
    if isinstance(argument, ast.Subscript) and isinstance(argument.value, ast.Name):
        return _values_of_table(argument.value.id, module)
    return [] if isinstance(argument, ast.Name) else [ast.unparse(argument)]  # a Name: passed on within log.py


def _values_of_table(table: str, module: ast.Module) -> list[str]:
    for node in module.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == table and isinstance(node.value, ast.Dict):
            return [str(ast.literal_eval(value)) for value in node.value.values]
    return [table]


def test_every_event_of_the_code_is_in_the_table() -> None:
    missing = [f"{where}: {name!r}" for where, name in emitted() if name not in EVENTS]

    assert not missing, f"add to capture/runtime/log_events.py: {missing}"


def test_no_event_is_in_the_table_that_the_code_does_not_log() -> None:
    assert set(EVENTS) == {name for _, name in emitted()} | {LIBRARY_EVENT}


def test_a_token_is_a_noun_and_a_verb() -> None:
    assert [name for name in EVENTS if not re.fullmatch(r"[a-z]+\.[a-z]+(_[a-z]+)*", name)] == []


def test_an_event_has_its_words_for_people() -> None:
    for name, event in EVENTS.items():
        assert event.sentence[:1].isupper() or event.sentence.startswith("fluxcap "), name
        assert not event.sentence.endswith("."), name
        assert event.meaning.endswith("."), name
        assert event.action, name
