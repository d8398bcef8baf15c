"""The daemon put together: what it holds, how it starts without a browser, how it lets go."""

from __future__ import annotations

import os
import queue
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from fluxcap import Candles, LiveClient
from fluxcap.bridge.http.run_file import RUN_FILE, read_run_file
from fluxcap.bridge.server.server import WireServer
from fluxcap.bridge.system.folders import STORE_FILE
from fluxcap.bridge.system.sleep import SleepWatch
from fluxcap.capture.daemon.daemon import Daemon
from fluxcap.capture.market.clock import ClockPrior
from fluxcap.capture.platforms.registry import platform_named
from fluxcap.capture.runtime.settings import Settings
from fluxcap.capture.tools.verify import restore, verify_folder
from fluxcap.schemas.errors import AlreadyRunning, ConfigError, StoreLocked, StoreRestored
from fluxcap.schemas.types import Candle, StreamKey
from tests.support.browser.consent_browser import PLATFORM_TAB, ConsentBrowser
from tests.support.patience import PATIENCE_S, await_that
from tests.support.systems import is_wine

pytestmark = pytest.mark.costly

FREE = "tcp://127.0.0.1:0"


def settings(folder: Path, **changes: Any) -> Settings:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = probe.getsockname()[1]
    fixed: dict[str, Any] = {
        "chrome": f"127.0.0.1:{nobody}",
        "data_dir": folder / "data",
        "pub": FREE,
        "rep": FREE,
        "web": False,
        "control_port": 0,
        "source": "TEST",
    }
    return Settings(**(fixed | changes))


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(settings(tmp_path_factory.mktemp("daemon"), focus=("EURUSD_otc",))) as running:
        yield running


def test_it_runs_without_a_browser_and_says_why(daemon: Daemon):
    status = daemon.status()

    assert (status.chrome, status.pid, status.source) == ("not reachable", os.getpid(), "TEST")
    assert status.focus_symbols == ("EURUSD_otc",)


def test_its_run_file_tells_where_it_is_and_goes_with_it(tmp_path: Path):
    with Daemon(settings(tmp_path)) as daemon:
        run = read_run_file(tmp_path / "data")
        assert run is not None
        assert (run.pid, run.control) == (os.getpid(), daemon.identity.control)

    assert not (tmp_path / "data" / RUN_FILE).exists()


def test_it_leaves_no_thread_behind_and_may_be_stopped_twice(tmp_path: Path):
    before = set(threading.enumerate())
    daemon = Daemon(settings(tmp_path))
    daemon.start()

    daemon.stop()
    daemon.stop()

    def left() -> list[str]:
        return [t.name for t in set(threading.enumerate()) - before if t.name.startswith("fluxcap")]

    assert await_that(lambda: not left(), "the end of its threads")


def test_after_a_sleep_it_says_for_how_long_and_looks_for_chrome_at_once(
    daemon: Daemon, logged: list[str], monkeypatch: pytest.MonkeyPatch
):
    looked: list[str] = []
    slept = iter([10.0, 370.0, 370.0])
    monkeypatch.setattr(daemon, "_sleep", SleepWatch(lambda: next(slept)))
    monkeypatch.setattr(daemon.watch, "poll", lambda: looked.append("now"))

    daemon._look_for_sleep()
    daemon._look_for_sleep()

    assert logged.count("computer.woke") == 1
    assert looked == ["now"]


def test_the_trading_page_that_is_open_is_what_its_next_chrome_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page = "https://pocketoption.com/en/cabinet/demo-quick-high-low/"
    tabs = [SimpleNamespace(kind="worker", url="https://pocketoption.com/w.js"), SimpleNamespace(kind="page", url=page)]
    daemon = Daemon(settings(tmp_path, keep_chrome=True))
    monkeypatch.setattr(daemon.pipeline, "view", lambda: SimpleNamespace(session=SimpleNamespace(tabs=tabs)))

    daemon._remember_page()
    daemon.stop()

    assert (tmp_path / "data" / "last_page.txt").read_text() == page


