"""The command line. Thin: every command parses its options, then hands over to the module that does the work.

Heavy modules are imported inside the commands, so that ``fluxcap --help`` stays quick. Results go to stdout, logs and
errors to stderr. Exit codes: 0 done, 1 failed, 2 wrong use, 130 Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import typer

from fluxcap.capture.cli import collect, control, develop, nats, record, run, setup, store, stream
from fluxcap.schemas.errors import ConfigError, FluxcapError, UnknownAsset

app = typer.Typer(
    name="fluxcap",
    help="Exact candles from the trading page in your own Chrome, stored and republished over ZeroMQ.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("chrome")(run.chrome)
app.command("status")(control.status)
app.add_typer(control.focus_app, name="focus")
app.command("collect")(collect.collect)
app.command("collect-mode")(control.collect_mode)
app.add_typer(setup.config_app, name="config")
app.command("tail")(stream.tail)
app.command("backfill")(stream.backfill)
app.command("export")(store.export)
app.command("forward")(nats.forward)
app.command("archive")(nats.archive)
app.command("gaps")(store.gaps)
app.command("record")(record.record)
app.command("replay")(record.replay)
app.command("verify")(store.verify)
app.command("doctor")(setup.doctor)
app.command("keys")(setup.keys)
app.command("watch")(stream.watch)
app.command("devserver")(develop.devserver)
app.command("dashboard")(stream.dashboard)
app.command("simulate")(develop.simulate)
app.command("demo")(develop.demo)


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"fluxcap {installed('fluxcap')}")
        raise typer.Exit
    if debug:
        os.environ["FLUXCAP_DEBUG"] = "1"


# Newer typers bring a click of their own, so the class is taken from what typer exports.
_WrongUse: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def main() -> None:
    """Entry point of the console command."""
    sys.exit(run_cli(sys.argv[1:]))


def run_cli(arguments: list[str]) -> int:
    """Run one command; returns its exit code."""
    try:
        return int(app(arguments, standalone_mode=False, prog_name="fluxcap") or 0)
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except RuntimeError as error:
        if str(error) == "Query interrupted":  # what DuckDB makes of a Ctrl-C that meets it at work
            return 130
        raise
    except _WrongUse as error:
        error.show()
        return 2 if error.exit_code == 2 else 1
    except BrokenPipeError:
        # Whoever read our output has left (`fluxcap tail … | head`): nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except FluxcapError as error:
        if os.environ.get("FLUXCAP_DEBUG"):
            raise
        typer.echo(f"fluxcap: {error}", err=True)
        return 2 if isinstance(error, ConfigError | UnknownAsset) else 1
