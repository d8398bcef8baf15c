"""Writes the golden recording: ``python -m tests.golden.write_recording``.

``recording.fluxcap`` is a quarter of an hour of the simulated site as the recorder keeps it, ``recording.json`` the
candles, revisions and gaps that a replay makes of it. They pin the format of recordings and the rules of candles: write
them anew only when one of these is meant to change, and read the difference before it is committed.

The market is the simulator's own, clocks and sockets are made up, so that every run writes the same.
"""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from fluxcap.bridge.store.digest import store_digest
from fluxcap.bridge.store.store import Store
from fluxcap.capture.chrome.events import (
    ArrivalTime,
    EndReason,
    FrameReceived,
    FrameSent,
    SocketClosed,
    SocketId,
    SocketOpened,
    TabAttached,
)
from fluxcap.capture.market.feeds import GapReason
from fluxcap.capture.market.focus import Focus, FocusMode
from fluxcap.capture.platforms.pocketoption import PocketOption
from fluxcap.capture.recording.file import RecordingWriter
from fluxcap.capture.recording.recorder import Recorder
from fluxcap.capture.recording.records import RULES, Header
from fluxcap.capture.simulator.assets import asset_table
from fluxcap.capture.simulator.config import SiteConfig
from fluxcap.capture.simulator.market.exchange import Exchange
from fluxcap.capture.simulator.server.account import Account
from fluxcap.capture.tools.replay.replay import ReplayOptions, replay
from fluxcap.schemas.types import candles_from

FOLDER = Path(__file__).parent
RECORDING = FOLDER / "recording.fluxcap"
EXPECTED = FOLDER / "recording.json"
EUR, GBP, JPY = "EURUSD_otc", "GBPUSD_otc", "USDJPY_otc"
CONFIG = SiteConfig(assets=(EUR, GBP, JPY), seed=7)
START_MS = 1_760_000_025_000
END_MS = START_MS + 900_000
MONO_ZERO_MS = 1_759_999_000_000
SOURCE = "GOLDEN"


