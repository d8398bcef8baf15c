"""A damaged store and a disk that fills, as the user of the daemon meets them."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from fluxcap.bridge.server.sequencer import Sequencer
from fluxcap.bridge.store.store import Store
from fluxcap.bridge.store.verify import verify
from fluxcap.bridge.system.folders import STORE_FILE
from fluxcap.capture.runtime.folders import state_dir
from fluxcap.schemas.types import CandleBatch
from tests.support.daemon.fault_rig import FOCUS, FaultRig, Hearing, filled, make_rig
from tests.support.daemon.live_rig import DaemonProcess, run_command
from tests.support.patience import await_that
from tests.support.small_disk import small_disk
from tests.support.wire.samples import EURUSD, MINUTE, candle_rows

FREE_PORT_FOR_CHROME = 9


# --- a damaged store -------------------------------------------------------------------------------------------------


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data folder with a store of 500 candles."""
    with Store.open(tmp_path / "data" / STORE_FILE) as store:
        store.commit([Sequencer(store.watermarks()).number(EURUSD, candle_rows(1, 500))])
        store.checkpoint()
    return tmp_path / "data"


def overwrite_head(store: Path) -> None:
    with store.open("r+b") as file:
        file.write(os.urandom(64))


def cut_short(store: Path) -> None:
    os.truncate(store, store.stat().st_size // 2)


def lose_candles(store: Path) -> None:
    import duckdb

    with duckdb.connect(str(store)) as connection:
        connection.execute("DELETE FROM candles_settled WHERE sequence BETWEEN 100 AND 120")
        connection.execute("DELETE FROM candles_fresh WHERE sequence BETWEEN 100 AND 120")


@pytest.mark.parametrize(
    "damage", [*(pytest.param(harm, marks=pytest.mark.long) for harm in (overwrite_head, cut_short)), lose_candles]
)
def test_a_damaged_store_is_told_with_the_next_step_and_never_replaced(data_dir: Path, damage: Callable[[Path], None]):
    store = data_dir / STORE_FILE
    damage(store)
    before = store.read_bytes()

    daemon = DaemonProcess(data_dir.parent, FREE_PORT_FOR_CHROME)
    code = daemon.wait()

    assert code == 1
    assert "Traceback" not in daemon.err
    assert "fluxcap verify --repair" in daemon.err
    assert store.read_bytes() == before
    told = run_command("verify", "--data-dir", str(data_dir))
    assert told.returncode == 1
    assert "DAMAGE" in told.stdout

    aside = run_command("verify", "--set-aside", "--json", "--data-dir", str(data_dir))
    assert aside.returncode == 0, aside.stderr
    assert Path(json.loads(aside.stdout)["set_aside"]).read_bytes() == before
    assert not store.exists()
    again = DaemonProcess(data_dir.parent, FREE_PORT_FOR_CHROME)
    again.run_file()
    assert again.end()[0] == 0
    assert verify(store) == []


def test_a_repaired_store_keeps_what_is_sound_and_the_daemon_goes_on_with_it(data_dir: Path):
    store = data_dir / STORE_FILE
    lose_candles(store)

    repaired = run_command("verify", "--repair", "--json", "--data-dir", str(data_dir))
    gaps = run_command("gaps", "--json", "--data-dir", str(data_dir))

    assert repaired.returncode == 0, repaired.stderr
    report = json.loads(repaired.stdout)["repaired"]
    assert (report["candles"], report["lost_candles"]) == (479, 21)
    (gap,) = json.loads(gaps.stdout)
    assert (gap["from_ms"], gap["to_ms"]) == (100 * MINUTE, 121 * MINUTE)
    assert gap["reason"] == "lost from a damaged store"
    again = DaemonProcess(data_dir.parent, FREE_PORT_FOR_CHROME)
    again.run_file()
    assert again.end()[0] == 0
    assert verify(store) == []
    told = run_command("verify", "--repair", "--data-dir", str(data_dir))
    assert (told.returncode, told.stdout) == (0, "The store is sound; it stays as it is.\n")


def test_a_backup_that_was_put_back_starts_again_after_restore(data_dir: Path):
    copy = (data_dir / STORE_FILE).read_bytes()
    with Store.open(data_dir / STORE_FILE, state_dir=state_dir()) as store:
        store.commit([Sequencer(store.watermarks()).number(EURUSD, candle_rows(501, 10))])
    shutil.rmtree(data_dir)
    data_dir.mkdir()
    (data_dir / STORE_FILE).write_bytes(copy)

    refused = DaemonProcess(data_dir.parent, FREE_PORT_FOR_CHROME)
    assert refused.wait() == 1
    assert "`fluxcap restore` gives it a new identity" in refused.err
    restored = run_command("restore", "--data-dir", str(data_dir))

    assert restored.returncode == 0, restored.stderr
    assert "wire version 1 do not notice" in restored.stdout
    again = DaemonProcess(data_dir.parent, FREE_PORT_FOR_CHROME)
    again.run_file()
    assert again.end()[0] == 0


def test_a_first_start_on_a_full_disk_waits_for_space(tmp_path: Path):
    """The end of the disk is the largest size that a file may have, set and taken away from outside."""
    daemon = DaemonProcess(tmp_path, FREE_PORT_FOR_CHROME, module="tests.support.daemon.limited_daemon")
    await_that(lambda: "store.waiting_for_space" in daemon.err, "the event")
    assert not (daemon.data_dir / STORE_FILE).exists()

    unlimited = resource.RLIM_INFINITY
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))
    daemon.run_file()

    assert daemon.end()[0] == 0
    assert verify(daemon.data_dir / STORE_FILE) == []


