"""What commands print."""

from __future__ import annotations

import json

import pytest

from fluxcap.capture.runtime.output import error_exit_code, say, say_json
from fluxcap.schemas.errors import AlreadyRunning, ConfigError, UnknownAsset
from fluxcap.schemas.types import StreamKey


def test_lines_stay_lines_and_escape_sequences_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    say("first\x1b[2J\nsecond")
    say("third\r", err=True)

    told = capsys.readouterr()
    assert told.out == "first\\x1b[2J\nsecond\n"
    assert told.err == "third\\r\n"


def test_json_is_json_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    say_json({"title": "\x1b]0;x\x07\x9b\u202e", "key": StreamKey("A", "B", "1m")})

    told = capsys.readouterr().out
    assert told.rstrip("\n").isprintable()
    assert json.loads(told)["title"] == "\x1b]0;x\x07\x9b\u202e"


def test_wrong_use_has_a_code_of_its_own() -> None:
    assert [error_exit_code(e) for e in (ConfigError("c"), UnknownAsset("x", ()), AlreadyRunning("a"))] == [2, 2, 1]
