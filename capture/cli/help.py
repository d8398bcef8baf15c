"""The table of commands, and help in groups, in plain text: under the headings of commands and options.

typer itself draws such groups only with rich, which would make every ``--help`` load it. And it reads the options of
every command, which takes four times as long as loading typer, to show the help of all or to run one of them: here a
command is made when it is asked for.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command_from_info, get_group_from_info, solve_typer_info_help
from typer.models import CommandInfo, TyperInfo

OTHER = "Other options"
"""Heading of the options that have none of their own; they come last."""


class CommandTable(Mapping[str, Any]):
    """Commands by name, in the order in which they were added; each is made of its function when it is asked for."""

    def __init__(self) -> None:
        self._infos: dict[str, CommandInfo | TyperInfo] = {}
        self._made: dict[str, Any] = {}

    def add(self, name: str, heading: str, does: Callable[..., Any], cls: type[TyperCommand] | None = None) -> None:
        """Add a command that a function does, under a heading of the help."""
        self._infos[name] = CommandInfo(name, callback=does, cls=cls, rich_help_panel=heading)

    def add_group(self, name: str, heading: str, group: typer.Typer) -> None:
        """Add a command with commands of its own."""
        self._infos[name] = TyperInfo(group, name=name, rich_help_panel=heading)

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            info = self._infos[name]
            self._made[name] = (
                get_command_from_info(info, pretty_exceptions_short=False, rich_markup_mode=None)
                if isinstance(info, CommandInfo)
                else get_group_from_info(
                    info, pretty_exceptions_short=False, rich_markup_mode=None, suggest_commands=True
                )
            )
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._infos)

    def __len__(self) -> int:
        return len(self._infos)

    def summary(self, name: str, limit: int) -> tuple[object, str]:
        """Return a command's heading, and what it does in up to ``limit`` characters, without making it."""
        info = self._infos[name]
        does = inspect.getdoc(info.callback) if isinstance(info, CommandInfo) else solve_typer_info_help(info)
        return info.rich_help_panel, TyperCommand(name, help=does).get_short_help_str(limit)


def grouped_commands(table: CommandTable) -> type[TyperGroup]:
    """Return the class of a command that has the commands of a table, and lists them in groups by their headings."""

    class GroupedCommands(TyperGroup):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.commands: Any = table

        def list_commands(self, ctx: Any) -> list[str]:
            return list(table)

        def format_commands(self, ctx: Any, formatter: Any) -> None:
            width = max(map(len, table))
            limit = formatter.width - 6 - width
            summaries = [(name, *table.summary(name, limit)) for name in table]
            _write(formatter, [(heading, (name.ljust(width), does)) for name, heading, does in summaries], "Commands")

    return GroupedCommands


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
