"""Record and replay against the real thing: simulated site, real Chromium, a daemon that records, a recorder beside it.

One run serves all tests: the page is opened, the focus changes, a socket breaks, the tab is closed
and another one opened, while both record.
"""

from __future__ import annotations

import json
import signal
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from fluxcap.bridge.store.digest import StoreDigest, store_digest
from fluxcap.bridge.store.store import Store
from fluxcap.capture.market.focus import Focus, FocusMode
from fluxcap.capture.platforms.pocketoption import PocketOption
from fluxcap.capture.recording.file import RecordingReader
from fluxcap.capture.recording.records import FocusChanged, RedactedFrame, SocketLost, SocketOpened, TabAttached
from fluxcap.capture.simulator import Fault, Secrets, SimulatedSite, SiteConfig
from fluxcap.capture.tools.replay.replay import ReplayOptions, ReplaySummary, replay
from fluxcap.schemas.types import StreamKey
from tests.support.browser.chromium import Chromium, chromium_executable
from tests.support.daemon.live_rig import SOURCE, DaemonProcess, Process, stored
from tests.support.patience import PATIENCE_S, await_that

pytestmark = [pytest.mark.browser, pytest.mark.slow]

EUR, GBP, JPY = "EURUSD_otc", "GBPUSD_otc", "USDJPY_otc"


class Run:
    """What the run left behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.by_daemon = folder / "daemon.rec"
        self.beside = folder / "beside.rec"
        self.daemon_dir = folder / "daemon" / "data"
        self.recorder_out: dict[str, Any] = {}
        self.recorder_exit = -1

    def digest(self) -> StoreDigest:
        with Store.open(self.daemon_dir / "fluxcap.duckdb") as store:
            return store_digest(store.reader(), "1s")  # a replay has the candles of the interval alone

    def replayed(self, path: Path, **how: Any) -> ReplaySummary:
        return replay(ReplayOptions(path=path, **how), lambda name: PocketOption())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    if chromium_executable() is None:
        pytest.skip("no Chromium on this machine; install chromium or set FLUXCAP_CHROMIUM")
    made = Run(tmp_path_factory.mktemp("recording"))
    with ExitStack() as stack:
        _run(made, stack)
    return made


def _run(run: Run, stack: ExitStack) -> None:
    site = stack.enter_context(SimulatedSite(SiteConfig(assets=(EUR, GBP, JPY))))
    browser = Chromium(run.folder / "chromium")
    stack.callback(browser.stop)
    host = site.url.removeprefix("http://").strip("/")
    reach = ("--chrome", f"127.0.0.1:{browser.port}", "--platform-url", host, "--interval", "1s", "--source", SOURCE)
    recorder = Process(run.folder / "recorder", "record", str(run.beside), *reach, "--json")
    stack.callback(recorder.discard)
    daemon = DaemonProcess(
        run.folder / "daemon", browser.port, "--platform-url", host, "--focus", EUR, "--record", str(run.by_daemon)
    )
    stack.callback(daemon.discard)
    await_that(run.beside.exists, "the recording's begin")
    daemon.await_status(lambda seen: seen["chrome"] == "attached", "the attach")
    page = browser.open(site.url)
    _await_candles(daemon, EUR, 5)
    control = daemon.run_file().control
    httpx.put(
        f"{control}/api/focus",
        json={"mode": "lock", "symbols": [EUR, GBP]},
        timeout=PATIENCE_S,
        trust_env=False,
        verify=False,
    ).raise_for_status()
    _await_candles(daemon, GBP, 5)
    site.inject(Fault.CLOSE_SOCKETS)
    _await_candles(daemon, EUR, 15)
    browser.close_tab(page["id"])
    daemon.await_status(lambda seen: not seen["sockets"], "the sockets' end")
    browser.open(site.url)
    _await_candles(daemon, EUR, 25)
    run.recorder_exit, _ = recorder.end(signal.SIGINT)
    run.recorder_out = json.loads(recorder.out)
    daemon.end()


def _await_candles(daemon: DaemonProcess, symbol: str, count: int) -> None:
    def has(seen: dict[str, Any]) -> bool:
        return any(s["stream"] == str(daemon.key(symbol)) and s["latest_sequence"] >= count for s in seen["streams"])

    daemon.await_status(has, f"{count} candles of {symbol}")


def test_the_recorded_run_has_what_is_to_be_replayed(run: Run) -> None:
    with RecordingReader(run.by_daemon) as reader:
        kinds = {type(record) for record in reader}

    assert {TabAttached, SocketOpened, RedactedFrame, FocusChanged, SocketLost} <= kinds
    assert run.digest().gaps


def test_a_replay_gives_the_daemons_candles_sequences_flags_revisions_and_gaps(run: Run, tmp_path: Path) -> None:
    summary = run.replayed(run.by_daemon, data_dir=tmp_path)

    live = run.digest()
    assert summary.error == ""
    for stream in live.streams:
        key = StreamKey(SOURCE, stream.key.symbol, "1s")
        assert stored(tmp_path, key) == stored(run.daemon_dir, key)
    assert summary.streams == live.streams
    assert summary.digest == live.digest


def test_two_replays_of_a_recording_have_the_same_digest_at_any_speed(run: Run) -> None:
    first, again = run.replayed(run.by_daemon), run.replayed(run.by_daemon)
    paced = run.replayed(run.by_daemon, speed=20.0)

    assert first.digest == again.digest == paced.digest


def test_a_recorder_beside_the_daemon_gives_the_same_candles_wherever_both_saw_all(run: Run, tmp_path: Path) -> None:
    run.replayed(run.beside, data_dir=tmp_path, focus=Focus(FocusMode.LOCK, (EUR,)))

    key = StreamKey(SOURCE, EUR, "1s")
    live = {candle.ts_ms: candle for candle in stored(run.daemon_dir, key)}
    beside = {candle.ts_ms: candle for candle in stored(tmp_path, key)}
    both = live.keys() & beside.keys()
    whole = [ts_ms for ts_ms in both if not live[ts_ms].flags and not beside[ts_ms].flags]
    assert len(whole) >= 5
    assert [live[ts_ms] for ts_ms in whole] == [beside[ts_ms] for ts_ms in whole]


def test_ctrl_c_ends_a_recorder_cleanly_and_it_says_what_it_has(run: Run) -> None:
    assert run.recorder_exit == 130
    with RecordingReader(run.beside) as reader:
        records = list(reader)
        assert reader.error == ""
    assert run.recorder_out["frames"] > 100
    assert run.recorder_out["ticks"] > 50
    assert run.recorder_out["size_bytes"] == run.beside.stat().st_size
    assert run.recorder_out["sockets"] == sum(isinstance(record, SocketOpened) for record in records)


def test_no_secret_of_the_traders_is_in_a_recording(run: Run) -> None:
    for path in (run.by_daemon, run.beside):
        content = zlib.decompress(path.read_bytes(), wbits=31)
        assert EUR.encode() in content
        for secret in Secrets().all():
            assert secret.encode() not in content, secret
        for word in (b"session", b"balance", b"sid", b"uid", b"auth", b"chat_", b"eal"):
            assert word not in content, word
