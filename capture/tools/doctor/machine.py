"""Looks at this machine: Python and packages, disk, clocks, ports."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from fluxcap.bridge.system.ports import is_in_use, listening_socket, process_on_port
from fluxcap.capture.tools.doctor.finding import Finding, error_finding, ok, warning

OLDEST_PYTHON = (3, 11)
LOW_DISK_BYTES, FEW_BYTES = 2_000_000_000, 200_000_000
"""A day of one asset is about 1 MB in the store; recordings and CSV files of all assets are what fills a disk."""
STEP_MS = 50.0
_INSTALL = "Install fluxcap again, as you did before: `uv tool install --reinstall FILE`, `pipx install --force FILE`."
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)\s*(?:>=(?P<least>[0-9.]+))?")


def check_python() -> Finding:
    running = ".".join(map(str, sys.version_info[:3]))
    text = (
        f"fluxcap {_version('fluxcap') or 'not installed'}, Python {running}, {platform.system()} {platform.machine()}"
    )
    if sys.version_info < OLDEST_PYTHON:
        return error_finding("versions", f"{text}.", "Install Python 3.11 or newer and fluxcap into it.")
    return ok("versions", f"{text}.")


def check_packages(
    needed: Iterable[str] | None = None, installed: Callable[[str], str | None] | None = None
) -> Finding:
    """``needed``: requirements as package metadata writes them; ``installed(name)`` its version, None for none."""
    if needed is None:
        try:
            needed = requires("fluxcap") or ()
        except PackageNotFoundError:
            return error_finding(
                "packages", "fluxcap is not installed as a package.", "Install it: `uv tool install` or `pipx install`."
            )
    look_up = installed or _version
    wrong, count = [], 0
    for text in needed:
        match = _REQUIREMENT.match(text)
        if match is None or "extra ==" in text:
            continue
        count += 1
        found = look_up(match["name"])
        if found is None:
            wrong.append(f"{match['name']} is missing")
        elif match["least"] and _numbers(found) < _numbers(match["least"]):
            wrong.append(f"{match['name']} {found} is older than {match['least']}")
    if wrong:
        return error_finding(
            "packages",
            f"{'; '.join(wrong)}.",
            "Install fluxcap again: `uv tool install --reinstall`, or as you did before.",
        )
    return ok("packages", f"All {count} packages are there and new enough.")


def check_disk(folder: Path) -> Finding:
    """The file system of a folder, which need not be there yet."""
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not place.is_dir():
        return error_finding("disk", f"{place} is no folder.", "Choose another data folder with --data-dir.")
    if not os.access(place, os.W_OK | os.X_OK):
        return error_finding(
            "disk", f"{place} cannot be written.", f"Become its owner, or choose another with --data-dir: {place}"
        )
    free = shutil.disk_usage(place).free
    text = f"{free / 1e9:.1f} GB free for {folder}."
    if free < FEW_BYTES:
        return error_finding("disk", text, "Free some space: a full disk stops publishing.")
    if free < LOW_DISK_BYTES:
        return warning("disk", text, "Free some space, or choose another data folder with --data-dir.")
    return ok("disk", text)


def check_clocks(wall_ms: float, mono_ms: float) -> Finding:
    """``wall_ms``, ``mono_ms``: how far either clock went while the doctor looked."""
    apart_ms = wall_ms - mono_ms
    if abs(apart_ms) > STEP_MS:
        return warning(
            "local clocks",
            f"The wall clock was set by {apart_ms:+.0f} ms within {mono_ms / 1_000:.1f} s.",
            "Wait until the time service has adjusted the clock: the platform's offset is measured against this clock.",
        )
    return ok("local clocks", f"Wall and monotonic clock agree to {abs(apart_ms):.1f} ms over {mono_ms / 1_000:.1f} s.")


def check_own_port(subject: str, host: str, port: int, option: str, held_by_daemon: bool) -> Finding:
    """Check whether a port is free, and who uses it if not."""
    if port == 0:
        return ok(subject, "Any free port is taken.")
    if held_by_daemon:
        return ok(subject, f"Port {port} is held by the running fluxcap.")
    reason = _why_not(host, port)
    if reason is None:
        return ok(subject, f"Port {port} on {host} is free.")
    if not is_in_use(reason, port):
        return error_finding(
            subject, f"Port {port} on {host} cannot be used: {reason.strerror}.", f"Choose another with {option}."
        )
    holder = process_on_port(port) or "another program"
    return error_finding(
        subject, f"Port {port} on {host} is held by {holder}.", f"Stop it, or choose another with {option}."
    )


def _why_not(host: str, port: int) -> OSError | None:
    try:
        listening_socket(host, port).close()
    except OSError as error:
        return error
    return None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])
