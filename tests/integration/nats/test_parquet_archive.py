"""The archive, from a store by way of a real log to Parquet: every candle of the store once, whatever happens."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow.dataset
import pytest

from fluxcap import Via
from fluxcap.bridge.archive.archiver import ArchiveProgress, Archiver
from fluxcap.bridge.archive.partition_file import PartitionWriter
from fluxcap.bridge.archive.rows import MissingRange
from fluxcap.bridge.jetstream.address import parse_address
from fluxcap.bridge.jetstream.consumer import PullConsumer
from fluxcap.bridge.jetstream.subjects import subject
from fluxcap.capture.cli.app import run_cli
from fluxcap.schemas.errors import NatsError, NatsUnavailable, StoreFull, StoreLocked
from fluxcap.schemas.types import StreamKey
from tests.support.nats.archive_rig import archived, assert_archive_is_store
from tests.support.nats.forward_rig import Desk, ask_log, await_current, make_stream
from tests.support.nats.log_rig import LogFeeder, stream_config
from tests.support.nats.nats_rig import NatsServer, certificate
from tests.support.patience import PATIENCE_S, await_that
from tests.support.wire.samples import candle_rows

EURUSD = StreamKey("DESK1", "EURUSD_otc", "1m")
AAPL = StreamKey("DESK1", "#AAPL/x y", "1m")
NUMBER = StreamKey("DESK2", "100", "5m")
A_DAY = 1_440
NO_CONSUMER = 10014


@pytest.fixture
def server(nats_server: Callable[..., NatsServer]) -> NatsServer:
    found = nats_server()
    make_stream(parse_address(found.url))
    return found


@pytest.fixture
def desk(server: NatsServer, tmp_path: Path) -> Iterator[Desk]:
    (tmp_path / "desk").mkdir()
    with Desk(tmp_path / "desk", server.url) as found:
        yield found


def archive(server: NatsServer, folder: Path, **options: bool) -> ArchiveProgress:
    return Archiver(Via(server.url), folder).run(once=True, **options)


@contextmanager
def running(archiver: Archiver) -> Iterator[threading.Thread]:
    """The archiver on a thread, until the end of this."""
    thread = threading.Thread(target=archiver.run, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        archiver.stop()
        thread.join(PATIENCE_S)
    assert not thread.is_alive()


def forward_all(desk: Desk) -> None:
    forwarder = desk.forward()
    await_current(forwarder)
    forwarder.stop()


def test_what_the_store_has_is_in_the_archive_once_and_revised(server: NatsServer, desk: Desk, tmp_path: Path) -> None:
    desk.publish(EURUSD, A_DAY - 3, 3 * A_DAY)
    desk.publish(AAPL, 1, 10)
    desk.publish(AAPL, 21, 30)
    desk.publish(NUMBER, 5, 5)
    desk.revise(EURUSD, A_DAY, A_DAY + 1)
    desk.revise(EURUSD, A_DAY, price=8.0)
    desk.revise(AAPL, 15, 16, 22)
    forward_all(desk)

    state = archive(server, tmp_path / "archive")

    assert assert_archive_is_store(tmp_path / "archive", desk.server.store) == 2 * A_DAY + 4 + 20 + 1 + 2
    files = sorted(str(path.relative_to(tmp_path / "archive")) for path in (tmp_path / "archive").rglob("*.parquet"))
    assert files == [
        "source=DESK1/symbol=%23AAPL%2Fx%20y/day=1970-01-01/candles-1m.parquet",
        *(f"source=DESK1/symbol=EURUSD_otc/day=1970-01-0{n}/candles-1m.parquet" for n in (1, 2, 3, 4)),
        "source=DESK2/symbol=100/day=1970-01-01/candles-5m.parquet",
    ]
    assert (state.files, state.missing, state.foreign) == (6, (), 0)


def test_polars_and_arrow_read_it_with_its_partitions(server: NatsServer, desk: Desk, tmp_path: Path) -> None:
    desk.publish(EURUSD, A_DAY - 3, A_DAY + 2)
    desk.publish(AAPL, 1, 10)
    forward_all(desk)

    archive(server, tmp_path / "archive")

    table = polars.scan_parquet(tmp_path / "archive" / "source=*/*/*/*.parquet", hive_partitioning=True).collect()
    counts = table.group_by("source", "symbol", "day").len().sort("symbol", "day").rows()
    assert counts == [
        ("DESK1", "#AAPL/x y", date(1970, 1, 1), 10),
        ("DESK1", "EURUSD_otc", date(1970, 1, 1), 3),
        ("DESK1", "EURUSD_otc", date(1970, 1, 2), 3),
    ]
    stored = desk.server.store.reader().page(EURUSD, 0).candles
    mine = table.filter(polars.col("symbol") == "EURUSD_otc").sort("ts_ms")
    assert mine["ts_ms"].to_list() == stored["ts_ms"].tolist()
    assert mine["close"].to_list() == stored["close"].tolist()
    found = pyarrow.dataset.dataset(tmp_path / "archive", partitioning="hive", exclude_invalid_files=True).to_table()
    assert sorted(found["close"].to_pylist()) == sorted(table["close"].to_list())


def test_the_next_time_only_what_is_new_is_read(server: NatsServer, desk: Desk, tmp_path: Path) -> None:
    desk.publish(EURUSD, 1, 50)
    forward_all(desk)
    archive(server, tmp_path / "archive")
    desk.publish(EURUSD, 51, 55)
    desk.revise(EURUSD, 7)
    forward_all(desk)

    state = archive(server, tmp_path / "archive")
    again = archive(server, tmp_path / "archive")
    whole = archive(server, tmp_path / "archive", from_start=True)

    assert (state.messages, state.rows) == (2, 6)
    assert (again.messages, again.files) == (0, 0)
    assert whole.messages == 3
    assert assert_archive_is_store(tmp_path / "archive", desk.server.store) == 55


def test_a_running_archive_keeps_up_while_the_log_is_killed_and_comes_back(
    server: NatsServer, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxcap.bridge.archive.archiver.AGAIN_S", 0.1)
    folder = tmp_path / "archive"
    desk.forward()
    told: list[str] = []
    archiver = Archiver(Via(server.url), folder, flush_s=0.05, tell=told.append)
    with running(archiver):
        for n in range(3):
            desk.publish(EURUSD, 10 * n + 1, 10 * n + 10)
            if n:
                server.kill()
                desk.revise(EURUSD, 10 * n - 2, price=5.0 + n)
                server.start()
            await_that(lambda end=10 * n + 10: archived(folder, EURUSD)[0][-1:] == [end], f"candle {10 * n + 10}")
        await_that(lambda: archived(folder, EURUSD)[1]["open"][17] == 7.0, "the last revision")

    assert assert_archive_is_store(folder, desk.server.store) == 30
    assert told


def test_a_consumer_that_the_server_lost_without_a_word_is_made_anew(
    server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is lost while files are written: then no question is open that the server could end with a word."""
    monkeypatch.setattr("fluxcap.bridge.jetstream.consumer.CHUNK_MESSAGES", 1)
    monkeypatch.setattr("fluxcap.bridge.jetstream.consumer.HEARTBEAT_S", 0.2)
    write, writing, go_on = PartitionWriter.write, threading.Event(), threading.Event()

    def slow(files: PartitionWriter, *what: Any) -> int:
        writing.set()
        assert go_on.wait(PATIENCE_S)
        return write(files, *what)

    monkeypatch.setattr(PartitionWriter, "write", slow)
    with LogFeeder(server.url, make_stream=False) as feeder:
        feeder.add(EURUSD, candle_rows(1, 1))
        with running(Archiver(Via(server.url), tmp_path, flush_s=0.0)):
            assert writing.wait(PATIENCE_S)
            for consumer in feeder.ask("CONSUMER.NAMES.FLUX", {})["consumers"]:
                feeder.ask(f"CONSUMER.DELETE.FLUX.{consumer}", {}, absent=NO_CONSUMER)
            feeder.add(EURUSD, candle_rows(2, 1))
            go_on.set()
            await_that(lambda: archived(tmp_path, EURUSD)[0] == [1, 2], "the second candle")


