"""Commands on their way to the browser: numbers, time-outs, answers that come too late. Pure.

Every command has a time-out, because a discarded tab accepts the attach and then never answers. A command that timed
out is remembered for a while, so that its late answer can be distinguished from garbage and means "back again".
"""

from __future__ import annotations

from typing import Any

import msgspec

from fluxcap.capture.chrome.messages import encode_command

DEFAULT_TIMEOUT_NS = 5_000_000_000
MAX_LATE = 256


class Command(msgspec.Struct, frozen=True, gc=False):
    """One command sent. ``target_id`` and ``session_id`` are ``""`` for the browser itself."""

    id: int
    method: str
    target_id: str
    session_id: str
    deadline_ns: int
    """Monotonic nanoseconds."""


class CommandTracker:
    """Numbers commands, holds what is to be sent and what is unanswered."""

    def __init__(self, timeout_ns: int = DEFAULT_TIMEOUT_NS) -> None:
        self._timeout_ns = timeout_ns
        self._last_id = 0
        self.unsent: list[str] = []
        """Commands queued and not yet handed out, as Chrome takes them."""
        self._pending: dict[int, Command] = {}
        self._late: dict[int, Command] = {}

    @property
    def pending(self) -> int:
        """The number of commands that wait for an answer within their timeout."""
        return len(self._pending)

    def send(
        self, method: str, params: dict[str, Any], mono_ns: int, *, target_id: str = "", session_id: str = ""
    ) -> Command:
        """Number a command and queue it; it times out ``timeout_ns`` after ``mono_ns``."""
        self._last_id += 1
        command = Command(self._last_id, method, target_id, session_id, mono_ns + self._timeout_ns)
        self._pending[command.id] = command
        self.unsent.append(encode_command(command.id, method, params, session_id))
        return command

    def outgoing(self) -> list[str]:
        """Return the commands to send now; each is returned once."""
        out = self.unsent.copy()
        self.unsent.clear()
        return out

    def answered(self, command_id: int) -> tuple[Command | None, bool]:
        """The command this answer belongs to (None: not ours, or its session has gone) and whether it came late."""
        command = self._pending.pop(command_id, None)
        if command is not None:
            return command, False
        return self._late.pop(command_id, None), True

    def expire(self, mono_ns: int) -> list[Command]:
        """Commands whose time has run out by ``mono_ns``, oldest first; each is reported once."""
        overdue = [command for command in self._pending.values() if command.deadline_ns <= mono_ns]
        for command in overdue:
            del self._pending[command.id]
            self._late[command.id] = command
        while len(self._late) > MAX_LATE:
            del self._late[next(iter(self._late))]
        return overdue

    def is_pending(self, method: str, session_id: str = "") -> bool:
        """Return whether such a command is unanswered, in time or late."""
        return any(
            command.method == method and command.session_id == session_id
            for ledger in (self._pending, self._late)
            for command in ledger.values()
        )

    def forget_session(self, session_id: str) -> None:
        """Drop the commands of a session that has gone: nobody will answer them."""
        for ledger in (self._pending, self._late):
            for command_id in [c.id for c in ledger.values() if c.session_id == session_id]:
                del ledger[command_id]
