"""``fluxcap service`` and ``fluxcap stop``: the daemon without a terminal, and its end in order."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fluxcap.capture.cli.options import ConfigOption, Debug, Json
from fluxcap.capture.runtime.output import say, say_json

if TYPE_CHECKING:
    from fluxcap.capture.tools.service.service import Started

service_app = typer.Typer(
    help="The daemon at each log-in, without a terminal, started again when it fails.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
DataFolder = Annotated[Path | None, typer.Option("--data-dir", help="Data folder. [default: ./data, else your own]")]


def stop(
    data_dir: DataFolder = None,
    config: ConfigOption = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """End the running daemon in order, from anywhere, and wait until it has ended. Nothing is lost.

    One that a service started stays ended until the next log-in, or `fluxcap service start`.
    """
    from fluxcap.capture.runtime.settings import load_settings
    from fluxcap.capture.tools.running import stop_daemon

    folder = load_settings(config, data_dir=data_dir).data_dir
    pid = stop_daemon(folder)
    if as_json:
        say_json({"stopped": pid})
    elif pid is None:
        say(f"No fluxcap runs on {folder}.")
    else:
        say(f"fluxcap (process {pid}) has ended.")


@service_app.command()
def install(
    data_dir: DataFolder = None,
    config: ConfigOption = None,
    and_start: Annotated[
        bool, typer.Option("--start/--no-start", help="Start it now, too, or only at the next log-in.")
    ] = True,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Have your system start the daemon whenever you log in, and start it now.

    systemd of your user on Linux, a launch agent on macOS, a scheduled task on Windows: no administrator is needed. It
    takes the settings and the data folder that are in force here. A daemon that runs already is ended in order first.
    """
    from fluxcap.capture.tools.service.service import Service

    service = Service(config, data_dir)
    started = service.install(and_start=and_start)
    if as_json:
        say_json(service.view())
        return
    if started.stopped is not None:
        say(f"The fluxcap that ran (process {started.stopped}) was ended in order first.")
    say(f"Installed: {service.manager.file}")
    say(f"log        {service.log_file}")
    if service.left_out:
        say(
            f"A service does not have the variables of this shell: {', '.join(service.left_out)}. Write what they set "
            "into a settings file (`fluxcap config show`) and install it again."
        )
    _say_started(started, "It starts when you log in next, or with `fluxcap service start`.")
    if sys.platform == "linux":
        say("To keep it running while you are logged out: `loginctl enable-linger`.")


@service_app.command()
def start(
    data_dir: DataFolder = None, config: ConfigOption = None, as_json: Json = False, debug: Debug = False
) -> None:
    """Start the service that is installed."""
    from fluxcap.capture.tools.service.service import Service

    service = Service(config, data_dir)
    started = service.start()
    if as_json:
        say_json(service.view())
    else:
        _say_started(started)


@service_app.command("stop")
def stop_(
    data_dir: DataFolder = None, config: ConfigOption = None, as_json: Json = False, debug: Debug = False
) -> None:
    """End it in order, until the next log-in."""
    from fluxcap.capture.tools.service.service import Service

    pid = Service(config, data_dir).stop()
    if as_json:
        say_json({"stopped": pid})
    else:
        say(f"fluxcap (process {pid}) has ended." if pid is not None else "No fluxcap ran.")


@service_app.command()
def status(
    data_dir: DataFolder = None, config: ConfigOption = None, as_json: Json = False, debug: Debug = False
) -> None:
    """Say whether it is installed and whether it runs. Exit code 1 when it does not run."""
    from fluxcap.capture.tools.service.service import Service

    view = Service(config, data_dir).view()
    if as_json:
        say_json(view)
    else:
        say(f"installed  {view.file if view.installed else 'no: `fluxcap service install`'}")
        say(f"runs       {f'process {view.pid}, {view.control}' if view.pid else 'no'}")
        say(f"data       {view.data_dir}")
        say(f"log        {view.log_file}")
        say(f"more       {view.hint}")
    raise typer.Exit(0 if view.pid else 1)


@service_app.command()
def remove(
    data_dir: DataFolder = None, config: ConfigOption = None, as_json: Json = False, debug: Debug = False
) -> None:
    """End it in order and have it started no more. Candles and settings stay."""
    from fluxcap.capture.tools.service.service import Service

    was_installed = Service(config, data_dir).remove()
    if as_json:
        say_json({"removed": was_installed})
    else:
        say(
            "The service is removed; candles and settings are as they were." if was_installed else "None was installed."
        )


@service_app.command()
def show(data_dir: DataFolder = None, config: ConfigOption = None) -> None:
    """Print what would be installed, and change nothing."""
    from fluxcap.capture.tools.service.service import Service

    say(Service(config, data_dir).text())


@service_app.command(
    hidden=True, context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
)
def supervise(context: typer.Context) -> None:
    """Run fluxcap with the arguments that follow, and again when it fails; what a scheduled task of Windows starts."""
    from fluxcap.capture.tools.service.supervise import start_and_wait
    from fluxcap.capture.tools.service.supervise import supervise as run

    raise typer.Exit(run(lambda: start_and_wait(context.args)))


def _say_started(started: Started, otherwise: str = "") -> None:
    if started.run is None:
        say(otherwise)
    else:
        say(f"fluxcap runs (process {started.run.pid}); `fluxcap status`, {started.run.control}/")
