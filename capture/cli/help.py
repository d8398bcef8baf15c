"""Help in groups, in plain text: under the headings that ``rich_help_panel`` gives to commands and options.

typer itself draws such groups only with rich, which would make every ``--help`` load it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from typer.core import TyperCommand, TyperGroup

OTHER = "Other options"
"""Heading of the options that have none of their own; they come last."""


class GroupedCommands(TyperGroup):
    """A command whose help lists its commands in groups, each with its own heading, in the order of registration."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the groups."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        commands = [(name, command) for name, command in found if command is not None and not command.hidden]
        width = max(len(name) for name, _ in commands)
        limit = formatter.width - 6 - width
        rows = [
            (getattr(command, "rich_help_panel", None), (name.ljust(width), command.get_short_help_str(limit)))
            for name, command in commands
        ]
        _write(formatter, rows, "Commands")


class GroupedOptions(TyperCommand):
    """A command whose help lists its options in groups, each with its own heading, in the order of declaration."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the groups."""
        records = [(parameter, parameter.get_help_record(ctx)) for parameter in self.get_params(ctx)]
        rows = [
            (getattr(parameter, "rich_help_panel", None), record) for parameter, record in records if record is not None
        ]
        _write(formatter, rows, OTHER)


def _write(formatter: Any, rows: Iterable[tuple[object, tuple[str, str]]], other: str) -> None:
    groups: dict[str, list[tuple[str, str]]] = {}
    rest: list[tuple[str, str]] = []
    for heading, row in rows:
        # Without a heading typer stores none, or a default that is no text.
        (groups.setdefault(heading, []) if isinstance(heading, str) else rest).append(row)
    for heading, listed in [*groups.items(), (other, rest)]:
        if listed:
            with formatter.section(heading):
                formatter.write_dl(listed)
