"""``fluxcap alerts``: try whether alerts arrive."""

from __future__ import annotations

import typer

from fluxcap.capture.cli.options import ConfigOption, Debug, Json
from fluxcap.capture.runtime.output import say, say_json

alerts_app = typer.Typer(help="Messages when capture goes blind.", no_args_is_help=True, rich_markup_mode=None)


@alerts_app.callback()
def _group() -> None:
    """Keep `test` a command of its own."""


@alerts_app.command("test")
def send_test(as_json: Json = False, config: ConfigOption = None, debug: Debug = False) -> None:
    """Send a message to every address of the setting `alerts`, and say for each whether it was taken.

    Exit code 1 when one was not. Addresses are shown by their scheme alone.
    """
    from fluxcap.capture.alerts.sender import send_test_message
    from fluxcap.capture.runtime.settings import load_settings
    from fluxcap.schemas.errors import ConfigError

    settings = load_settings(config)
    if not settings.alerts:
        raise ConfigError(
            "No address is set for alerts; write one into the settings file, such as "
            "alerts = ['tgram://BOT_TOKEN/CHAT_ID'], or into FLUXCAP_ALERTS."
        )
    results = send_test_message([one.get_secret_value() for one in settings.alerts], settings.source)
    if as_json:
        say_json([{"address": name, "sent": not error, "error": error} for name, error in results])
    else:
        for number, (name, error) in enumerate(results, 1):
            say(f"{number}  {name}  {error or 'sent'}")
    if any(error for _, error in results):
        raise typer.Exit(1)
