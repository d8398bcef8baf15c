"""Every command of fluxcap with words to run it by, while a daemon runs and afterwards, and the table of what came."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from typer.main import get_command

from fluxcap.capture.cli.app import app

LINE = "  {:>3}  {:58}  {}"


STARTED = "\N{NULL}"
"""Into a pipe it prints nothing before its end."""


class Command(NamedTuple):
    """``until``: of a command without an end, what it has to print before Ctrl-C is pressed."""

    words: tuple[str, ...]
    codes: tuple[int, ...] = (0,)
    until: str = ""

    @property
    def told(self) -> str:
        return " ".join(f'"{word}"' if " " in word else word for word in self.words)


Lanes = list[list[list[Command]]]
"""One after the other lanes that run at once, each of them commands one after the other."""


class Row(NamedTuple):
    """A command that was run: its words, its exit code, what it printed and the codes that are right."""

    told: str
    code: int
    text: str
    codes: tuple[int, ...]

    @property
    def is_well(self) -> bool:
        is_text = "\N{REPLACEMENT CHARACTER}" not in self.text  # UTF-8 throughout, whatever the code page is
        return self.code in self.codes and "Traceback" not in self.text and is_text

    def __str__(self) -> str:
        first = next((line.strip() for line in self.text.splitlines() if line.strip()), "")
        return LINE.format(self.code, self.told[:58], first[:100])


def names() -> Iterator[str]:
    """The names of all commands, those of a group with the group's."""
    for name, command in sorted(get_command(app).commands.items()):  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        if inner:
            yield from (f"{name} {sub}" for sub in sorted(inner))
        else:
            yield name


def while_running(
    location: str, focus: tuple[str, ...], source: str, ports: tuple[int, int, int, int], nats_url: str
) -> Lanes:
    """Those that ask a daemon; at the end the focus is as before. ``ports``: site, Chrome, requests, publications."""
    site, chrome, rep, pub = ports
    browser = ("--chrome", f"127.0.0.1:{chrome}", "--platform-url", f"127.0.0.1:{site}")
    data = ("--data-dir", f"{location}\\data")
    wire = ("--pub", f"tcp://127.0.0.1:{pub}", "--rep", f"tcp://127.0.0.1:{rep}")
    stream = (source, focus[0], "1s")
    control = [
        Command(("status", *data)),
        Command(("status", "--json", *data)),
        Command(("focus", "get", *data)),
        Command(("focus", "all", *data)),
        Command(("focus", "follow", *data)),
        Command(("focus", "release", *data)),
        Command(("focus", "set", *focus, *data)),
        Command(("clock", "trust", "wall", *data), (0, 1)),
        Command(("collect-mode", "both", *data)),
    ]
    readers = [
        Command(("tail", *stream, *wire), (130,), " ticks"),
        Command(("tail", *stream, *wire, "--json", "--data-dir", f"{location}\\copy of tail"), (130,), '"close"'),
        Command(("watch", *data), (0, 130), STARTED),
        Command(("dashboard", "--port", "61006", *data), (130,), "61006"),
        Command(("backfill", *stream, "--out", f"{location}\\candles zurück.csv", "--rep", f"tcp://127.0.0.1:{rep}")),
        Command(("export", "candles", "--out", f"{location}\\während.csv", *data)),
    ]
    others = [
        Command(("record", f"{location}\\aufnahme für alle.rec", "--seconds", "15", "--source", source, *browser)),
        Command(("gaps", *data)),
        Command(("doctor", *data, "--chrome", f"127.0.0.1:{chrome}"), (0, 1)),
        Command(("data", *data)),
        Command(("verify", *data), (2,)),
    ]
    via = ("--via", nats_url)
    jetstream = [
        Command(("forward", nats_url, "--setup")),
        Command(("forward", nats_url, "--once", *data)),
        Command(("archive", *via, "--out", f"{location}\\archiv", "--once")),
        Command(("tail", *stream, *via), (130,), "●"),
    ]
    page = [
        # There is no chromedriver for Windows here, and it says so.
        Command(("collect", "--assets", focus[0], "--timeframes", "1m", "--source", source, *browser, *data), (1,)),
        Command(("reload", *data)),
    ]
    return [[control, readers, others, jetstream if nats_url else []], [page]]


def afterwards(location: str) -> Lanes:
    """Those that need no daemon, or start something of their own."""
    data = ("--data-dir", f"{location}\\data")
    config = ("--config", f"{location}\\meine Einstellungen.toml")
    ports = ("--pub", "tcp://127.0.0.1:0", "--rep", "tcp://127.0.0.1:0", "--port", "0")
    recording = f"{location}\\aufnahme für alle.rec"
    store = [
        Command(("status", *data), (1,)),
        Command(("data", *data)),
        Command(("gaps", *data)),
        *(
            Command(("export", what, "--out", f"{location}\\{what}.{kind}", *data))
            for what, kind in (("candles", "csv"), ("candles", "parquet"), ("ticks", "csv"), ("gaps", "csv"))
        ),
        Command(("export", "revisions", "--out", f"{location}\\revisions.parquet", *data)),
        Command(("verify", *data)),
    ]
    settings = [
        Command(("--version",)),
        Command(("--help",)),
        Command(("platforms",)),
        Command(("config", "init", f"{location}\\meine Einstellungen.toml")),
        Command(("config", "show", *config)),
        Command(("keys", f"{location}\\schlüssel")),
        Command(("alerts", "test", *config), (2,)),  # no address is set
        Command(("replay", recording, "--interval", "1s", "--out", f"{location}\\wieder.csv")),
    ]
    browsers = [
        Command(("chrome", *data, "--port", "61007"), (1,)),
        Command(("setup", "--yes", "--no-start", *data), (1,)),
        Command(("demo", "--seconds", "10"), (1,)),
        Command(("simulate", "--port", "61008"), (0, 130), "61008"),
        Command(("devserver", *ports, "--data-dir", f"{location}\\devserver"), (0, 130), "http"),
    ]
    service = [
        Command(("service", "show", *data)),
        *(Command(("service", what, *data), (0, 1)) for what in ("install", "status", "start", "stop", "remove")),
        Command(("service", "supervise", "--help")),
    ]
    return [[store, settings, browsers, service], [[Command(("stop", *data), (0, 1)), Command(("restore", *data))]]]


def print_table(rows: list[Row]) -> None:
    print("\nEvery command, its output through a pipe in the code page cp1252 (exit code, command, first line):\n")
    for row in rows:
        print(f"{row}{'' if row.is_well else '   ✗'}")


def never_run() -> set[str]:
    """The commands that have no row here; ``run`` is the daemon of the live path."""
    lanes = while_running("D:", ("A", "B"), "S", (1, 2, 3, 4), "nats://here") + afterwards("D:")
    told = [command.told for together in lanes for lane in together for command in lane]
    return {name for name in names() if not any(f"{line} ".startswith(f"{name} ") for line in told)} - {"run"}
