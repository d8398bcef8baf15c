"""The command line. Thin: every command parses its options, then hands over to the module that does the work.

Heavy modules are imported inside the commands, so that ``fluxcap --help`` stays quick. Results go to stdout, logs and
errors to stderr. Exit codes: 0 done, 1 failed, 2 wrong use, 129 the terminal was closed, 130 Ctrl-C.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import sys
from typing import Any

import typer

from fluxcap.bridge.system.signals import HANG_UP_EXIT_CODE, HangUp, interrupt_on_hang_up
from fluxcap.bridge.system.terminal import is_reader_gone, use_utf8
from fluxcap.capture.cli import (
    alerts,
    collect,
    control,
    develop,
    nats,
    record,
    run,
    service,
    setup,
    start,
    store,
    stream,
)
from fluxcap.capture.cli.help import CommandTable, GroupedOptions, grouped_commands
from fluxcap.capture.runtime.output import error_exit_code, say
from fluxcap.schemas.errors import FluxcapError

_OUTPUT_ERRORS = (errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT)
"""A pipe that nobody reads, a full disk, a closed terminal, the size allowed for a file, a quota."""

CAPTURE, READ, HISTORY, OPERATE, DEVELOP = ("Capture", "Read", "History", "Operate", "Develop")
"""Headings of the commands in ``fluxcap --help``, in the order of need."""

COMMANDS = CommandTable()
COMMANDS.add("setup", CAPTURE, start.setup)
COMMANDS.add("run", CAPTURE, run.run, GroupedOptions)
COMMANDS.add("chrome", CAPTURE, run.chrome)
COMMANDS.add("status", CAPTURE, control.status)
COMMANDS.add("stop", CAPTURE, service.stop)
COMMANDS.add("reload", CAPTURE, control.reload)
COMMANDS.add("collect-mode", CAPTURE, control.collect_mode)
COMMANDS.add("record", CAPTURE, record.record)
COMMANDS.add_group("focus", CAPTURE, control.focus_app)
COMMANDS.add_group("clock", CAPTURE, control.clock_app)
COMMANDS.add("tail", READ, stream.tail)
COMMANDS.add("watch", READ, stream.watch)
COMMANDS.add("dashboard", READ, stream.dashboard)
COMMANDS.add("backfill", HISTORY, stream.backfill)
COMMANDS.add("collect", HISTORY, collect.collect)
COMMANDS.add("export", HISTORY, store.export)
COMMANDS.add("gaps", HISTORY, store.gaps)
COMMANDS.add("replay", HISTORY, record.replay)
COMMANDS.add("doctor", OPERATE, setup.doctor)
COMMANDS.add("platforms", OPERATE, setup.platforms)
COMMANDS.add("data", OPERATE, start.data)
COMMANDS.add("verify", OPERATE, store.verify)
COMMANDS.add("restore", OPERATE, store.restore)
COMMANDS.add("keys", OPERATE, setup.keys)
COMMANDS.add("forward", OPERATE, nats.forward)
COMMANDS.add("archive", OPERATE, nats.archive)
COMMANDS.add_group("config", OPERATE, setup.config_app)
COMMANDS.add_group("service", OPERATE, service.service_app)
COMMANDS.add_group("alerts", OPERATE, alerts.alerts_app)
COMMANDS.add("demo", DEVELOP, develop.demo)
COMMANDS.add("simulate", DEVELOP, develop.simulate)
COMMANDS.add("devserver", DEVELOP, develop.devserver)

app = typer.Typer(
    name="fluxcap",
    cls=grouped_commands(COMMANDS),
    help="Exact candles from the trading page in your own Chrome, stored and republished over ZeroMQ.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    if version:
        from importlib.metadata import version as installed

        say(f"fluxcap {installed('fluxcap')}")
        raise typer.Exit
    if debug:
        os.environ["FLUXCAP_DEBUG"] = "1"


# Newer typers bring a click of their own, so the class is taken from what typer exports.
_WrongUse: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def main() -> None:
    """Entry point of the console command."""
    use_utf8()
    interrupt_on_hang_up()
    sys.exit(run_cli(sys.argv[1:]))


@functools.cache
def command_tree() -> Any:
    """Make ``app`` into a command, once in a process. Its commands are made when they are asked for."""
    return typer.main.get_command(app)


def run_cli(arguments: list[str]) -> int:
    """Run one command; returns its exit code."""
    streams = sys.stdout, sys.stderr
    try:
        code = int(command_tree()(arguments, standalone_mode=False, prog_name="fluxcap") or 0)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except HangUp:
        return HANG_UP_EXIT_CODE
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except RuntimeError as error:
        if str(error) == "Query interrupted":  # what DuckDB makes of a Ctrl-C that meets it at work
            return 130
        raise
    except _WrongUse as error:
        error.show()
        return 2 if error.exit_code == 2 else 1
    except OSError as error:
        return _output_failed(error)
    except SystemExit:
        if sys.stdout is streams[0]:
            raise
        # What the parser makes of a broken pipe: it puts streams of its own in place and asks to leave.
        sys.stdout, sys.stderr = streams
        return _output_failed(BrokenPipeError(errno.EPIPE, ""))
    except FluxcapError as error:
        if os.environ.get("FLUXCAP_DEBUG"):
            raise
        say(f"fluxcap: {error}", err=True)
        return error_exit_code(error)


def _output_failed(error: OSError) -> int:
    """The exit code when what we print cannot be written. Raises the error when it is about something else."""
    is_ours = is_reader_gone(error) or error.errno in _OUTPUT_ERRORS or (error.errno == errno.EBADF and not _is_open(1))
    if error.filename is not None or not is_ours:
        raise error
    # What is left in the buffer goes nowhere: Python would complain about it at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if is_reader_gone(error):
        return 0  # whoever read our output has left (`fluxcap tail … | head`): nothing is wrong
    with contextlib.suppress(OSError):  # stderr may be as full
        say(f"fluxcap: The output cannot be written: {error.strerror}.", err=True)
    return 1


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
