"""Everything that fluxcap keeps on this machine: where it is, how large, and what makes it lie there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from fluxcap.bridge.client.cache import CACHE_FILE
from fluxcap.bridge.system.folders import DATA_HERE, STORE_FILE, own_data_dir
from fluxcap.capture.chrome.launch import default_profile
from fluxcap.capture.csvfiles.collected import COLLECT_FOLDER
from fluxcap.capture.csvfiles.format import REALTIME_FOLDER
from fluxcap.capture.runtime.folders import own_config_file, state_dir
from fluxcap.capture.runtime.settings import Settings, config_file, config_files, load_settings
from fluxcap.capture.tools.running import running_daemon
from fluxcap.capture.tools.service.systems import default_log_file, manager_of


class Place(msgspec.Struct, frozen=True):
    """A file or folder. ``note``: what is to be known of it; "" for nothing."""

    name: str
    path: str
    exists: bool
    bytes: int
    note: str = ""


def where_everything_is(config: Path | None = None, data_dir: Path | None = None) -> list[Place]:
    """Return all places, in the order of interest. Raises ConfigError."""
    settings = load_settings(config, data_dir=data_dir)
    return list(_places(settings, config, is_named=data_dir is not None))


def _places(settings: Settings, config: Path | None, *, is_named: bool) -> Iterator[Place]:
    folder = settings.data_dir.absolute()
    store = folder / STORE_FILE
    yield _place("data folder", [folder], _why_here(settings, is_named=is_named))
    yield _place("store", [store, store.with_name(f"{STORE_FILE}.wal")])
    older = sorted(path for path in folder.glob(f"{STORE_FILE}.*") if path.suffix not in (".wal", ".mark"))
    if older:
        yield _place("older stores", older, f"{len(older)} beside the store, {older[0].name}; yours to delete")
    yield _place("tick journal", [folder / "journal"])
    yield _place("CSV, live", [folder / REALTIME_FOLDER], f"`collect` is {settings.collect.value}")
    yield _place("CSV, collected", [folder / COLLECT_FOLDER])
    log_file = (settings.log_file or default_log_file(folder)).absolute()
    yield _place("log", [log_file, *log_file.parent.glob(f"{log_file.name}.*")], "of a service, or with `--log-file`")
    yield from _settings_files(config)
    profile = settings.chrome_profile.absolute() if settings.chrome_profile else default_profile()
    yield _place("Chrome profile", [profile], "your everyday one, not fluxcap's" if settings.consent else "")
    yield _place("state", [state_dir()], "counters that outlive the data folder")
    for cache in _client_caches(folder):
        yield _place("client cache", [cache])
    yield _place("service", [manager_of().file])
    run = running_daemon(settings.data_dir)
    yield _place("runs", [folder / "fluxcap.run.json"], f"process {run.pid}, {run.control}" if run else "no daemon")


def _why_here(settings: Settings, *, is_named: bool) -> str:
    other = own_data_dir()
    if is_named:
        return "by --data-dir"
    if settings.data_dir != DATA_HERE:
        return "your own" if settings.data_dir == other else "by the settings"
    if (other / STORE_FILE).is_file():
        return f"since ./data is here; your own, {other}, has a store, too"
    return "since ./data is here"


def _settings_files(config: Path | None) -> Iterator[Place]:
    """The one in force, and those that it hides."""
    in_force = config_file(config)
    if in_force is None:
        yield _place("settings", [own_config_file()], "none is in force; `fluxcap setup` writes it")
        return
    for path, chosen_by in config_files(config):
        if path == in_force:
            yield _place("settings", [path.absolute()], f"in force: {chosen_by}")
        elif path.is_file():
            yield _place("settings", [path.absolute()], f"not read here, {chosen_by}: the one above goes first")


def _client_caches(data_dir: Path) -> list[Path]:
    """Caches of clients in this folder, in the data folder and one below; others lie where `--data-dir` put them."""
    here = [*Path().glob(CACHE_FILE), *Path().glob(f"*/{CACHE_FILE}")]
    found = {path.absolute() for path in (*here, *data_dir.glob(CACHE_FILE), *data_dir.glob(f"*/{CACHE_FILE}"))}
    return sorted(found)


def _place(name: str, paths: Iterable[Path], note: str = "") -> Place:
    first, *more = paths
    return Place(name, str(first), first.exists(), sum(map(size_of, (first, *more))), note)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; 0 for what is not there or may not be read."""
    if not path.is_dir():
        return path.stat().st_size if path.is_file() else 0
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:  # gone meanwhile
                continue
    return total


def size_text(place: Place) -> str:
    """``1.2 MB``; ``0.0 MB`` for next to nothing."""
    return f"{place.bytes / 1e9:.1f} GB" if place.bytes >= 1e9 else f"{place.bytes / 1e6:.1f} MB"
