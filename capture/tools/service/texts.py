"""The texts that service managers read: a unit of systemd, a property list of launchd, a task of Windows.

Each starts the daemon as its user, in a folder of its own, at the user's log-in; ends it in order; and starts it again
when it fails, but not when it was stopped in order (exit code 0).
"""

from __future__ import annotations

import codecs
import plistlib
import subprocess
from pathlib import PurePath
from xml.etree import ElementTree

import msgspec

NAME = "fluxcap"
LABEL = "io.github.fluxcap"
"""Of launchd, which wants a domain turned around."""
DESCRIPTION = "fluxcap: exact candles from the trading page in your own Chrome"
WRONG_USE = 2
"""Exit code after which starting again helps nothing."""
STOP_S = 20
TASK_NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"
MOST_RESTARTS = 255
"""The schema of tasks has one byte for it."""


class ServiceCommand(msgspec.Struct, frozen=True):
    """The command to start. ``words``: the program with its full path, and its arguments; ``folder``: where it stands.

    ``output``: a file for what is said before the log file is open; only launchd wants one.
    """

    words: tuple[str, ...]
    folder: PurePath
    output: PurePath


def systemd_unit(command: ServiceCommand) -> str:
    """Return the text of ``fluxcap.service`` for the user's systemd.

    A Chrome that the daemon started goes on when the daemon is stopped: it is the trader's window.
    """
    start = " ".join(_systemd_word(word) for word in command.words)
    return f"""[Unit]
Description={DESCRIPTION}
StartLimitIntervalSec=0

[Service]
Type=exec
WorkingDirectory={_systemd_path(str(command.folder))}
ExecStart={start}
Restart=on-failure
RestartSec=5
RestartPreventExitStatus={WRONG_USE}
KillMode=process
TimeoutStopSec={STOP_S}

[Install]
WantedBy=default.target
"""


def _systemd_path(text: str) -> str:
    """Systemd reads ``%`` as its own; spaces in a path of a folder it takes as they are."""
    return text.replace("%", "%%")


def _systemd_word(word: str) -> str:
    """Quote one word: systemd reads ``%``, ``$``, quotes and backslashes as its own."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


def launchd_plist(command: ServiceCommand) -> bytes:
    """Return the property list of a launch agent."""
    return plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": list(command.words),
            "WorkingDirectory": str(command.folder),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": 10,
            "ExitTimeOut": STOP_S,
            "AbandonProcessGroup": True,
            "ProcessType": "Interactive",
            "LimitLoadToSessionType": "Aqua",
            "StandardOutPath": str(command.output),
            "StandardErrorPath": str(command.output),
        }
    )


def windows_task(command: ServiceCommand, user: str) -> bytes:
    """Return the XML of a scheduled task, in UTF-16 as Windows wants it.

    ``user``: as ``DOMAIN\\name``. It starts when that user logs on, without a window (the program has none), on
    batteries too, without a limit of time.
    """
    ElementTree.register_namespace("", TASK_NAMESPACE)
    task = _element("Task", version="1.2")
    _fill(task, "RegistrationInfo", {"Description": DESCRIPTION, "URI": f"\\{NAME}"})
    _fill(_fill(task, "Triggers", {}), "LogonTrigger", {"Enabled": "true", "UserId": user})
    principal = _fill(
        _fill(task, "Principals", {}),
        "Principal",
        {"UserId": user, "LogonType": "InteractiveToken", "RunLevel": "LeastPrivilege"},
    )
    principal.set("id", "Author")
    settings = _fill(
        task,
        "Settings",
        {
            "MultipleInstancesPolicy": "IgnoreNew",
            "DisallowStartIfOnBatteries": "false",
            "StopIfGoingOnBatteries": "false",
            "AllowHardTerminate": "true",
            "StartWhenAvailable": "true",
            "RunOnlyIfNetworkAvailable": "false",
            "AllowStartOnDemand": "true",
            "Enabled": "true",
            "Hidden": "false",
            "RunOnlyIfIdle": "false",
            "WakeToRun": "false",
            "ExecutionTimeLimit": "PT0S",
            "Priority": "5",
        },
    )
    _fill(settings, "IdleSettings", {"StopOnIdleEnd": "false", "RestartOnIdle": "false"})
    _fill(settings, "RestartOnFailure", {"Interval": "PT1M", "Count": str(MOST_RESTARTS)})
    program, *arguments = command.words
    actions = _fill(task, "Actions", {})
    actions.set("Context", "Author")
    _fill(
        actions,
        "Exec",
        {
            "Command": program,
            "Arguments": subprocess.list2cmdline(arguments),
            "WorkingDirectory": str(command.folder),
        },
    )
    ElementTree.indent(task)
    text = ElementTree.tostring(task, encoding="unicode")
    return codecs.BOM_UTF16_LE + f'<?xml version="1.0" encoding="UTF-16"?>\n{text}\n'.encode("utf-16-le")


def _element(name: str, **attributes: str) -> ElementTree.Element:
    return ElementTree.Element(f"{{{TASK_NAMESPACE}}}{name}", attributes)


def _fill(parent: ElementTree.Element, name: str, texts: dict[str, str]) -> ElementTree.Element:
    """Add an element that holds one element for each of these texts."""
    element = _element(name)
    parent.append(element)
    for tag, text in texts.items():
        child = _element(tag)
        child.text = text
        element.append(child)
    return element
