"""Finds the platform of a name: a plug-in, or one that the settings file describes.

A plug-in is announced by an installed package under the entry point group ``fluxcap.platforms``, and is a callable that
makes the ``Platform``: ``factory(extra_hosts, **table)``. ``extra_hosts`` are the host patterns of ``--platform-url``,
``table`` what ``[platforms.NAME]`` of the settings file says, without its key ``kind``.

``[platforms.NAME]`` makes a platform of any NAME; its key ``kind`` says which plug-in reads the table: by default the
one of that name, else ``generic``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, cast

from fluxcap.capture.platforms.base import Platform
from fluxcap.schemas.errors import ConfigError

GROUP = "fluxcap.platforms"
GENERIC = "generic"
BUILT_IN = {
    "pocketoption": "fluxcap.capture.platforms.pocketoption:PocketOption",
    GENERIC: "fluxcap.capture.platforms.generic:GenericPlatform",
}
"""As pyproject.toml announces them; here too, so that they are found in a tree that was not reinstalled."""
MEMBERS = ("name", "shown_asset_js", "is_page", "is_socket", "decoder", "redaction")
"""What a platform must have, see ``Platform``."""

Table = Mapping[str, Any]
Factory = Callable[..., Platform]


def platform_named(name: str, extra_hosts: Sequence[str] = (), tables: Mapping[str, Table] | None = None) -> Platform:
    """The platform of that name. ``tables``: the ``[platforms.…]`` of the settings.

    Raises ConfigError that lists the known names, or says what is wrong with plug-in or table.
    """
    described = (tables or {}).get(name)
    known = plug_ins()
    table = dict(described or {})
    kind = str(table.pop("kind", name if name in known or described is None else GENERIC))
    if kind not in known:
        asked = f"There is no platform {kind!r}"
        wanted_by = f", which [platforms.{name}] names as its kind" if kind != name else ""
        raise ConfigError(f"{asked}{wanted_by}; known: {', '.join(sorted({*known, *(tables or {})}))}.")
    factory = _loaded(kind, known[kind])
    try:
        platform = factory(tuple(extra_hosts), **table)
    except ConfigError as error:
        raise ConfigError(f"Platform {name!r}: {error}") from None
    except TypeError as error:
        if not table:
            raise
        raise ConfigError(f"[platforms.{name}] has an entry that {kind!r} does not accept: {error}.") from None
    missing = [member for member in MEMBERS if not hasattr(platform, member)]
    if missing:
        raise ConfigError(
            f"The platform {kind!r} ({known[kind]}) has no {', '.join(missing)}; see capture/platforms/base.py."
        )
    return platform


def plug_ins() -> dict[str, str]:
    """Names of all plug-ins and where they are, ``module:attribute``; those of installed packages go first."""
    return BUILT_IN | {point.name: point.value for point in entry_points(group=GROUP)}


def _loaded(name: str, where: str) -> Factory:
    """Raises ConfigError: a plug-in of somebody else's may fail in any way."""
    module, _, attribute = where.partition(":")
    try:
        return cast(Factory, getattr(import_module(module), attribute))
    except Exception as error:
        raise ConfigError(f"The platform {name!r} ({where}) cannot be loaded: {error}.") from error
