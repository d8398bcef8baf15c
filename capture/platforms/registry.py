"""Finds the platform of a name: a plug-in, one that the settings file describes, or a description that ships.

A plug-in is announced by an installed package under the entry point group ``fluxcap.platforms``, and is a callable that
makes the ``Platform``: ``factory(extra_hosts, **table)``. ``extra_hosts`` are the host patterns of ``--platform-url``,
``table`` what ``[platforms.NAME]`` of the settings file says, without its key ``kind``.

``[platforms.NAME]`` makes a platform of any NAME; its key ``kind`` says which plug-in reads the table: by default the
one of that name, else ``generic``. A description that ships (``presets.toml``) is chosen by its name; as a ``kind``, it
is what the table changes some entries of. A table of the settings goes before a description of the same name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, cast

import msgspec

from fluxcap.capture.platforms.base import Platform
from fluxcap.capture.platforms.presets import MARK, presets
from fluxcap.schemas.errors import ConfigError

GROUP = "fluxcap.platforms"
GENERIC = "generic"
BUILT_IN = {
    "pocketoption": "fluxcap.capture.platforms.pocketoption:PocketOption",
    "quotex": "fluxcap.capture.platforms.quotex:Quotex",
    GENERIC: "fluxcap.capture.platforms.generic:GenericPlatform",
}
"""As pyproject.toml announces them; here too, so that they are found in a tree that was not reinstalled."""
POCKET_OPTION = "pocketoption"
BUILT_IN_ORIGINS = {
    POCKET_OPTION: "recorded in September and October 2025",
    "quotex": "from public clients, not from a recording",
}
BUILT_IN_ABOUT = {
    POCKET_OPTION: "PocketOption: updateStream and the page's history",
    "quotex": "Quotex: quotes/stream and the page's history, over Engine.IO 3",
}
MEMBERS = ("name", "shown_asset_js", "is_page", "is_socket", "decoder", "redaction")
"""What a platform must have, see ``Platform``."""

Table = Mapping[str, Any]
Factory = Callable[..., Platform]


class Choice(msgspec.Struct, frozen=True):
    """One platform that can be chosen. ``origin``: where it comes from; ``about``: what it reads."""

    name: str
    origin: str
    about: str
    documents: str = ""


def platform_named(name: str, extra_hosts: Sequence[str] = (), tables: Mapping[str, Table] | None = None) -> Platform:
    """The platform of that name. ``tables``: the ``[platforms.…]`` of the settings.

    Raises ConfigError that lists the known names, or says what is wrong with plug-in or table.
    """
    known = plug_ins()
    kind, table = _resolved(name, tables or {}, known)
    if kind not in known:
        asked = f"There is no platform {kind!r}"
        wanted_by = f", which [platforms.{name}] names as its kind" if kind != name else ""
        listed = ", ".join(sorted({*known, *presets(), *(tables or {})}))
        raise ConfigError(f"{asked}{wanted_by}; known: {listed}.")
    factory = _loaded(kind, known[kind])
    try:
        platform = factory(tuple(extra_hosts), **table)
    except ConfigError as error:
        raise ConfigError(f"Platform {name!r}: {error}{_hint(name, tables or {})}") from None
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


def whole_table(name: str, tables: Mapping[str, Table]) -> dict[str, Any]:
    """Return the table that makes a platform, whole, also where the settings name only what they change.

    ``[platforms.NAME]`` of it makes the same platform, whatever ships then.
    """
    known = plug_ins()
    kind, table = _resolved(name, tables, known)
    return table if kind == GENERIC and name not in known else {"kind": kind, **table}


def check_source(name: str, source: str, tables: Mapping[str, Table]) -> None:
    """Raise ConfigError if another platform's candles would be named as if they were PocketOption's."""
    is_ours = name not in tables and (name in presets() or name in BUILT_IN) and name != POCKET_OPTION
    if is_ours and source == POCKET_OPTION.upper():
        own = name.upper()
        raise ConfigError(f"Candles of {name} are not to be named {source}: name them with --source {own}.")


def choices(tables: Mapping[str, Table]) -> list[Choice]:
    """Return what can be chosen: plug-ins, descriptions that ship, and those of the settings."""
    found = {
        name: Choice(name, BUILT_IN_ORIGINS.get(name, "a plug-in"), BUILT_IN_ABOUT.get(name, where))
        for name, where in plug_ins().items()
        if name != GENERIC
    }
    for preset in presets().values():
        found.setdefault(preset.name, Choice(preset.name, MARK, preset.about, preset.documents))
    for name in tables:
        found[name] = Choice(name, "described in your settings", f"[platforms.{name}]")
    return list(found.values())


def _resolved(name: str, tables: Mapping[str, Table], known: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """The plug-in that makes a platform, and its table. The plug-in may be none that is known."""
    described = tables.get(name)
    table = dict(described or {})
    reads_tables = name in known and (name in (POCKET_OPTION, GENERIC) or known[name] != BUILT_IN.get(name))
    kind = str(table.pop("kind", name if reads_tables or described is None else GENERIC))
    if kind not in known and kind in presets():
        return GENERIC, presets()[kind].table | table
    return kind, table


def _hint(name: str, tables: Mapping[str, Table]) -> str:
    is_part = name in presets() and "kind" not in tables.get(name, {"kind": name})
    return f" To change only some of the description that ships, add kind = {name!r} to the table." if is_part else ""


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
