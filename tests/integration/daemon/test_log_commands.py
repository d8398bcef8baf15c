"""The commands that read the log, with a real nats-server: many sources at once, and errors of one sentence."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from fluxcap import Candles, LiveClient, Via
from fluxcap.bridge.archive.archiver import Archiver
from fluxcap.bridge.terminal.selectors import parse_selectors
from fluxcap.bridge.terminal.tail import tail
from fluxcap.bridge.terminal.watch import watch
from fluxcap.capture.cli.app import run_cli
from fluxcap.schemas.types import FeedState, StreamKey
from tests.support.browser.webpage import web_page
from tests.support.daemon.dashboard_rig import log_dashboard
from tests.support.daemon.live_rig import Process
from tests.support.nats.log_rig import LogFeeder
from tests.support.nats.nats_rig import NatsServer
from tests.support.paths import ROOT
from tests.support.patience import PATIENCE_S, await_that
from tests.support.wire.samples import candle_rows

EURUSD = StreamKey("DESK1", "EURUSD_otc", "1m")
GBPUSD = StreamKey("DESK2", "GBPUSD_otc", "1m")
AAPL = StreamKey("DESK2", "#AAPL_otc", "1m")
HOURLY = StreamKey("DESK2", "GBPUSD_otc", "1h")


@pytest.fixture
def server(nats_server: Callable[..., NatsServer]) -> NatsServer:
    return nats_server()


@pytest.fixture
def feeder(server: NatsServer) -> Iterator[LogFeeder]:
    with LogFeeder(server.url) as found:
        for key in (EURUSD, GBPUSD, HOURLY):
            found.add(key, candle_rows(1, 3))
        yield found


def test_streams_of_many_sources_are_tailed_at_once_and_new_ones_join(
    server: NatsServer, feeder: LogFeeder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxcap.bridge.terminal.tail.DISCOVERY_S", 0.3)
    out, stop = io.StringIO(), threading.Event()
    wanted = parse_selectors(["DESK1/EURUSD_otc", "DESK2/*"])
    running = threading.Thread(
        target=lambda: tail(wanted, via=server.url, out=out, stop=stop, as_json=True), daemon=True
    )
    running.start()

    def seen() -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for line in map(json.loads, out.getvalue().splitlines()):
            if line["type"] == "candle":
                found.setdefault(line["key"], []).append(line["sequence"])
        return found

    await_that(lambda: seen().keys() == {str(EURUSD), str(GBPUSD)}, "two streams")
    feeder.add(EURUSD, candle_rows(4, 1))
    feeder.add(AAPL, candle_rows(1, 2))
    await_that(lambda: str(AAPL) in seen() and seen()[str(EURUSD)][-1] == 4, "the new one")
    stop.set()
    running.join(PATIENCE_S)

    assert seen() == {str(EURUSD): [1, 2, 3, 4], str(GBPUSD): [1, 2, 3], str(AAPL): [1, 2]}


def test_lines_of_many_streams_begin_with_their_names(server: NatsServer, feeder: LogFeeder) -> None:
    out = io.StringIO()

    printed = tail(parse_selectors(["*/GBP*/*"]), via=server.url, out=out, most_candles=6)

    assert printed == 6
    lines = [line for line in out.getvalue().splitlines() if "#" in line]
    assert [line.split()[0] for line in sorted(lines)] == [str(HOURLY)] * 3 + [str(GBPUSD)] * 3


def test_the_tail_command_reads_the_log(server: NatsServer, feeder: LogFeeder, tmp_path: Path) -> None:
    live = Process(tmp_path, "tail", "DESK1", "EURUSD_otc", "--via", server.url, "--json")
    try:
        await_that(lambda: '"sequence":3' in live.out, "candle 3")
        feeder.add(EURUSD, candle_rows(4, 1))
        await_that(lambda: '"sequence":4' in live.out, "candle 4")
    finally:
        live.discard()

    assert live.err == ""


def test_a_backfill_comes_from_the_log(server: NatsServer, feeder: LogFeeder, tmp_path: Path) -> None:
    out = tmp_path / "eurusd.csv"

    code = run_cli(["backfill", "DESK1", "EURUSD_otc", "--via", server.url, "--out", str(out)])

    assert code == 0
    assert len(out.read_text().splitlines()) == 4


def test_the_watch_screen_shows_the_streams_of_the_log(server: NatsServer, feeder: LogFeeder) -> None:
    screen, stop = io.StringIO(), threading.Event()
    console = Console(file=screen, width=160, force_terminal=True, height=40)
    running = threading.Thread(
        target=lambda: watch("", "", "", via=Via(server.url), console=console, stop=stop), daemon=True
    )
    running.start()

    streams = ("DESK1 EURUSD_otc 1m", "DESK2 GBPUSD_otc 1h")
    await_that(lambda: all(stream in screen.getvalue() for stream in streams), "the streams")
    stop.set()
    running.join(PATIENCE_S)

    assert "NATS JetStream at nats://127.0.0.1" in screen.getvalue()


@pytest.mark.browser
def test_the_page_shows_streams_of_the_log(server: NatsServer, feeder: LogFeeder, tmp_path: Path) -> None:
    minute = int(time.time()) // 60 - 40
    feeder.add(AAPL, candle_rows(minute, 40))
    with log_dashboard(tmp_path / "page", server.url) as url, web_page(tmp_path / "profile") as page:
        page.open(f"{url}?source=platform&asset=DESK2:%23AAPL_otc&theme=dark")
        page.wait_chart(lambda chart: chart["count"] == 40, "the log's candles")
        feeder.add(AAPL, candle_rows(minute + 40, 1))
        page.wait_chart(lambda chart: chart["count"] == 41, "the live candle")
        feeder.beat()
        page.wait(lambda: page.text("fact-newest").startswith("#41 "), "the sequence")

        assert page.complaints() == []


def told(capsys: pytest.CaptureFixture[str], *command: str) -> tuple[int, str]:
    """Exit code, and what it said on stderr."""
    code = run_cli(list(command))
    return code, capsys.readouterr().err.strip()


def test_errors_are_one_sentence_with_the_next_step(
    nats_server: Callable[..., NatsServer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = nats_server()
    locked = nats_server('authorization { user: "desk", password: "secret-word" }')
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('user = "desk"\npassword = "other-word"\n')
    out = ("--out", str(tmp_path / "out"), "--once")

    not_set_up = told(capsys, "archive", "--via", bare.url, *out)
    no_credentials = told(capsys, "archive", "--via", locked.url, *out)
    bad_credentials = told(capsys, "archive", "--via", locked.url, "--nats-credentials", str(wrong), *out)
    no_address = told(capsys, "archive", "--via", "http://x", *out)
    in_the_address = told(capsys, "archive", "--via", "nats://desk:secret-word@127.0.0.1", *out)
    bare.stop()
    absent = told(capsys, "archive", "--via", bare.url, *out)
    absent_backfill = told(capsys, "backfill", "A", "B", "--via", bare.url, "--out", str(tmp_path / "x.csv"))

    said = [not_set_up, no_credentials, bad_credentials, absent, no_address, in_the_address, absent_backfill]
    assert [code for code, _ in said] == [1, 1, 1, 1, 2, 2, 1]
    assert "fluxcap forward --setup" in not_set_up[1]
    assert "rejected the credentials" in no_credentials[1]
    assert "rejected the credentials" in bad_credentials[1]
    assert "is it running?" in absent[1]
    assert "is it running" in absent_backfill[1]
    for _, text in said:
        assert len(text.splitlines()) == 1
        assert "-word" not in text


USERS = """authorization { users: [
    { user: desk, password: "secret-word" },
    { user: reader, password: "other-word", permissions: {
        publish: ["$JS.API.>"], subscribe: ["_INBOX.>", "flux.status.>"] } } ] }"""


def test_a_reader_needs_no_more_than_the_readme_says(nats_server: Callable[..., NatsServer], tmp_path: Path) -> None:
    locked = nats_server(USERS)
    mine = tmp_path / "mine.toml"
    mine.write_text('user = "reader"\npassword = "other-word"\n')
    via, seen = Via(locked.url, mine), []
    with LogFeeder(locked.url.replace("//", "//desk:secret-word@")) as feeder:
        feeder.add(EURUSD, candle_rows(1, 3))
        state = Archiver(via, tmp_path / "archive").run(once=True)
        with LiveClient(streams=[EURUSD], via=via) as client:
            for event in client.events(timeout=0.2):
                seen.append(event)
            feeder.add(EURUSD, candle_rows(4, 1))
            feeder.beat()
            await_that(lambda: client.health(EURUSD).feed_state is FeedState.LIVE, "a heartbeat")
            seen += client.events(timeout=0.5)

    assert state.rows == 3
    assert [e.end_sequence for e in seen if isinstance(e, Candles)] == [3, 4]
    assert "publish to\n`$JS.API.>` alone" in (ROOT / "bridge" / "README.md").read_text()
