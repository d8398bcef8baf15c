"""A Chromium with its window on a virtual screen, whose real dialog is answered by keys, as its user would.

Xvfb keeps its screen in a file, from which one point of the browser's toolbar is read: a dialog darkens it. So dialogs
are counted without asking the browser anything.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
from pathlib import Path

from tests.support.browser.chromium import chromium_executable
from tests.support.patience import PATIENCE_S, await_that

NEEDED = ("Xvfb", "xdotool")
LOOK_S = 0.05
TOOLBAR_AT = (900, 52)
"""A point of the address bar in a window of 1200 x 850 at the screen's corner."""
LIGHT = 200
"""The toolbar is 240 and more of 255 bright; below a dialog's shade it is about 100 (Chromium 156)."""


def what_is_missing() -> str:
    """The programs that are not there; "" when all are."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    return ", ".join(missing if chromium_executable() else [*missing, "chromium"])


class Screen:
    """A virtual screen; ``dialogs`` counts how often the toolbar went dark."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._file = folder / "Xvfb_screen0"
        read_end, write_end = os.pipe()
        self._process = subprocess.Popen(
            ["Xvfb", "-displayfd", str(write_end), "-screen", "0", "1280x900x24", "-fbdir", str(folder)],
            pass_fds=(write_end,),
            stderr=subprocess.DEVNULL,
        )
        os.close(write_end)
        with os.fdopen(read_end) as told:
            self.display = f":{told.readline().strip()}"
        self.environment = os.environ | {"DISPLAY": self.display}
        self.dialogs = 0
        self._was_dark = False
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._count)
        self._watch.start()

    def close(self) -> None:
        self._ended.set()
        self._watch.join()
        self._process.terminate()
        self._process.wait()

    @property
    def brightness(self) -> int:
        """Of the toolbar's point, 0 to 255."""
        with self._file.open("rb") as screen:
            head = struct.unpack(">25I", screen.read(100))
            size, bytes_a_line, colours = head[0], head[12], head[19]
            x, y = TOOLBAR_AT
            screen.seek(size + colours * 12 + y * bytes_a_line + x * 4)
            return sum(screen.read(3)) // 3

    @property
    def dialog_open(self) -> bool:
        return 0 < self.brightness < LIGHT

    def press(self, *keys: str) -> None:
        subprocess.run(["xdotool", "key", *keys], env=self.environment, check=True)

    def allow(self) -> None:
        """Answer the dialog: its default is Cancel, and Allow is next to it."""
        await_that(lambda: self.dialog_open, "the dialog")
        self.press("Tab", "Return")
        await_that(lambda: not self.dialog_open, "the end of the dialog")

    def cancel(self) -> None:
        await_that(lambda: self.dialog_open, "the dialog")
        self.press("Return")
        await_that(lambda: not self.dialog_open, "the end of the dialog")

    def _count(self) -> None:
        while not self._ended.wait(LOOK_S):
            try:
                dark = self.dialog_open
            except (OSError, struct.error):  # the screen is not there yet
                continue
            self.dialogs += dark and not self._was_dark
            self._was_dark = dark


class RealBrowser:
    """A Chromium whose user has ticked *Allow remote debugging*, with pages open. ``restart`` keeps the profile."""

    def __init__(self, profile: Path, screen: Screen, *urls: str) -> None:
        self.profile = profile
        self._screen = screen
        self._urls = urls
        profile.mkdir()
        setting = {"devtools": {"remote_debugging": {"user-enabled": True}}}
        (profile / "Local State").write_text(json.dumps(setting))
        self.start()

    def start(self) -> None:
        port_file = self.profile / "DevToolsActivePort"
        port_file.unlink(missing_ok=True)
        command = [
            str(chromium_executable()),
            *("--no-sandbox", "--no-first-run", "--no-default-browser-check", "--hide-crash-restore-bubble"),
            *("--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-sync"),
            *("--window-size=1200,850", "--window-position=0,0", f"--user-data-dir={self.profile}"),
            *self._urls,
        ]
        with (self.profile / "chromium.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self._screen.environment, stdout=log, stderr=log, start_new_session=True
            )
        await_that(lambda: port_file.exists() and len(port_file.read_text().split()) == 2, "the port file")
        await_that(lambda: self._screen.brightness >= LIGHT, "the window")

    @property
    def port(self) -> int:
        return int((self.profile / "DevToolsActivePort").read_text().split()[0])

    def get(self, path: str) -> bytes:
        """The whole answer to a plain GET, which asks nobody."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            return connection.recv(4_096)

    def stop(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
