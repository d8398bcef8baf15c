"""Alerts over a market on a stage: every row of the table "When the browser fails", and what must not be told.

The market, its frames, its clock and its feed states are the real ones; the browser is played, time is made up. Each
row of the manual's table goes on for less than ``alert_after_s`` and for longer, and ends as the trader would end it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from fluxcap.bridge.store.agreement import Agreement, AgreementSummary
from fluxcap.bridge.store.store import Store
from fluxcap.capture.alerts.rules import Alert, AlertKind, AlertRules, Facts, Phase
from fluxcap.capture.alerts.sender import AddressStatus
from fluxcap.capture.alerts.watch import MEMORY_FILE, AlertWatch, facts_of, muted_kinds
from fluxcap.capture.alerts.words import Message
from fluxcap.capture.market.feeds import GapReason
from fluxcap.capture.market.focus import Focus, FocusMode
from fluxcap.capture.pipeline.listeners import ChromeState
from fluxcap.capture.pipeline.pipeline import PipelineView
from fluxcap.capture.runtime.settings import load_settings
from fluxcap.schemas.errors import ConfigError, NotAnswering
from fluxcap.schemas.types import (
    Candle,
    CandleBatch,
    CandleFlags,
    FeedState,
    Gap,
    StreamKey,
    StreamStatus,
    candle_array,
)
from tests.support.documents import OPERATIONS, rows, section
from tests.support.market.simulated_market import EUR, GBP, START_MS, Stage

AFTER_MS = 20_000
STEP_MS = 2_000
TICK_MS = 500
BRIEF_S, LONG_S = 12, 60
KEY = StreamKey("TEST", EUR, "1m")


class Desk:
    """A trader's machine: the stage's market, a browser that is played, and the rules that are asked every 2 s."""

    def __init__(self, focus: Focus | None = None, symbols: tuple[str, ...] = (EUR,)) -> None:
        self.stage = Stage(60_000, focus or Focus(FocusMode.LOCK, symbols))
        self.symbols = symbols
        self.chrome = ChromeState.ATTACHED
        self.rules = AlertRules(AFTER_MS)
        self.asks = True
        self.alerts: list[Alert] = []
        self._next_ms = START_MS
        self._sockets = 1
        self.ticking(30)

    # --- what the desk does ---

    def ticking(self, seconds: float, socket: str = "", symbols: tuple[str, ...] | None = None) -> None:
        """The page brings ticks."""
        begin_ms = self.stage.now_ms
        for ts_ms in range(begin_ms, begin_ms + int(seconds * 1_000), TICK_MS):
            for symbol in symbols or self.symbols:
                self.stage.tick(ts_ms, symbol, socket or self.socket, arrives_ms=ts_ms)
            self._ask()

    def silent(self, seconds: float) -> None:
        """Nothing comes."""
        until_ms = self.stage.now_ms + int(seconds * 1_000)
        while self.stage.now_ms < until_ms:
            self.stage.pass_time(self.stage.now_ms + 500)
            self._ask()

    def lose(self, reason: GapReason, socket: str = "") -> None:
        self.stage.lose(socket or self.socket, reason, self.stage.now_ms)

    def new_socket(self) -> None:
        self._sockets += 1

    @property
    def socket(self) -> str:
        return f"s{self._sockets}"

    def _ask(self) -> None:
        if self.asks and self.stage.now_ms >= self._next_ms:
            self._next_ms = self.stage.now_ms + STEP_MS
            self.alerts += self.rules.step(self.facts())

    def facts(self) -> Facts:
        market = self.stage.market
        lost = self.chrome is ChromeState.UNAVAILABLE
        streams = [
            StreamStatus(StreamKey("TEST", symbol, interval), feed_state=FeedState.NO_BROWSER if lost else state)
            for symbol in (EUR, GBP)
            for interval in ("1m", "5m")
            for state in [market.feed_state(symbol)]
        ]
        view = PipelineView(self.chrome, "", "", None, market.view(self.stage.at()), tuple(streams), 0, 0, 0, "")
        now_ms = self.stage.now_ms
        return facts_of(view, "TEST", "1m", wall_ms=now_ms, mono_ms=now_ms - START_MS, free_bytes=1 << 40)

    @property
    def told(self) -> list[tuple[AlertKind, Phase]]:
        return [(alert.kind, alert.phase) for alert in self.alerts]


def closed_by(*reasons: GapReason) -> Callable[[Desk, float], None]:
    """A socket ends for a reason, and the page brings another."""

    def trouble(desk: Desk, seconds: float) -> None:
        for reason in reasons:
            desk.lose(reason)
            desk.silent(seconds)
            desk.new_socket()
            desk.ticking(30)

    return trouble


def silence(desk: Desk, seconds: float) -> None:
    desk.silent(seconds + 5)  # it counts as silent after 5 s


def late(desk: Desk, seconds: float) -> None:
    """Nothing comes for a while, then all of it does, as from a busy page or a browser that was stopped."""
    begin_ms = desk.stage.now_ms
    desk.silent(seconds + 5)
    for ts_ms in range(begin_ms, desk.stage.now_ms, TICK_MS):
        desk.stage.tick(ts_ms, EUR, desk.socket, arrives_ms=desk.stage.now_ms)


def machine_asleep(desk: Desk, seconds: float) -> None:
    """Neither ticks nor the rules go on; all comes at once."""
    begin_ms = desk.stage.now_ms
    desk.stage.now_ms += int(seconds * 1_000)
    for ts_ms in range(begin_ms, desk.stage.now_ms, TICK_MS):
        desk.stage.tick(ts_ms, EUR, desk.socket, arrives_ms=desk.stage.now_ms)


def chrome_killed(desk: Desk, seconds: float) -> None:
    desk.lose(GapReason.CHROME_GONE)
    desk.chrome = ChromeState.UNAVAILABLE
    desk.silent(seconds)
    desk.chrome = ChromeState.ATTACHED
    desk.silent(2)  # until the page is there
    desk.new_socket()


def two_tabs(desk: Desk, seconds: float) -> None:
    desk.ticking(seconds, "other")
    desk.lose(GapReason.TAB_CLOSED, "other")


def wall_clock_stepped(desk: Desk, seconds: float) -> None:
    desk.stage.wall_error_ms = 1_800_000
    desk.ticking(seconds)
    desk.stage.wall_error_ms = 0


def daemon_killed(desk: Desk, seconds: float) -> None:
    """A new run beside the browser that went on."""
    desk.rules = AlertRules(AFTER_MS, crashed=True, memory=desk.rules.memory())


FEED, CHROME, CRASH = AlertKind.FEED, AlertKind.CHROME, AlertKind.CRASH


def once(kind: AlertKind) -> list[tuple[AlertKind, Phase]]:
    return [(kind, Phase.BEGAN), (kind, Phase.ENDED)]


CRASHED = [(CRASH, Phase.HAPPENED)]
Told = list[tuple[AlertKind, Phase]]
ROWS: dict[str, tuple[Callable[[Desk, float], None], Told, Told]] = {
    # cause as in the manual: what happens, what is told when it is brief, what when it is long
    "page reloaded": (closed_by(GapReason.RELOADED), [], once(FEED)),
    "left for another page, and back": (closed_by(GapReason.NAVIGATED), [], once(FEED)),
    "tab closed, reopened": (closed_by(GapReason.TAB_CLOSED), [], once(FEED)),
    "tab crashed, renderer killed": (closed_by(GapReason.TAB_CRASHED), [], once(FEED)),
    "tab frozen": (closed_by(GapReason.TAB_FROZEN), [], once(FEED)),
    "tab discarded": (closed_by(GapReason.TAB_CLOSED), [], once(FEED)),
    "socket closed by the server": (closed_by(GapReason.SOCKET_CLOSED, GapReason.SOCKET_BROKEN), [], 2 * once(FEED)),
    "socket silent, with or without pings": (silence, [], once(FEED)),
    "page too busy to answer": (late, [], once(FEED)),
    "huge heap being walked": (late, [], once(FEED)),
    "Chrome stopped as a whole, machine asleep": (late, [], once(FEED)),
    "daemon stopped and going on": (machine_asleep, [], []),
    "Chrome killed": (chrome_killed, [], once(CHROME)),
    "… and back, on the same port or another": (chrome_killed, [], once(CHROME)),
    "two tabs of the platform": (two_tabs, [], []),
    "wall clock stepped": (wall_clock_stepped, [], once(AlertKind.CLOCK)),
    "daemon killed": (daemon_killed, CRASHED, CRASHED),
}


def test_every_row_of_the_table_is_tried():
    table = [row[0] for row in rows(section(OPERATIONS, "When the browser fails"))]

    assert table == list(ROWS)


@pytest.mark.parametrize("row", ROWS)
def test_each_way_a_browser_fails_is_told_exactly_once_if_it_lasts_and_not_at_all_if_it_passes(row: str):
    trouble, when_brief, when_long = ROWS[row]
    for seconds, expected in ((BRIEF_S, when_brief), (LONG_S, when_long)):
        desk = Desk()
        trouble(desk, seconds)
        desk.ticking(60)

        assert desk.told == expected, f"{row}, for {seconds} s"
        assert desk.rules.open_alerts() == ()


def test_the_alert_of_a_feed_says_why_it_is_blind():
    desk = Desk()
    closed_by(GapReason.TAB_CRASHED)(desk, LONG_S)

    assert {(alert.state, alert.reason) for alert in desk.alerts} == {(FeedState.NO_SOCKET, "tab crashed")}


def test_a_quiet_market_is_no_alert():
    desk = Desk(symbols=(EUR, GBP))
    desk.ticking(600, symbols=(GBP,))

    assert desk.told == []


def test_an_asset_that_the_followed_page_turned_away_from_is_no_alert():
    desk = Desk(Focus(FocusMode.FOLLOW))
    desk.stage.turn(GBP, desk.socket)
    desk.ticking(120, symbols=(GBP,))

    assert desk.told == []


def test_a_locked_asset_that_the_page_turned_away_from_is_told():
    desk = Desk()
    desk.stage.turn(GBP, desk.socket)
    desk.ticking(60, symbols=(GBP,))
    desk.ticking(30)

    assert desk.told == once(FEED)
    assert desk.alerts[0].state is FeedState.UNSUBSCRIBED


def test_an_asset_at_which_only_a_viewer_looks_is_no_alert():
    desk = Desk()
    desk.stage.market.acquire_lease("a chart", GBP)
    desk.ticking(120)

    assert desk.told == []


def test_a_feed_whose_market_the_table_calls_closed_is_no_alert():
    desk = Desk()
    table = [0, EUR, "EUR/USD OTC", "currency", 0, 92, *[0] * 3, 1, 0, 0, 0, 0, False, [], 0, 0, 0]
    desk.stage.event(desk.socket, "updateAssets", [table])
    desk.lose(GapReason.SOCKET_CLOSED)
    desk.silent(120)

    assert desk.stage.market.names.get(EUR) is not None
    assert desk.told == []


def test_a_page_that_is_logged_out_is_told_and_its_return():
    desk = Desk()
    desk.stage.market.received(desk.socket, 1, '42["NotAuthorized"]', desk.stage.at())
    desk.stage.market.received(desk.socket, 1, "41", desk.stage.at())
    desk.silent(LONG_S)
    desk.lose(GapReason.SOCKET_CLOSED)
    desk.new_socket()
    desk.ticking(60)

    assert desk.told == once(AlertKind.LOGGED_OUT)


def test_a_browser_that_waits_for_its_users_consent_is_told_and_its_return():
    desk = Desk()
    desk.lose(GapReason.CHROME_GONE)
    desk.chrome = ChromeState.WAITING_FOR_CONSENT
    desk.silent(LONG_S)
    desk.chrome = ChromeState.ATTACHED
    desk.new_socket()
    desk.ticking(60)

    assert desk.told == once(AlertKind.CONSENT)


# --- the watch itself ------------------------------------------------------------------------------------------------


class Sender:
    def __init__(self) -> None:
        self.messages: list[Message] = []

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def post(self, message: Message) -> None:
        self.messages.append(message)

    def view(self) -> tuple[AddressStatus, ...]:
        return (AddressStatus("json://****", len(self.messages), 0, 0, ""),)


class Machine:
    """A watch over facts that the test sets, with a real store."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.store = Store.open(folder / "fluxcap.duckdb", state_dir=folder)
        self.settings = load_settings(data_dir=folder, source="TEST", alerts=("json://127.0.0.1/",), **settings)
        self.desk = Desk()
        self.lost, self.agreement, self.busy = 0, AgreementSummary(), False
        self.store_error = ""
        self.restart()
        self.now_ms = START_MS

    def restart(self, *, crashed: bool = False) -> None:
        self.sender = Sender()
        self.watch = AlertWatch(
            self.settings,
            self._view,
            lambda: SimpleNamespace(lost=self.lost),  # type: ignore[arg-type,return-value]
            lambda: self.agreement,
            self.store.reader(),
            crashed=crashed,
            sender=self.sender,  # type: ignore[arg-type]
        )

    def _view(self) -> PipelineView:
        if self.busy:
            raise NotAnswering("fluxcap is too busy.")
        status = StreamStatus(KEY, feed_state=self.state)
        market = self.desk.stage.market.view(self.desk.stage.at())
        return PipelineView(ChromeState.ATTACHED, "", "", None, market, (status,), 0, 0, 0, self.store_error)

    state = FeedState.LIVE

    def during(self, seconds: float, state: FeedState = FeedState.LIVE, minute: int = 720) -> None:
        self.state = state
        for _ in range(int(seconds * 1_000 / STEP_MS)):
            self.now_ms += STEP_MS
            self.watch.poll(self.now_ms, self.now_ms - START_MS, minute)

    @property
    def titles(self) -> list[str]:
        return [message.title for message in self.sender.messages]