def test_a_chrome_of_ones_own_and_the_everyday_one_by_consent_exclude_each_other(tmp_path: Path):
    with pytest.raises(ConfigError, match="Choose one of the two"):
        Daemon(settings(tmp_path, keep_chrome=True, consent=True))


IPV6 = {"pub": "tcp://[::1]:0", "rep": "tcp://[::1]:0", "web_host": "[::1]"}


def test_all_of_it_works_on_ipv6(tmp_path: Path):
    with Daemon(settings(tmp_path, **IPV6)) as daemon:
        run = read_run_file(tmp_path / "data")
        assert run is not None
        candle = Candle(60_000, 1.0, 1.0, 1.0, 1.0, 1.0)
        daemon.pipeline.call(lambda: daemon.server.publish({daemon.key("A"): [candle]}))
        with LiveClient(run.pub, run.rep) as client:
            client.subscribe(daemon.key("A"))
            heard = next(event for event in client.events(PATIENCE_S) if isinstance(event, Candles))
        answers = [
            httpx.get(
                f"{run.control}/health", headers={"host": host}, trust_env=False, verify=False, timeout=PATIENCE_S
            ).status_code
            for host in (f"[::1]:{daemon.control.port}", "[0:0:0:0:0:0:0:1]", "localhost", "[::2]", "foreign.example")
        ]

    assert [address.rpartition(":")[0] for address in (run.pub, run.rep, run.control)] == [
        "tcp://[::1]",
        "tcp://[::1]",
        "http://[::1]",
    ]
    assert heard.candles["ts_ms"].tolist() == [60_000]
    assert answers == [200, 200, 200, 403, 403]


