"""Asks a page what it shows: the one question fluxcap puts to a page, when no frame has named the active asset. Pure.

Frames that tell it went by before a late attach. The question runs in a world of its own beside the page's scripts,
which can neither see nor forge it, and Chrome refuses it should it change anything (``throwOnSideEffect``). It reads
one label, and nothing else ever leaves the page this way.
"""

from __future__ import annotations

from fluxcap.capture.chrome.commands import Command, CommandTracker
from fluxcap.capture.chrome.messages import NOT_CDP, Head, decode_evaluated, decode_world
from fluxcap.capture.chrome.target import Attachment, TargetState

_WORLD = "Page.createIsolatedWorld"
_EVALUATE = "Runtime.evaluate"
_EVALUATE_MS = 500
MAX_LABEL = 64
"""Characters of a label; a longer one is not a label."""


class ActiveAssetQuery:
    """The question and who was asked. ``send`` and ``answered`` queue commands on the ledger."""

    def __init__(self, commands: CommandTracker) -> None:
        self._commands = commands
        self._expression = ""

    def send(self, sessions: dict[str, Attachment], expression: str, mono_ns: int) -> None:
        """Ask every page that listens and owes no answer. ``expression``: JavaScript whose value is a text."""
        self._expression = expression
        for session in sessions.values():
            target = session.target
            if target.info.type != "page" or target.state is not TargetState.LISTENING:
                continue
            if any(self._commands.is_pending(method, session.id) for method in (_WORLD, _EVALUATE)):
                continue
            world = {"frameId": target.id, "worldName": "fluxcap"}  # of one name there is one a page
            self._commands.send(_WORLD, world, mono_ns, target_id=target.id, session_id=session.id)

    def answered(self, command: Command, head: Head, mono_ns: int) -> str:
        """An answer without an error came; the label, if it was the last of the question."""
        try:
            if command.method == _WORLD:
                self._evaluate(command, decode_world(head.result).execution_context_id, mono_ns)
            elif command.method == _EVALUATE:
                value = decode_evaluated(head.result).result.value
                return value.strip() if len(value) <= MAX_LABEL else ""
        except NOT_CDP:
            pass  # no text, or no answer at all: the page does not tell
        return ""

    def _evaluate(self, command: Command, context_id: int, mono_ns: int) -> None:
        params = {
            "expression": self._expression,
            "contextId": context_id,
            "returnByValue": True,
            "throwOnSideEffect": True,
            "timeout": _EVALUATE_MS,
        }
        self._commands.send(_EVALUATE, params, mono_ns, target_id=command.target_id, session_id=command.session_id)
