"""A browser that lets programs in by its user's consent alone: its port, its port file, and a dialog that tests answer.

It behaves as Chromium 156 was seen to: an empty 404 to every HTTP path, a dialog for every WebSocket below
``/devtools/browser/`` whatever follows, 403 on Cancel, a handshake that waits meanwhile, a new id at each start, and a
port file that outlives the browser. ``make consent`` holds the product against the real dialog.
"""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import threading
import uuid
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from tests.support.browser.cdp import event, target_info
from tests.support.patience import PATIENCE_S

PLATFORM_TAB, BANK_TAB = "PLATFORM", "BANK"
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length:0\r\nContent-Type:text/html\r\n\r\n"
FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nContent-Length:19\r\nContent-Type:text/html\r\n\r\nConnection rejected"


class Dialog:
    """One question to the user. ``allow`` and ``cancel`` answer it."""

    def __init__(self) -> None:
        self._answer: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def allow(self) -> None:
        self._answer.put(True)

    def cancel(self) -> None:
        self._answer.put(False)

    def answer(self) -> bool:
        return self._answer.get()


class ConsentBrowser:
    """Runs from construction until ``quit``; ``start`` starts it again, on the same profile.

    Attributes
    ----------
    dialogs
        Every dialog of all starts, oldest first: as many as there were prompts.
    commands
        Every command that came over an allowed connection.
    """

    def __init__(self, profile: Path, platform_url: str = "https://pocketoption.com/en/cabinet/") -> None:
        self.profile = profile
        self.tabs = {PLATFORM_TAB: platform_url, BANK_TAB: "https://bank.example/account"}
        self.dialogs: list[Dialog] = []
        self.commands: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._opened: queue.SimpleQueue[Dialog] = queue.SimpleQueue()
        self._port = 0
        self.start()

    @property
    def port(self) -> int:
        return self._port

    def start(self) -> None:
        """Listen, on the port of the last start, and write the port file."""
        self._open: set[ServerConnection] = set()
        self._path = f"/devtools/browser/{uuid.uuid4()}"
        self._server: Server = serve(
            self._serve, "127.0.0.1", self._port, process_request=self._answer_http, compression=None, open_timeout=None
        )
        self._port = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        (self.profile / "DevToolsActivePort").write_text(f"{self._port}\n{self._path}")

    def quit(self) -> None:
        """End as Chrome does: dialogs and connections end, the port file stays."""
        shutdown = threading.Thread(target=self._server.shutdown)
        shutdown.start()
        self._thread.join()  # nobody listens any more
        for dialog in self.dialogs:
            dialog.cancel()
        self.drop_connections()
        shutdown.join()

    def dialog(self) -> Dialog:
        """The next dialog that opens."""
        return self._opened.get(timeout=PATIENCE_S)

    def command(self, method: str) -> dict[str, Any]:
        """The next command of this method; those before it are passed over."""
        while (command := self.commands.get(timeout=PATIENCE_S))["method"] != method:
            pass
        return command

    def drop_connections(self) -> None:
        """End every connection while the browser goes on."""
        for connection in list(self._open):
            hang_up(connection)

    def _answer_http(self, connection: ServerConnection, request: Request) -> Response | None:
        if not request.path.startswith("/devtools/browser/"):
            return raw(connection, NOT_FOUND)
        dialog = Dialog()
        self.dialogs.append(dialog)
        self._opened.put(dialog)
        if not dialog.answer():
            return raw(connection, FORBIDDEN)
        self._open.add(connection)
        return None

    def _serve(self, connection: ServerConnection) -> None:
        try:
            for message in connection:
                command = json.loads(message)
                self.commands.put(command)
                for answer in self._answers(command):
                    connection.send(answer)
        except ConnectionClosed:
            pass
        finally:
            self._open.discard(connection)

    def _answers(self, command: dict[str, Any]) -> list[str]:
        result: dict[str, Any] = {}
        events = []
        match command["method"]:
            case "Browser.getVersion":
                result = {"product": "Chrome/156.0.8078.108", "protocolVersion": "1.3", "userAgent": "agent"}
            case "Target.attachToBrowserTarget":
                result = {"sessionId": "GUEST"}
            case "Target.setDiscoverTargets":
                infos = [target_info(target_id, url) for target_id, url in self.tabs.items()]
                events = [event("Target.targetCreated", {"targetInfo": info}) for info in infos]
            case "Target.attachToTarget":
                target_id = command["params"]["targetId"]
                result = {"sessionId": f"S-{target_id}"}
                info = target_info(target_id, self.tabs[target_id])
                events = [event("Target.attachedToTarget", {"sessionId": f"S-{target_id}", "targetInfo": info})]
        session = {"sessionId": command["sessionId"]} if "sessionId" in command else {}
        events = [json.dumps(json.loads(one) | session) for one in events]
        return [*events, json.dumps({"id": command["id"], "result": result, **session})]


def raw(connection: ServerConnection, answer: bytes) -> Response:
    """Answer byte for byte as Chrome does."""
    with contextlib.suppress(OSError):
        connection.socket.sendall(answer)
    hang_up(connection)
    return connection.respond(500, "")  # which does not go out any more


def hang_up(connection: ServerConnection) -> None:
    with contextlib.suppress(OSError):
        connection.socket.shutdown(socket.SHUT_RDWR)