@pytest.fixture
def machine(tmp_path: Path):
    made = Machine(tmp_path)
    yield made
    made.store.close()


def test_an_end_is_told_with_what_was_filled(machine: Machine):
    machine.during(10)
    machine.during(180, FeedState.NO_SOCKET)
    flags = [0, CandleFlags.FILLED, CandleFlags.FILLED, CandleFlags.BLIND]
    candles = [
        Candle(START_MS + number * 60_000, 1.0, 1.0, 1.0, 1.0, 1.0, 1, int(flag)) for number, flag in enumerate(flags)
    ]
    machine.store.commit([CandleBatch(KEY, 1, candle_array(candles))])
    machine.during(30)

    assert machine.titles == [
        "fluxcap TEST: EURUSD_otc: no trading page talks",
        "fluxcap TEST: EURUSD_otc: ticks come again",
    ]
    assert machine.sender.messages[1].body.endswith(
        "EURUSD_otc: 2 filled from the page's history, 1 whole after all, 1 flagged BLIND"
    )


def test_a_crash_is_told_with_what_became_of_the_time_between(machine: Machine):
    candles = [Candle(START_MS + number * 60_000, 1.0, 1.0, 1.0, 1.0, 1.0, 1, 4) for number in range(3)]
    machine.store.commit([CandleBatch(KEY, 1, candle_array(candles))])
    machine.store.commit((), gaps=[Gap("TEST", EUR, START_MS, START_MS + 120_000, GapReason.DAEMON_DOWN.value)])
    machine.now_ms = START_MS + 180_000
    machine.restart(crashed=True)

    machine.during(60)

    assert machine.titles == ["fluxcap TEST: running again after a crash"]
    assert machine.sender.messages[0].body.endswith("EURUSD_otc: 2 filled from the page's history")


