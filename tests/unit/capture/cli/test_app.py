"""The command line without its work: options, exit codes, one sentence an error."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fluxcap.bridge.system.signals import HangUp
from fluxcap.capture.cli import app as cli
from fluxcap.capture.cli.app import run_cli
from fluxcap.schemas.errors import (
    AlreadyRunning,
    ChromeUnavailable,
    ConfigError,
    FluxcapError,
    StoreLocked,
    UnknownAsset,
)
from tests.support.patience import PATIENCE_S
from tests.support.systems import not_on_windows

FREE = ("--pub", "tcp://127.0.0.1:0", "--rep", "tcp://127.0.0.1:0", "--no-web", "--control-port", "0")


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLUXCAP_DEBUG", raising=False)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]):
    assert run_cli(["--help"]) == 0

    told = capsys.readouterr().out
    assert all(f"  {name} " in told for name in ("run", "chrome", "status", "focus", "tail", "simulate", "demo"))


def headings(text: str) -> dict[str, list[str]]:
    """What stands in a help below each heading: the first word of each entry."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line[:1].strip() and line.endswith(":"):
            found[line.removesuffix(":")] = []
        elif found and line.startswith("  ") and line[2:3].strip():
            found[next(reversed(found))].append(line.split()[0].strip(","))
    return found


def test_help_groups_the_commands_in_the_order_of_need(capsys: pytest.CaptureFixture[str]):
    run_cli(["--help"])

    told = headings(capsys.readouterr().out)
    assert list(told) == ["Options", "Capture", "Read", "History", "Operate", "Develop"]
    assert told["Capture"][:2] == ["setup", "run"]
    assert told["Read"] == ["tail", "watch", "dashboard"]
    assert told["Develop"] == ["demo", "simulate", "devserver"]


def test_help_of_run_groups_its_options_in_the_order_of_need(capsys: pytest.CaptureFixture[str]):
    run_cli(["run", "--help"])

    told = headings(capsys.readouterr().out)
    assert list(told) == [
        "Chrome and platform",
        "Candles",
        "Store and files",
        "Web",
        "Wire",
        "NATS JetStream",
        "Late ticks and breaks",
        "Alerts",
        "Other options",
    ]
    assert told["Candles"] == ["--focus", "--interval", "--timeframes", "--source"]
    assert told["Other options"] == ["--config", "--log-json", "--log-file", "--debug", "-h"]


def test_version_is_told(capsys: pytest.CaptureFixture[str]):
    assert run_cli(["--version"]) == 0
    assert capsys.readouterr().out.startswith("fluxcap ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--interval", "7x"],
        ["run", "--chrome", "nonsense"],
        ["run", "--platform", "nosuch"],
        ["run", "--collect", "everything"],
        ["run", "--control-port", "99999"],
        ["run", "--source", "a.b"],
        ["run", "--pub", "tcp://0.0.0.0:0"],
        ["run", "--config", "nowhere.toml"],
        pytest.param(["run", "--data-dir", f"{__file__}/data"], id="run --data-dir FILE/data"),
        ["tail", "SIM", "EURUSD", "7x"],
        ["simulate", "--assets", "NOSUCH"],
        ["demo", "--interval", "7x"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_is_told_in_one_sentence_with_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
):
    free = FREE if arguments[0] == "run" else ()

    code = run_cli([arguments[0], *free, *arguments[1:]])

    told = capsys.readouterr()
    assert (code, told.out) == (2, "")
    assert told.err.startswith("fluxcap: ")
    assert len(told.err.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["run", "--nosuch"], ["nosuch"], ["focus", "set"], ["demo", "--seconds", "1"]])