@pytest.mark.parametrize(("host", "here"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::0", "[::1]")])
def test_one_that_listens_on_all_addresses_is_found_and_answers_by_each_of_its_own(
    tmp_path: Path, host: str, here: str
):
    with Daemon(settings(tmp_path, web_host=host)) as daemon:
        run = read_run_file(tmp_path / "data")
        assert run is not None
        port = daemon.control.port
        answers = {
            asked: httpx.get(
                f"http://{address}:{port}/health",
                headers={"host": asked},
                trust_env=False,
                verify=False,
                timeout=PATIENCE_S,
            ).status_code
            for address, asked in ((here, here), ("127.0.0.1", "127.0.0.1"), (here, "foreign.example"))
        }

    assert run.control == f"http://{here}:{port}"
    assert answers == {here: 200, "127.0.0.1": 200, "foreign.example": 403}


@pytest.mark.parametrize(
    "wrong",
    [
        {"pub": "tcp://127.0.0.1:65536"},
        {"rep": "tcp://127.0.0.1:70000"},
        {"pub": "tcp://:5556"},
        {"chrome": "0.0.0.0:9222"},
        {"chrome": "[::]:9222"},
    ],
)
def test_an_address_that_nobody_can_use_is_refused_before_anything_runs(tmp_path: Path, wrong: dict[str, str]):
    with pytest.raises(ConfigError, match=r"cannot be used|not where Chrome can be"):
        Daemon(settings(tmp_path, **wrong))


@pytest.mark.skipif(os.name != "posix", reason="a folder in use cannot be deleted there")
def test_a_data_folder_deleted_under_it_is_noticed_and_made_again(tmp_path: Path, logged: list[str]):
    with Daemon(settings(tmp_path, collect="both")) as daemon:
        key = daemon.key("EURUSD_otc")
        daemon.pipeline.call(lambda: daemon.server.publish({key: [Candle(60_000, 1.0, 1.0, 1.0, 1.0)]}))
        shutil.rmtree(tmp_path / "data")
        (tmp_path / "data").mkdir()  # as a CSV file does that is written

        daemon._checkpoint()

        run = read_run_file(tmp_path / "data")
        assert run is not None
        assert run.pid == os.getpid()
    assert "store.rewritten" in logged
    with WireServer(tmp_path / "data" / STORE_FILE, FREE, FREE) as server:
        assert server.watermark(key).latest_sequence == 1


def test_a_backup_put_back_is_noticed_and_starts_with_a_new_identity(tmp_path: Path):
    key = StreamKey("TEST", "EURUSD_otc", "1m")

    def publish(daemon: Daemon, minute: int) -> str:
        candles = {key: [Candle(60_000 * minute, 1.0, 1.0, 1.0, 1.0)]}
        daemon.pipeline.call(lambda: daemon.server.publish(candles))
        return daemon.server.store_id

    with Daemon(settings(tmp_path)) as daemon:
        before = publish(daemon, 1)
    shutil.copytree(tmp_path / "data", tmp_path / "backup")
    with Daemon(settings(tmp_path)) as daemon:
        publish(daemon, 2)
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "backup").rename(tmp_path / "data")

    with pytest.raises(StoreRestored, match=r"of 2 candles and revisions that it had numbered it holds 1\..*restore"):
        Daemon(settings(tmp_path))
    (finding,) = verify_folder(tmp_path / "data").findings
    report = restore(tmp_path / "data")

    assert "older than it was" in finding.text
    assert (report.store_id_before, report.candles) == (before, 1)
    with Daemon(settings(tmp_path)) as daemon:
        assert publish(daemon, 3) == report.store_id != before


def test_a_second_one_on_the_folder_is_refused(daemon: Daemon):
    with pytest.raises(StoreLocked):
        Daemon(settings(daemon.settings.data_dir.parent))


BY_US = "" if is_wine() else f" by process {os.getpid()}"
"""Wine does not tell which process has a port."""


@pytest.mark.parametrize("which", ["pub", "rep"])
def test_a_port_in_use_is_refused_with_the_name_of_its_holder(daemon: Daemon, tmp_path: Path, which: str):
    endpoint = getattr(daemon.identity, which)

    with pytest.raises(AlreadyRunning, match=f"is in use.*{BY_US}"):
        Daemon(settings(tmp_path / "other", **{which: endpoint}))


def test_a_control_port_in_use_is_refused_and_lets_go_of_the_store(daemon: Daemon, tmp_path: Path):
    port = int(daemon.identity.control.rpartition(":")[2])

    with pytest.raises(AlreadyRunning, match=f"Port {port} on 127.0.0.1 is taken{BY_US}"):
        Daemon(settings(tmp_path / "other", control_port=port))

    with Daemon(settings(tmp_path / "other")) as again:
        assert again.pipeline.alive


def test_an_unknown_platform_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"There is no platform 'nosuch'; known: binance, .*generic, .*pocketoption"):
        platform_named("nosuch", ())