def test_candles_that_differ_and_lines_that_are_lost_are_told_with_their_number(machine: Machine):
    machine.agreement = AgreementSummary({KEY: Agreement(5, 5)})
    machine.during(4)
    machine.agreement, machine.lost = AgreementSummary({KEY: Agreement(9, 6)}), 7
    machine.during(4)

    bodies = "\n".join(message.body for message in machine.sender.messages)
    assert len(machine.titles) == 2
    assert "Candles that differ: 3." in bodies
    assert "Lines lost: 7." in bodies


def test_in_quiet_hours_nothing_is_told(tmp_path: Path):
    machine = Machine(tmp_path, alert_quiet_hours="22:00-07:00")
    machine.during(10)
    machine.during(60, FeedState.STALLED, minute=60)
    assert machine.titles == []

    machine.during(4, FeedState.STALLED, minute=7 * 60)

    assert machine.titles == ["fluxcap TEST: EURUSD_otc: the page has gone silent"]
    machine.store.close()


def test_a_daemon_that_is_too_busy_to_answer_is_asked_again(machine: Machine):
    machine.busy = True
    machine.during(60)

    assert machine.titles == []


def test_a_restart_tells_nothing_twice_and_the_end_once(machine: Machine, tmp_path: Path):
    machine.during(10)
    machine.during(60, FeedState.STALLED)
    assert json.loads((tmp_path / MEMORY_FILE).read_bytes())["open"][0]["kind"] == "feed"

    machine.restart()
    machine.during(200, FeedState.STALLED)
    machine.during(60)

    assert machine.titles == ["fluxcap TEST: EURUSD_otc: ticks come again"]
    assert json.loads((tmp_path / MEMORY_FILE).read_bytes())["open"] == []


@pytest.mark.parametrize("damage", [b"", b"{", b'{"open": 7}', b"\xff\xfe"])
def test_a_damaged_memory_is_none(machine: Machine, tmp_path: Path, damage: bytes):
    (tmp_path / MEMORY_FILE).write_bytes(damage)

    machine.restart()
    machine.during(10)

    assert machine.titles == []


def test_status_says_where_alerts_go_and_what_goes_on(machine: Machine):
    machine.during(10)
    machine.during(60, FeedState.STALLED)

    status = machine.watch.status()

    assert [(one.kind, one.asset) for one in status.open] == [("feed", EUR)]
    assert status.told == {"feed": 1}
    assert status.addresses == (AddressStatus("json://****", 1, 0, 0, ""),)
    assert msgspec.json.encode(status)


def test_a_kind_to_be_muted_must_be_one(machine: Machine):
    assert muted_kinds(["disk", "csv"]) == (AlertKind.DISK, AlertKind.CSV)
    with pytest.raises(ConfigError, match="'disc' is no kind of alert; choose of feed, chrome"):
        muted_kinds(["disc"])
