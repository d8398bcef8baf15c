"""capture/runtime/log_events.py: the list of events is the code's."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from fluxcap.capture.pipeline.listeners import ChromeState
from fluxcap.capture.runtime.log_events import EVENTS
from tests.support.paths import ROOT

EMITTERS = {"event", "warn", "failure", "error", "critical", "warning", "info", "exception"}
RECEIVERS = {"log", "LOGGER", "_limit", "limit"}
SPELLED_OUT = {"chrome {}": [f"chrome {state.value}" for state in ChromeState]}
"""Names that the code puts together."""


def emitted() -> Iterator[tuple[str, str]]:
    """Where and what: every event name in the capture package."""
    for path in sorted((ROOT / "capture").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and _is_emitter(node.func) and node.args:
                for name in _names(node.args[0]):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", name


def _is_emitter(function: ast.expr) -> bool:
    if not isinstance(function, ast.Attribute) or function.attr not in EMITTERS:
        return False
    receiver = function.value
    name = receiver.attr if isinstance(receiver, ast.Attribute) else getattr(receiver, "id", "")
    return name in RECEIVERS


def _names(argument: ast.expr) -> list[str]:
    if isinstance(argument, ast.Constant):
        return [str(argument.value)]
    if isinstance(argument, ast.JoinedStr):
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in argument.values)
        return SPELLED_OUT.get(text, [text])
    return [] if isinstance(argument, ast.Name) else [ast.unparse(argument)]  # a Name: passed on within log.py


def test_every_event_of_the_code_is_listed_with_its_meaning() -> None:
    missing = [f"{where}: {name!r}" for where, name in emitted() if name not in EVENTS]

    assert not missing, f"add to capture/runtime/log_events.py: {missing}"
    assert all(meaning.endswith(".") for meaning in EVENTS.values())


def test_no_event_is_listed_that_the_code_does_not_know() -> None:
    known = {name for _, name in emitted()} | {"library message"}

    assert set(EVENTS) == known


@pytest.mark.parametrize("name", EVENTS)
def test_a_name_is_words_and_no_data(name: str) -> None:
    assert name == name.strip()
    assert "{" not in name
