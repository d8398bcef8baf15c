"""``fluxcap setup`` and ``fluxcap data``: the first minutes, and where everything is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fluxcap.capture.cli.options import ConfigOption, Debug, Json
from fluxcap.capture.cli.service import DataFolder
from fluxcap.capture.runtime.output import say, say_json

if TYPE_CHECKING:
    from fluxcap.capture.chrome.browsers import Installed
    from fluxcap.capture.tools.setup import Way

WAIT_S = 60.0


def setup(
    browser: Annotated[
        str | None,
        typer.Option(help="chrome, chromium, edge, brave, opera, vivaldi, or a program. [default: asked]"),
    ] = None,
    way: Annotated[
        str | None,
        typer.Option(
            help="own: a profile of fluxcap's own, works unattended. everyday: the browser that you use every day, by "
            "its consent. [default: asked]"
        ),
    ] = None,
    chrome_profile: Annotated[Path | None, typer.Option(help="Another profile folder than the usual one.")] = None,
    page: Annotated[str | None, typer.Option(help="Your trading page. [default: as in the settings]")] = None,
    platform_url: Annotated[
        list[str] | None, typer.Option(help="A further page or socket host of the platform; * allowed; repeatable.")
    ] = None,
    data_dir: DataFolder = None,
    start: Annotated[bool, typer.Option("--start/--no-start", help="Start the daemon, or only write settings.")] = True,
    wait: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds to wait for the first ticks. [default: with --yes 60, else until Ctrl-C]"),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing; take what is proposed.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Set fluxcap up: find your browser, write the settings, open the trading page, show the first ticks.

    Writes your own settings file, starts the daemon in the background, and may be run again at any time. Exit code 0
    once ticks came, 1 when none came in time.
    """
    import msgspec

    from fluxcap.capture.chrome.browsers import choose_browser
    from fluxcap.capture.runtime.settings import config_file
    from fluxcap.capture.tools import setup as steps

    yes = yes or as_json
    tell = (lambda _text: None) if as_json else say
    if not yes and (sys.stdin is None or not sys.stdin.isatty()):
        from fluxcap.schemas.errors import ConfigError

        raise ConfigError("There is no terminal to ask on; `fluxcap setup --yes` takes what is proposed.")
    chosen = choose_browser(browser) if browser or yes else _ask_browser()
    tell(f"Browser   {chosen.label}, {chosen.program}")
    wanted = _way(way) if way or yes else _ask_way(chosen)
    choice = steps.Choice(chosen, wanted, chrome_profile, page, tuple(platform_url or ()))
    file = steps.write_settings(choice)
    tell(f"Settings  {file}")
    if (other := steps.overridden_by()) is not None:
        tell(f"          but in this folder {other} goes before it")
    settings = steps.settings_in_force(data_dir)
    log_file = steps.log_file_of(settings)
    result = steps.SetupResult(str(file), str(chosen.program), wanted, str(settings.data_dir.absolute()), str(log_file))
    if not start:
        _finish(result, as_json, "Start it with `fluxcap run`.")
        return
    tell(f"Data      {settings.data_dir.absolute()}")
    tell(f"Log       {log_file}")
    if wanted is steps.Way.EVERYDAY:
        tell("Opening your browser: tick *Allow remote debugging for this browser instance*; click Allow when asked.")
        steps.open_in_browser(chosen, steps.CONSENT_PAGE, settings.page)
    else:
        tell(f"Opening {chosen.label} with a profile of fluxcap's own at {settings.page}: log in there once.")
    run = steps.start_daemon(settings, config_file())
    tell(f"fluxcap runs in the background (process {run.pid}). Waiting for the first ticks; Ctrl-C leaves it running.")
    ticks = 0
    try:
        for seen in steps.looked_on(steps.daemon_status(run), WAIT_S if wait is None and yes else wait):
            ticks += isinstance(seen, steps.FirstTick)
            tell(f"  {seen if isinstance(seen, str) else steps.tick_text(seen)}")
    except KeyboardInterrupt:
        tell("")
    result = msgspec.structs.replace(result, pid=run.pid, control=run.control, ticks=ticks)
    came = "Ticks come." if ticks else "No tick came yet; `fluxcap status` says what is missing, `fluxcap doctor` more."
    _finish(
        result,
        as_json,
        f"{came} The chart: {run.control}/",
        "It runs until `fluxcap stop`. At each log-in by itself: `fluxcap service install`.",
    )
    raise typer.Exit(0 if ticks else 1)


def _finish(result: object, as_json: bool, *lines: str) -> None:
    if as_json:
        say_json(result)
        return
    for line in lines:
        say(line)


def _way(text: str | None) -> Way:
    from fluxcap.capture.tools.setup import Way
    from fluxcap.schemas.errors import ConfigError

    if text is None:
        return Way.OWN
    if text not in list(Way):
        raise ConfigError(f"{text!r} is no way; choose own or everyday.")
    return Way(text)


def _ask_browser() -> Installed:
    from fluxcap.capture.chrome.browsers import Machine, choose_browser

    found = Machine().browsers()
    if len(found) < 2:
        return choose_browser()
    say("Browsers on this machine:")
    for number, one in enumerate(found, 1):
        say(f"  {number}  {one.label}  ({one.program})")
    number = _ask_number("Which one shows your trading page?", len(found))
    return found[number - 1]


def _ask_way(browser: Installed) -> Way:
    from fluxcap.capture.tools.setup import Way

    say("How shall fluxcap read it?")
    say(f"  1  In a {browser.label} window of its own, with its own profile: log in there once. Works unattended.")
    say(f"  2  In the {browser.label} that you use every day: it asks for your consent each time it starts.")
    return (Way.OWN, Way.EVERYDAY)[_ask_number("Which way?", 2) - 1]


def _ask_number(question: str, most: int) -> int:
    while True:
        number: int = typer.prompt(question, default=1, type=int)
        if 1 <= number <= most:
            return number
        say(f"A number from 1 to {most}, please.")


def data(data_dir: DataFolder = None, config: ConfigOption = None, as_json: Json = False, debug: Debug = False) -> None:
    """Say where everything is: store, CSV files, logs, settings, Chrome's profile, and how much each takes."""
    from fluxcap.capture.tools.places import size_text, where_everything_is

    places = where_everything_is(config, data_dir)
    if as_json:
        say_json(places)
        return
    for place in places:
        size = size_text(place) if place.exists else "-"
        say(f"{place.name:<15}{size:>9}  {place.path}{f'  ({place.note})' if place.note else ''}")