def test_a_full_disk_is_waited_out_and_told_once(
    server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxcap.bridge.archive.archiver.AGAIN_S", 0.05)
    write, refusals, told = PartitionWriter.write, iter(range(3)), []

    def limited(files: PartitionWriter, *what: Any) -> int:
        if next(refusals, None) is not None:
            raise StoreFull("No space left.")
        return write(files, *what)

    monkeypatch.setattr(PartitionWriter, "write", limited)
    with LogFeeder(server.url, make_stream=False) as feeder:
        feeder.add(EURUSD, candle_rows(1, 5))
        with running(Archiver(Via(server.url), tmp_path, flush_s=0.0, tell=told.append)):
            await_that(lambda: archived(tmp_path, EURUSD)[0] == [1, 2, 3, 4, 5], "the candles")

    assert told == ["No space left. Retrying."]


def test_files_stay_whole_for_who_reads_them_meanwhile(server: NatsServer, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    with LogFeeder(server.url, make_stream=False) as feeder:
        feeder.add(EURUSD, candle_rows(1, 1))
        archive(server, folder)
        archiver = Archiver(Via(server.url), folder, flush_s=0.0)
        with running(archiver):
            seen = 0
            for n in range(2, 120):
                feeder.add(EURUSD, candle_rows(n, 1))
                sequences, _ = archived(folder, EURUSD)
                assert sequences == list(range(1, len(sequences) + 1))
                assert len(sequences) >= seen
                seen = len(sequences)
            await_that(lambda: archived(folder, EURUSD)[0][-1:] == [119], "the last candle")
    assert archived(folder, EURUSD)[0] == list(range(1, 120))


def test_a_store_made_anew_leaves_the_old_candles_in_the_archive(server: NatsServer, tmp_path: Path) -> None:
    with LogFeeder(server.url, "first", make_stream=False) as feeder:
        feeder.add(EURUSD, candle_rows(1, 5))
        feeder.replace_store("second")
        feeder.add(EURUSD, candle_rows(4, 3))

        state = archive(server, tmp_path)

    found = duckdb.sql(
        f"SELECT store_id, sequence, ts_ms // 60000 FROM read_parquet('{tmp_path}/source=*/**/*.parquet') ORDER BY ALL"
    ).fetchall()
    assert found == [("first", n, n) for n in range(1, 6)] + [("second", n, n + 3) for n in range(1, 4)]
    assert state.missing == ()


def test_what_the_log_forgot_too_early_is_told_and_remembered(server: NatsServer, tmp_path: Path) -> None:
    told: list[str] = []
    with LogFeeder(server.url, make_stream=False) as feeder:
        for n in range(1, 4):
            feeder.add(EURUSD, candle_rows(n, 1))
        archive(server, tmp_path)
        for n in range(4, 9):
            feeder.add(EURUSD, candle_rows(n, 1))
        feeder.keep_from(7)

        state = Archiver(Via(server.url), tmp_path, tell=told.append).run(once=True)

    assert state.missing == (MissingRange(EURUSD, "store-1", "candles", 4, 6),)
    assert archived(tmp_path, EURUSD)[0] == [1, 2, 3, 7, 8]
    assert "candles 4 to 6 are missing" in told[0]


def test_a_log_made_anew_is_read_from_its_start_and_nothing_doubles(server: NatsServer, tmp_path: Path) -> None:
    with LogFeeder(server.url, make_stream=False) as feeder:
        for n in range(1, 6):
            feeder.add(EURUSD, candle_rows(n, 1))
        archive(server, tmp_path)
        feeder.ask("STREAM.DELETE.FLUX", {})
    with LogFeeder(server.url) as feeder:
        feeder.add(EURUSD, candle_rows(1, 7))

        archive(server, tmp_path)

    assert archived(tmp_path, EURUSD)[0] == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("looks_again", [True, False], ids=["before the new candles", "after them"])
def test_a_log_made_anew_while_it_is_read_is_read_from_its_start(
    server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looks_again: bool
) -> None:
    """Whether the reader is back in time for the first candles there, or comes behind them."""
    monkeypatch.setattr("fluxcap.bridge.archive.archiver.AGAIN_S", 0.05)
    monkeypatch.setattr("fluxcap.bridge.archive.archiver.CHECK_S", 60.0 if looks_again else 0.2)
    monkeypatch.setattr("fluxcap.bridge.jetstream.consumer.AFTER_A_LOSS_S", 0.05 if looks_again else 0.3)
    told: list[str] = []
    with LogFeeder(server.url, make_stream=False) as feeder:
        for n in range(1, 7):
            feeder.add(EURUSD, candle_rows(n, 1))
        with running(Archiver(Via(server.url), tmp_path, flush_s=0.0, tell=told.append)):
            await_that(lambda: archived(tmp_path, EURUSD)[0] == [1, 2, 3, 4, 5, 6], "the first log")
            feeder.ask("STREAM.DELETE.FLUX", {})
            feeder.ask("STREAM.CREATE.FLUX", stream_config())
            if looks_again:
                await_that(lambda: feeder.consumers == 1, "the reader on the new log")
            feeder.add(EURUSD, candle_rows(7, 2))
            await_that(lambda: archived(tmp_path, EURUSD)[0] == list(range(1, 9)), "the new log")

    assert told
    assert archive(server, tmp_path).messages == 0


def test_a_server_that_lost_its_newest_messages_hides_nothing(server: NatsServer, tmp_path: Path) -> None:
    folder, log, saved = tmp_path / "archive", server.folder / "log", tmp_path / "saved"
    with LogFeeder(server.url, make_stream=False) as feeder:
        for n in range(1, 4):
            feeder.add(EURUSD, candle_rows(n, 1))
        server.stop()
        shutil.copytree(log, saved)
        server.start()
        feeder.open()
        for n in range(4, 7):
            feeder.add(EURUSD, candle_rows(n, 1))
        archive(server, folder)
        server.stop()
        shutil.rmtree(log)
        shutil.copytree(saved, log)
        server.start()
        feeder.open()
        for n in range(1, 5):  # these stand where the lost ones stood
            feeder.add(AAPL, candle_rows(n, 1))
        for n in range(4, 8):
            feeder.add(EURUSD, candle_rows(n, 1), start=n)

        state = archive(server, folder)

    assert [archived(folder, key)[0] for key in (EURUSD, AAPL)] == [[1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4]]
    assert state.missing == ()


def test_only_the_wanted_source_and_symbol_are_archived(server: NatsServer, tmp_path: Path) -> None:
    with LogFeeder(server.url, make_stream=False) as feeder:
        for key in (EURUSD, AAPL, NUMBER):
            feeder.add(key, candle_rows(1, 2))

        Archiver(Via(server.url), tmp_path, source="DESK1", symbol=AAPL.symbol).run(once=True)
        chosen = [archived(tmp_path, key)[0] for key in (EURUSD, AAPL, NUMBER)]
        Archiver(Via(server.url), tmp_path).run(once=True)

    assert chosen == [[], [1, 2], []]
    assert [archived(tmp_path, key)[0] for key in (EURUSD, AAPL, NUMBER)] == [[1, 2]] * 3


def test_what_no_forwarder_put_there_is_passed_over(server: NatsServer, tmp_path: Path) -> None:
    with LogFeeder(server.url, make_stream=False) as feeder:
        feeder.put_raw(EURUSD, b"rubbish")
        far = candle_rows(1, 1)
        far["ts_ms"] = 1 << 60
        feeder.add(NUMBER, far)
        feeder.add(EURUSD, candle_rows(1, 2))

        state = archive(server, tmp_path)

    assert (state.foreign, archived(tmp_path, EURUSD)[0]) == (2, [1, 2])


def test_a_name_too_long_for_a_folder_is_passed_over_and_told_once(server: NatsServer, tmp_path: Path) -> None:
    told: list[str] = []
    with LogFeeder(server.url, make_stream=False) as feeder:
        for n in (1, 2):
            feeder.add(StreamKey("DESK1", "\N{BLACK CHESS KNIGHT}" * 40, "1m"), candle_rows(n, 1))
            feeder.add(EURUSD, candle_rows(n, 1))

        state = Archiver(Via(server.url), tmp_path, tell=told.append).run(once=True)

    assert (state.foreign, archived(tmp_path, EURUSD)[0]) == (2, [1, 2])
    assert len(told) == 1
    assert "too long" in told[0]


def test_what_is_read_again_after_a_change_of_store_is_not_told_as_missing(server: NatsServer, tmp_path: Path) -> None:
    with LogFeeder(server.url, "first", make_stream=False) as feeder:
        for n in range(1, 7):
            feeder.add(EURUSD, candle_rows(n, 1))
        feeder.replace_store("second")
        feeder.add(EURUSD, candle_rows(11, 2))
        archive(server, tmp_path)
        feeder.keep_from(4)

        state = archive(server, tmp_path, from_start=True)

    assert (state.messages, state.missing) == (4, ())


def test_once_ends_when_what_was_counted_is_purged_meanwhile(
    server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left of other streams is archived; servers (2.9, say) pass it over for a reader of all subjects."""
    monkeypatch.setattr("fluxcap.bridge.archive.archiver.POLL_S", 0.1)
    opened, purges, looks = PullConsumer.open, iter([True]), iter(range(100))
    with LogFeeder(server.url, make_stream=False) as feeder:
        feeder.add_many(EURUSD, candle_rows(1, 5))
        feeder.add_many(AAPL, candle_rows(1, 5))

        async def purged(reader: PullConsumer) -> None:
            await opened(reader)
            if next(purges, False):
                await asyncio.to_thread(feeder.ask, "STREAM.PURGE.FLUX", {"filter": subject(AAPL)})

        monkeypatch.setattr(PullConsumer, "open", purged)
        Archiver(Via(server.url), tmp_path).run(once=True, stopping=lambda: next(looks, None) is None)

    assert next(looks, None) is not None, "it had to be stopped"
    assert archived(tmp_path, EURUSD)[0] == [1, 2, 3, 4, 5]


def test_it_stops_at_once_while_a_server_hangs_that_was_met_over_tls(
    nats_server: Callable[..., NatsServer], tmp_path: Path
) -> None:
    cert, key = certificate(tmp_path)
    server, credentials = nats_server(f'tls {{ cert_file: "{cert}", key_file: "{key}" }}'), tmp_path / "trusting.toml"
    credentials.write_text(f'ca = "{cert.name}"\n')
    url, folder = server.url.replace("nats://", "tls://"), tmp_path / "archive"
    make_stream(parse_address(url, credentials))
    archiver = Archiver(Via(url, credentials), folder)
    archiving = threading.Thread(target=archiver.run, daemon=True)
    archiving.start()
    await_that(lambda: ask_log(parse_address(url, credentials), "CONSUMER.NAMES.FLUX")["consumers"], "the reader")

    server.pause()
    archiver.stop()
    archiving.join(PATIENCE_S)

    assert not archiving.is_alive()


def test_one_process_keeps_an_archive(server: NatsServer, tmp_path: Path) -> None:
    archiver = Archiver(Via(server.url), tmp_path)
    with running(archiver):
        await_that(lambda: (tmp_path / "_fluxcap" / "cursor.duckdb").exists(), "the cursor")
        with pytest.raises(StoreLocked, match="Another fluxcap archives"):
            archive(server, tmp_path)


def test_once_says_in_one_sentence_why_it_cannot(nats_server: Callable[..., NatsServer], tmp_path: Path) -> None:
    server = nats_server()
    with pytest.raises(NatsError, match="fluxcap forward --setup"):
        archive(server, tmp_path)
    server.stop()
    with pytest.raises(NatsUnavailable, match="is it running"):
        archive(server, tmp_path)


def test_the_command_archives_and_says_what_it_did(
    server: NatsServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with LogFeeder(server.url, make_stream=False) as feeder:
        feeder.add(EURUSD, candle_rows(1, 5))
    out = tmp_path / "archive"

    code = run_cli(["archive", "--via", server.url, "--out", str(out), "--once", "--json"])
    state = json.loads(capsys.readouterr().out)
    again = run_cli(["archive", "--via", server.url, "--out", str(out), "--once"])
    words = capsys.readouterr().out
    nothing = run_cli(["archive", "--out", str(out), "--once"])

    assert (code, again, nothing) == (0, 0, 2)
    assert (state["rows"], state["files"], state["messages"]) == (5, 1, 1)
    assert "Archived 0 rows in 0 files" in words
    assert "--via nats://HOST:PORT" in capsys.readouterr().err
