"""The output of commands: words for people on stdout or stderr, JSON for programs; and their exit codes. Light.

Every command prints through here or through a ``SafeConsole``, so that text of a page, a browser or a server cannot
steer the terminal.
"""

from __future__ import annotations

import sys
from typing import Any

from fluxcap.bridge.terminal.printable import printable, printable_json
from fluxcap.schemas.errors import ConfigError, FluxcapError, UnknownAsset


def error_exit_code(error: FluxcapError) -> int:
    """2 for wrong use, else 1."""
    return 2 if isinstance(error, ConfigError | UnknownAsset) else 1


def say(text: str, *, err: bool = False) -> None:
    """Print lines for people, to stderr with ``err``."""
    print(printable(text, keep="\n"), file=sys.stderr if err else sys.stdout, flush=True)


def say_json(value: Any) -> None:
    """Print a value as JSON on stdout. Values of msgspec are as msgspec writes them."""
    import msgspec

    print(printable_json(msgspec.json.encode(value).decode()), flush=True)