def test_a_sound_store_is_not_set_aside(data_dir: Path):
    before = (data_dir / STORE_FILE).read_bytes()

    told = run_command("verify", "--set-aside", "--data-dir", str(data_dir))

    assert told.returncode == 0
    assert "sound" in told.stdout
    assert (data_dir / STORE_FILE).read_bytes() == before


def test_the_store_of_a_running_daemon_is_not_set_aside(data_dir: Path):
    daemon = DaemonProcess(data_dir.parent, FREE_PORT_FOR_CHROME)
    daemon.run_file()

    told = run_command("verify", "--set-aside", "--data-dir", str(data_dir))

    assert daemon.end()[0] == 0
    assert told.returncode == 1
    assert (data_dir / STORE_FILE).exists()


# --- a disk that fills -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def disk() -> Iterator[Path | None]:
    """A file system of 24 MB, or None where none can be had."""
    with small_disk("24m") as disk:
        yield disk


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, disk: Path | None) -> Iterator[FaultRig]:
    with ExitStack() as stack:
        yield make_rig(tmp_path_factory.mktemp("full"), stack, data_parent=disk)


@contextmanager
def small_files(rig: FaultRig) -> Iterator[None]:
    """No file of the daemon's may grow far beyond its log: writes fail in the middle, as on a full disk."""
    limits = resource.prlimit(rig.daemon.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(rig.daemon.pid, resource.RLIMIT_FSIZE, (rig.daemon.err_path.stat().st_size + 8_000, limits[1]))
    yield
    resource.prlimit(rig.daemon.pid, resource.RLIMIT_FSIZE, limits)


def full_disk(rig: FaultRig) -> AbstractContextManager[None]:
    return filled(rig.daemon.data_dir.parent)


def test_killed_on_a_full_disk_it_starts_again_and_is_found_once_there_is_room(disk: Path | None, tmp_path: Path):
    if disk is None:
        pytest.skip("mounting a small file system needs root")
    data_dir = disk / "killed" / "data"
    with Store.open(data_dir / STORE_FILE) as store:
        store.commit([Sequencer(store.watermarks()).number(EURUSD, candle_rows(1, 500))])
    before = DaemonProcess(tmp_path / "before", FREE_PORT_FOR_CHROME, data_dir=data_dir)
    before.run_file()
    with filled(disk):
        before.end(signal.SIGKILL)
        daemon = DaemonProcess(tmp_path / "after", FREE_PORT_FOR_CHROME, data_dir=data_dir)
        await_that(lambda: "daemon.started" in daemon.err, "the start on a full disk")

    daemon.run_file()

    assert daemon.end()[0] == 0
    told = [event["event"] for event in daemon.events()]
    assert told.count("daemon.run_file_write_failed") == told.count("daemon.run_file_written") == 1
    assert verify(data_dir / STORE_FILE) == []
    shutil.rmtree(data_dir.parent)


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("fill", [full_disk, small_files])
def test_on_a_full_disk_nothing_is_published_that_is_not_stored_and_nothing_is_lost(
    rig: FaultRig, disk: Path | None, fill: Callable[[FaultRig], object]
):
    if fill is full_disk and disk is None:
        pytest.skip("mounting a small file system needs root")
    begin_s = time.time()
    with Hearing(rig.pub) as hearing, rig.trouble():  # no reason: not one gap
        with fill(rig):  # type: ignore[attr-defined]
            await_that(lambda: rig.status()["store_trouble"], "the trouble")
            ticks = sum(asset["ticks"] for asset in rig.status()["assets"])
            silent_from = len(hearing.of(b"candles."))
            stored = {stream["stream"]: stream["latest_sequence"] for stream in rig.status()["streams"]}
            time.sleep(4)
            status = rig.status()
            assert sum(asset["ticks"] for asset in status["assets"]) > ticks, "capture goes on"
            assert {stream["stream"]: stream["latest_sequence"] for stream in status["streams"]} == stored
            assert hearing.of(b"candles.")[silent_from:] == []
            assert hearing.of(b"status."), "clients hear of it"
        await_that(lambda: not rig.status()["store_trouble"], "recovery")
    heard = [message.start_sequence for message in hearing.decoded(b"candles.") if isinstance(message, CandleBatch)]

    assert heard
    told = [line["event"] for line in rig.logged_since(begin_s)]
    assert told.count("store.write_failed") == 1
    assert told.count("store.write_recovered") == 1
    for symbol in FOCUS:
        assert rig.missing(symbol, begin_s * 1_000) == []


@pytest.mark.browser
@pytest.mark.slow
def test_after_the_full_disk_the_store_is_sound(rig: FaultRig):
    rig.judge()
    assert rig.daemon.end()[0] == 0
    assert verify(rig.daemon.data_dir / STORE_FILE) == []