def test_wrong_use_has_exit_code_2_and_names_the_help(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    assert run_cli(arguments) == 2

    told = capsys.readouterr()
    assert told.out == ""
    assert "Usage: fluxcap" in told.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("c"), 2),
        (UnknownAsset("X", ("Y",)), 2),
        (ChromeUnavailable("c"), 1),
        (AlreadyRunning("a"), 1),
        (StoreLocked("s"), 1),
        (FluxcapError("f"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_have_exit_codes_by_their_kind(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(cli, "command_tree", lambda: _raising(error))

    assert run_cli([]) == code
    assert capsys.readouterr().err == f"fluxcap: {error}\n"


def test_ctrl_c_has_exit_code_130(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cli, "command_tree", lambda: _raising(KeyboardInterrupt()))

    assert run_cli([]) == 130


def test_with_debug_the_error_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FLUXCAP_DEBUG", "1")
    monkeypatch.setattr(cli, "command_tree", lambda: _raising(ConfigError("c")))

    with pytest.raises(ConfigError):
        run_cli([])


def test_without_a_daemon_commands_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "fluxcap.run.json").write_text('{"pid":4194304,"control":"","pub":"","rep":""}')

    assert run_cli(["status", "--data-dir", str(tmp_path)]) == 1
    assert "process 4194304 ended" in capsys.readouterr().err


FLUXCAP = (sys.executable, "-m", "fluxcap.capture.cli")


@pytest.mark.costly
@pytest.mark.parametrize(
    "words", [("--version",), ("--help",), ("config", "show"), ("config", "show", "--json"), ("run", "--help")]
)
@not_on_windows("it has no file that is always full")
def test_a_full_output_is_a_sentence(words: tuple[str, ...]):
    with open("/dev/full", "w") as full:
        done = subprocess.run([*FLUXCAP, *words], stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S)

    assert (done.returncode, done.stderr) == (1, "fluxcap: The output cannot be written: No space left on device.\n")


@pytest.mark.costly
@not_on_windows("it has no file that is always full")
def test_with_stderr_full_too_it_ends_in_silence():
    with open("/dev/full", "w") as full:
        done = subprocess.run([*FLUXCAP, "--version"], stdout=full, stderr=full, timeout=PATIENCE_S)

    assert done.returncode == 1


@pytest.mark.costly
@pytest.mark.parametrize("words", [("--help",), ("config", "show", "--json")])
def test_an_output_that_nobody_reads_any_more_is_no_failure(words: tuple[str, ...]):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe:
        done = subprocess.run([*FLUXCAP, *words], stdout=pipe, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.costly
@not_on_windows("it has no sh")
def test_without_any_output_it_ends_well():
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *FLUXCAP, "--version"],
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE_S,
    )

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("words", "code"), [(["--version"], 0), (["tail", "SIM", "EURUSD", "7x"], 2)])
def test_where_there_is_no_console_it_ends_as_always(words: list[str], code: int, monkeypatch: pytest.MonkeyPatch):
    for name in ("stdout", "stderr"):  # as a Windows task without a window finds them
        monkeypatch.setattr(sys, name, None)

    assert run_cli(words) == code


def test_another_failure_of_the_system_is_not_taken_for_the_outputs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cli, "command_tree", lambda: _raising(PermissionError(errno.EACCES, "no", "/root/x")))

    with pytest.raises(PermissionError):
        run_cli([])


def test_an_error_cannot_steer_the_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(cli, "command_tree", lambda: _raising(ChromeUnavailable("Chrome says \x1b]0;x\x07\x1b[2J.")))

    assert run_cli([]) == 1
    assert capsys.readouterr().err == "fluxcap: Chrome says \\x1b]0;x\\x07\\x1b[2J.\n"


def test_a_closed_terminal_has_exit_code_129(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cli, "command_tree", lambda: _raising(HangUp()))

    assert run_cli([]) == 129


@pytest.mark.parametrize("error", [OSError(errno.EBADF, "Invalid handle"), OSError(errno.EPERM, "no")], ids=str)
def test_an_error_of_something_else_than_the_output_is_not_told_as_one_of_it(
    error: OSError, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cli, "command_tree", lambda: _raising(error))

    with pytest.raises(OSError, match=str(error.strerror)):
        run_cli([])


def _raising(error: BaseException) -> Any:
    def app(*_: Any, **__: Any) -> None:
        raise error

    return app