class Story:
    """The run, event by event, as the pipeline would tell it."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.exchange = Exchange(CONFIG, START_MS)
        self.account = Account(EUR, list(CONFIG.assets), CONFIG.secrets)
        self.now_ms = START_MS
        self.sockets = 0
        self.socket: SocketId | None = None
        self.holding = False
        self.muted = False
        self.held: list[Any] = []

    # --- what happens when ----------------------------------------------------------------------------------------

    def play(self) -> None:
        recorder = self.recorder
        recorder.browser(True, "Chrome/156", self.stamp())
        recorder.on_event(
            TabAttached("tab", "https://pocketoption.com/en/cabinet?x=1", "EUR/USD $48613.27"), self.stamp()
        )
        self.connect(history_of=EUR)
        self.until(180)
        recorder.focus(Focus(FocusMode.LOCK, (EUR, GBP)), self.stamp())
        self.until(260)
        self.choose(GBP)
        self.until(310)
        self.lose(EndReason.RELOADED, GapReason.RELOADED)
        self.until(318)
        self.connect(history_of=GBP)
        self.until(420)
        self.muted = True
        self.until(440)
        self.muted = False
        self.until(510)
        self.lose(EndReason.CLOSED, GapReason.SOCKET_CLOSED)
        self.until(640)
        self.connect(history_of=EUR)
        self.until(720)
        self.holding = True
        self.until(735)
        self.release()
        self.until((END_MS - START_MS) // 1_000)

    def connect(self, history_of: str) -> None:
        """A new socket greets, tells of the trader, and then of the market."""
        self.sockets += 1
        self.socket = SocketId("session", f"1.{self.sockets}")
        self.recorder.on_event(SocketOpened(self.socket, "tab", "wss://api.po.market/socket.io/?EIO=4"), self.stamp())
        sid = f"{CONFIG.secrets.sid_prefix}E{self.sockets}"
        self.text(f'0{{"sid":"{sid}","pingInterval":25000,"pingTimeout":20000}}')
        auth = {"session": CONFIG.secrets.session, "uid": CONFIG.secrets.uid}
        self.sends("42" + _json(["auth", auth]))
        self.text(f'40{{"sid":"{sid}"}}')
        self.event("updateAssets", [row for row in asset_table(self.now_ms // 1_000) if row[1] in CONFIG.assets])
        self.event("successauth", {"id": CONFIG.secrets.user_id})
        for name, payload in self.account.personal_events():
            self.event(name, payload)
        self.event("updateHistoryNewFast", self.exchange.recent_history(history_of, 60))

    def choose(self, symbol: str) -> None:
        """The trader turns to another asset; the others go on ticking."""
        self.account.symbol = symbol
        self.sends("42" + _json(["changeSymbol", {"asset": symbol, "period": 60}]))
        self.event("updateHistoryNewFast", self.exchange.recent_history(symbol, 60))

    def lose(self, how: EndReason, told: GapReason) -> None:
        if self.socket is not None:
            self.recorder.on_socket_lost(SocketClosed(self.socket, how), told, self.stamp())
        self.socket = None

    def release(self) -> None:
        """What was held comes in one burst; only its last message finds nothing more behind it."""
        self.holding = False
        held, self.held = self.held, []
        for number, tick in enumerate(held, 1):
            self.tick(tick, drained=number == len(held))

    def until(self, second: int) -> None:
        """The market goes on, in steps of 50 ms; a silence of 200 ms is told as the reader does."""
        end_ms = START_MS + second * 1_000
        quiet_ms = 0
        while self.now_ms < end_ms:
            self.now_ms += 50
            ticks = self.exchange.due(self.now_ms)
            if self.holding:
                self.held += ticks
            elif self.socket is not None and not self.muted:
                for number, tick in enumerate(ticks, 1):
                    self.tick(tick, drained=number == len(ticks))
                quiet_ms = 0 if ticks else quiet_ms + 50
            else:
                quiet_ms += 50
            if self.socket is not None and self.now_ms % 25_000 == 0:
                self.text("2")
            if quiet_ms >= 200:
                quiet_ms = 0
                self.recorder.on_time_advanced(self.stamp())

    # --- frames ---------------------------------------------------------------------------------------------------

    def stamp(self, drained: bool = True) -> ArrivalTime:
        """Clocks of a machine whose wall clock is 0.3 s fast; nanoseconds as they come."""
        odd_ns = self.now_ms * 7_919 % 999_983
        mono_ns = (self.now_ms - MONO_ZERO_MS) * 1_000_000 + odd_ns
        return ArrivalTime((self.now_ms + 300) * 1_000_000 + odd_ns + odd_ns % 211, mono_ns, drained)

    def tick(self, tick: Any, drained: bool) -> None:
        row = [tick.symbol, tick.raw_ts_ms / 1_000, tick.price]
        self.event("updateStream", [row], drained)

    def event(self, name: str, payload: Any, drained: bool = True) -> None:
        self.text("451-" + _json([name, {"_placeholder": True, "num": 0}]), drained=False)
        self.receives(2, base64.b64encode(msgspec.json.encode(payload)).decode(), drained)

    def text(self, payload: str, drained: bool = True) -> None:
        self.receives(1, payload, drained)

    def receives(self, opcode: int, payload: str, drained: bool) -> None:
        assert self.socket is not None
        self.recorder.received(FrameReceived(self.socket, "tab", opcode, payload, self.stamp(drained)))

    def sends(self, payload: str) -> None:
        assert self.socket is not None
        self.recorder.on_event(FrameSent(self.socket, "tab", 1, payload, self.stamp()), self.stamp())


def write(path: Path) -> None:
    """Make the recording."""
    header = Header(
        fluxcap="0.2.0",
        rules=RULES,
        platform="pocketoption",
        source=SOURCE,
        focus=Focus(FocusMode.LOCK, ("eur/usd otc",)),
        began_ms=START_MS,
    )
    with RecordingWriter(path, header, force=True) as writer:
        Story(Recorder(PocketOption(), writer)).play()


def found_in(data_dir: Path) -> dict[str, Any]:
    """Everything a replay has made, as JSON holds it."""
    with Store.open(data_dir / "fluxcap.duckdb") as store:
        reader = store.reader()
        digest = store_digest(reader)
        streams = {}
        for each in digest.streams:
            page, revised = reader.page(each.key), reader.revisions(each.key)
            streams[str(each.key)] = {
                "digest": each.digest,
                "start_sequence": page.start_sequence,
                "candles": [list(msgspec.structs.astuple(candle)) for candle in candles_from(page.candles)],
                "revisions": [
                    [sequence, *msgspec.structs.astuple(candle)]
                    for sequence, candle in zip(revised.sequences.tolist(), candles_from(revised.candles), strict=True)
                ],
            }
        gaps = [list(msgspec.structs.astuple(gap)) for gap in reader.gaps()]
    return {"digest": digest.digest, "streams": streams, "gaps": gaps}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def main() -> None:
    """Write both."""
    write(RECORDING)
    with tempfile.TemporaryDirectory() as name:
        replay(ReplayOptions(path=RECORDING, data_dir=Path(name)), lambda _: PocketOption())
        EXPECTED.write_text(_rows(found_in(Path(name))))


def _rows(found: dict[str, Any]) -> str:
    """JSON with one candle, revision or gap a line, so that a difference can be read."""
    parts = [f'"digest": {_json(found["digest"])}']
    streams = []
    for name, stream in found["streams"].items():
        tables = [
            f'"{table}": [\n' + ",\n".join(_json(row) for row in stream[table]) + "\n]"
            for table in ("candles", "revisions")
        ]
        heads = [f'"{head}": {_json(stream[head])}' for head in ("digest", "start_sequence")]
        streams.append(f"{_json(name)}: {{\n" + ",\n".join([*heads, *tables]) + "\n}")
    parts.append('"streams": {\n' + ",\n".join(streams) + "\n}")
    parts.append('"gaps": [\n' + ",\n".join(_json(row) for row in found["gaps"]) + "\n]")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    main()
