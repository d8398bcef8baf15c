"""Finds the process that listens on a TCP port of this machine, so that an error can name it. Linux only."""

from __future__ import annotations

from pathlib import Path

_LISTENING = "0A"


def process_on_port(port: int, proc: Path = Path("/proc")) -> str:
    """Return the listener on ``port`` such as ``"process 4711 (fluxcap run)"``, or ``""`` when unknown."""
    sockets = {f"socket:[{inode}]" for name in ("tcp", "tcp6") for inode in _listeners(proc / "net" / name, port)}
    if not sockets:
        return ""
    for folder in proc.glob("[0-9]*"):
        if _has_open(folder, sockets):
            return f"process {folder.name}{_command(folder)}"
    return ""


def _listeners(table: Path, port: int) -> list[str]:
    """Inodes of the listening sockets on a port, of a table such as ``/proc/net/tcp``."""
    try:
        rows = [line.split() for line in table.read_text().splitlines()[1:]]
    except OSError:
        return []
    return [row[9] for row in rows if row[3] == _LISTENING and row[1].endswith(f":{port:04X}")]


def _has_open(process: Path, sockets: set[str]) -> bool:
    try:
        return any(str(link.readlink()) in sockets for link in (process / "fd").iterdir())
    except OSError:  # not ours to look into, or gone meanwhile
        return False


def _command(process: Path) -> str:
    try:
        words = (process / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return ""
    names = [Path(word.decode(errors="replace")).name for word in words[:3]]
    return f" ({' '.join(names)})" if names[0] else ""
