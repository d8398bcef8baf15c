"""The Chromes that run on this machine, by their command lines. Linux only; elsewhere none is found."""

from __future__ import annotations

from pathlib import Path

import msgspec

_NAMES = ("chrome", "google-chrome", "google-chrome-stable", "chromium", "chromium-browser", "msedge", "brave")


class ChromeProcessInfo(msgspec.Struct, frozen=True):
    """A browser's own process, not one of its helpers."""

    pid: int
    name: str
    flags: tuple[str, ...]

    def value(self, flag: str) -> str | None:
        """What ``--flag=`` says; "" for a flag without a value, None where it is absent."""
        for given in self.flags:
            name, _, value = given.partition("=")
            if name == f"--{flag}":
                return value
        return None

    @property
    def branded(self) -> bool:
        """Chrome itself, which ignores the DevTools port on its default profile; Chromium does not."""
        return "chromium" not in self.name


def running_chromes(proc: Path = Path("/proc")) -> list[ChromeProcessInfo]:
    """All that can be seen, by process number."""
    found = []
    for folder in proc.glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().rstrip(b"\0").decode(errors="replace").split("\0")
        except OSError:  # gone meanwhile
            continue
        if len(words) == 1:  # Chrome may write its command line anew, with spaces
            words = words[0].split(" ")
        name = Path(words[0]).name
        if name in _NAMES and not any(w.startswith("--type=") for w in words):
            found.append(ChromeProcessInfo(int(folder.name), name, tuple(w for w in words[1:] if w.startswith("--"))))
    return sorted(found, key=lambda process: process.pid)