def test_what_is_older_than_the_retention_leaves_the_store(tmp_path: Path):
    day_ms = 86_400_000
    now_ms = time.time_ns() // 1_000_000 // 60_000 * 60_000
    key = StreamKey("TEST", "EURUSD_otc", "1m")
    old = [Candle(now_ms - 3 * day_ms + minute * 60_000, 1.0, 1.0, 1.0, 1.0) for minute in range(10)]
    new = [Candle(now_ms - day_ms // 2 + minute * 60_000, 1.0, 1.0, 1.0, 1.0) for minute in range(5)]
    with WireServer(tmp_path / "data" / STORE_FILE, FREE, FREE) as server:
        server.publish({key: [*old, *new]})

    with Daemon(settings(tmp_path, retention_days=1)) as daemon:
        await_that(lambda: daemon.server.status()[key].first_sequence == 11, "the pruning")
        kept = daemon.server.status()[key]

    assert (kept.first_sequence, kept.latest_sequence) == (11, 15)


def test_without_a_retention_nothing_is_forgotten(daemon: Daemon):
    assert [job.id for job in daemon._scheduler.get_jobs() if job.id == "retention"] == []


def test_beyond_loopback_it_wants_keys_and_says_so_in_one_sentence(tmp_path: Path):
    with pytest.raises(
        ConfigError, match=r"^tcp://0\.0\.0\.0:0 can be reached .* `--curve keys`, or bind to 127\.0\.0\.1\.$"
    ):
        Daemon(settings(tmp_path, pub="tcp://0.0.0.0:0"))


# --- the clock ------------------------------------------------------------------------------------------------------


def test_the_offset_is_kept_for_the_next_start_with_the_time_of_its_first_keeping(tmp_path: Path):
    with Daemon(settings(tmp_path)) as daemon:
        daemon._keep_offset(7_200_000)
        first = daemon.server.store.kept_offset("TEST")
        daemon._keep_offset(7_200_000)
        assert daemon.server.store.kept_offset("TEST") == first

    with Daemon(settings(tmp_path)) as again:
        assert first is not None
        assert again.clock_prior == ClockPrior(7_200_000, 0, first.kept_ms)


def test_what_the_store_has_bounds_what_time_it_can_be(tmp_path: Path):
    key = StreamKey("TEST", "EURUSD_otc", "1m")
    with WireServer(tmp_path / "data" / STORE_FILE, FREE, FREE) as server:
        server.publish({key: [Candle(1_760_000_040_000, 1.0, 1.0, 1.0, 1.0, 1.0, 1)]})

    with Daemon(settings(tmp_path)) as daemon:
        assert daemon.clock_prior == ClockPrior(None, 1_760_000_100_000)


def test_what_the_store_has_from_a_time_on_is_told_with_the_minutes_the_stream_passed_over(tmp_path: Path):
    key = StreamKey("TEST", "EURUSD_otc", "1m")
    candles = [Candle(1_760_000_040_000 + at * 60_000, 1.0, 1.0, 1.0, 1.0, 1.0, 1) for at in range(5)]
    with Daemon(settings(tmp_path)) as daemon:
        daemon.pipeline.call(lambda: daemon.server.publish({key: [candles[0], candles[2], candles[4]]}))
        daemon.pipeline.call(lambda: daemon.server.revise({key: [candles[1], candles[3]]}))

        found = daemon.pipeline.call(lambda: daemon.server.candles_since(key, candles[1].ts_ms))

    assert [candle.ts_ms for candle in found] == [candle.ts_ms for candle in candles[1:]]


def test_the_everyday_browser_is_read_by_consent_and_only_the_platforms_tab(tmp_path: Path):
    """Asked once; the same connection serves for all; no other tab is attached."""
    profile = tmp_path / "profile"
    profile.mkdir()
    browser = ConsentBrowser(profile)
    try:
        with Daemon(settings(tmp_path, consent=True, chrome_profile=profile)) as daemon:
            dialog = browser.dialog()
            waiting = daemon.status()
            again = httpx.post(
                f"{daemon.identity.control}/api/chrome/ask", trust_env=False, verify=False, timeout=PATIENCE_S
            ).json()
            dialog.allow()
            attached = browser.command("Target.attachToTarget")
            seen = await_that(lambda: daemon.status() if daemon.status().browser else None, "the attach")
            await_that(lambda: daemon.status().browser.startswith("Chrome/156"), "the browser's own name")
            tabs = [tab["url"] for tab in seen.tabs]
    finally:
        browser.quit()
    others = [command for command in iter_of(browser.commands) if "attach" in command["method"].lower()]

    assert (waiting.chrome, "click Allow" in waiting.no_candles) == ("waiting for your consent", True)
    assert again == {"chrome": waiting.chrome, "chrome_reason": waiting.chrome_reason}
    assert seen.chrome == "attached"
    assert attached["params"]["targetId"] == PLATFORM_TAB
    assert tabs == [browser.tabs[PLATFORM_TAB]]
    assert [command["params"].get("targetId") for command in others if "targetId" in command["params"]] == []
    assert len(browser.dialogs) == 1


def iter_of(commands: queue.SimpleQueue[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What waits in a queue."""
    while not commands.empty():
        yield commands.get()


def test_who_reads_no_browser_by_consent_says_so_when_told_to_ask(daemon: Daemon):
    answer = httpx.post(f"{daemon.identity.control}/api/chrome/ask", trust_env=False, verify=False, timeout=PATIENCE_S)

    assert (answer.status_code, "fluxcap run --consent" in answer.json()["error"]) == (400, True)
