"""The table of commands: made when asked for, told in groups without being made."""

from __future__ import annotations

import pytest
import typer
from typer.core import TyperCommand

from fluxcap.capture.cli.help import CommandTable, grouped_commands


def greet(name: str = typer.Option("you", help="Whom.")) -> None:
    """Greet somebody.

    Loudly.
    """
    print(f"hello {name}")


def part(name: str) -> None:
    """Part from somebody."""


def never_asked_for(name: "no such type") -> None:  # type: ignore[valid-type]  # noqa: F722
    """Fail as soon as its options are read."""


inner = typer.Typer(help="Many things.")
inner.command("greet")(greet)
inner.command("part")(part)


def app_of(table: CommandTable) -> typer.Typer:
    app = typer.Typer(cls=grouped_commands(table), rich_markup_mode=None)
    app.callback()(lambda: None)
    return app


@pytest.fixture
def table() -> CommandTable:
    table = CommandTable()
    table.add("greet", "Politeness", greet)
    table.add("never", "Rudeness", never_asked_for)
    table.add_group("more", "Politeness", inner)
    return table


def test_help_lists_all_commands_under_their_headings_without_making_one(
    table: CommandTable, capsys: pytest.CaptureFixture[str]
) -> None:
    app_of(table)(["--help"], standalone_mode=False, prog_name="test")

    told = [line.strip() for line in capsys.readouterr().out.splitlines()]
    at = told.index("Politeness:")
    assert told[at + 1 :] == [
        "greet  Greet somebody.",
        "more   Many things.",
        "",
        "Rudeness:",
        "never  Fail as soon as its options are read.",
    ]


def test_the_command_that_is_run_is_the_only_one_that_is_made(
    table: CommandTable, capsys: pytest.CaptureFixture[str]
) -> None:
    app_of(table)(["greet", "--name", "me"], standalone_mode=False)

    assert capsys.readouterr().out == "hello me\n"


def test_a_command_of_its_own_class_and_a_group_are_made_once(table: CommandTable) -> None:
    class Own(TyperCommand):
        pass

    table.add("own", "Politeness", greet, Own)

    assert type(table["own"]) is Own
    assert table["own"] is table["own"]
    assert list(table["more"].commands) == ["greet", "part"]
    assert list(table) == ["greet", "never", "more", "own"]
    assert len(table) == 4


def test_an_unknown_command_is_told_with_one_like_it(table: CommandTable) -> None:
    with pytest.raises(Exception, match="No such command 'gret'"):
        app_of(table)(["gret"], standalone_mode=False)
