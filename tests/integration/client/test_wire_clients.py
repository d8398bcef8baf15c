"""Clients that the documents show, against real sockets: those with only the schema, and those of our Python API."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import zmq

from fluxcap.bridge.devserver.engine import DevEngine
from fluxcap.bridge.devserver.faults import Faults
from fluxcap.bridge.devserver.settings import DevSettings
from fluxcap.bridge.server.requests import RequestHandler
from fluxcap.schemas.candles import CandlePage, RevisionPage
from fluxcap.schemas.codec import decode, encode
from fluxcap.schemas.generate import SCHEMA_FOLDER
from fluxcap.schemas.types import BackfillCandlesRequest, BackfillCandlesResponse, CandleBatch, StreamKey, StreamStatus
from tests.golden.write_golden import GOLDEN_FOLDER
from tests.support.documents import CLIENTS, block
from tests.support.patience import PATIENCE_S, await_that
from tests.support.wire.node_workspace import NODE_SOURCES, node_workspace
from tests.support.wire.wire_samples import SAMPLES, sample_candles

KEY = StreamKey("POCKETOPTION", "EURUSD_otc", "1m")
PAGE = 10
STORED, PUBLISHED = 25, 28
"""Sequences that backfill has at first, and at the end; the one before the last is never published live."""
LIVE = 150
"""Candles of the real server, at 100 a second."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return node_workspace(tmp_path_factory.mktemp("node"))


def readme_example(language: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", (SCHEMA_FOLDER / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 1
    return blocks[0]


def page_after(sequence: int, latest: int) -> BackfillCandlesResponse:
    count = min(PAGE, latest - sequence)
    following = sequence + 1 + count
    return BackfillCandlesResponse(
        KEY, sequence + 1, sample_candles(count, first=sequence + 1), following <= latest, following
    )


def serve(publisher: zmq.Socket, responder: zmq.Socket, stop: threading.Event) -> None:
    """Backfill in pages; live batches over and over, out of order, with one missing."""
    latest = STORED
    live = [encode(CandleBatch(KEY, number, sample_candles(1, first=number))) for number in (26, PUBLISHED, 26)]
    while not stop.is_set():
        if responder.poll(20):
            identity, empty, payload = responder.recv_multipart()
            request = decode(payload).message
            assert isinstance(request, BackfillCandlesRequest)
            answer = page_after(request.from_sequence_exclusive or 0, latest)
            latest = latest if answer.has_more else PUBLISHED
            responder.send_multipart([identity, empty, encode(answer)])
        for batch in live:
            publisher.send_multipart([KEY.topic() + b"o", b"not for those who compare the whole topic"])
            publisher.send_multipart([KEY.topic(), batch])


@contextmanager
def server(
    serving: Callable[[zmq.Socket, zmq.Socket, threading.Event], None] = serve,
) -> Iterator[dict[str, str]]:
    """A server in a thread; gives the environment in which a client finds it."""
    context = zmq.Context()
    publisher, responder = context.socket(zmq.PUB), context.socket(zmq.ROUTER)
    ports = [socket.bind_to_random_port("tcp://127.0.0.1") for socket in (publisher, responder)]
    stop = threading.Event()
    thread = threading.Thread(target=serving, args=(publisher, responder, stop))
    thread.start()
    try:
        yield os.environ | {
            "FLUX_LIVE_PUB": f"tcp://127.0.0.1:{ports[0]}",
            "FLUX_CHUNK_REP": f"tcp://127.0.0.1:{ports[1]}",
            "FLUX_SOURCE_ID": KEY.source_id,
            "FLUX_INTERVAL": KEY.interval,
        }
    finally:
        stop.set()
        thread.join()
        context.destroy(linger=0)


@contextmanager
def dev_server(folder: Path) -> Iterator[tuple[DevEngine, dict[str, str]]]:
    """The product's own server, every third batch of which is stored and never published; and where it is."""
    ends = {"pub": "tcp://127.0.0.1:0", "rep": "tcp://127.0.0.1:0", "data_dir": str(folder)}
    settings = DevSettings(symbols=(KEY.symbol,), source=KEY.source_id, interval=KEY.interval, **ends)
    engine = DevEngine(msgspec.structs.replace(settings, history=STORED, tick_ms=10, broadcasting=False)).start()
    engine.set_faults(Faults(skip_every=3))
    try:
        yield (
            engine,
            os.environ
            | {
                "FLUX_LIVE_PUB": engine.endpoints[0],
                "FLUX_CHUNK_REP": engine.endpoints[1],
                "FLUX_SOURCE_ID": KEY.source_id,
                "FLUX_INTERVAL": KEY.interval,
            },
        )
    finally:
        engine.close()


def run_client(
    command: list[str], folder: Path, environment: dict[str, str], count: int = PUBLISHED, said: Sequence[str] = ()
) -> list[list[float]]:
    arguments = [*command, KEY.symbol, str(count)]
    result = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (result.returncode, result.stderr.splitlines()) == (0, list(said))
    return [[float(word) for word in line.split()] for line in result.stdout.splitlines()]


def expected_lines() -> list[list[float]]:
    rows = sample_candles(PUBLISHED, first=1).tolist()
    return [[float(number), *map(float, row[:6])] for number, row in enumerate(rows, start=1)]


def test_the_python_client_of_the_readme_prints_each_candle_once_and_in_order(tmp_path: Path):
    (tmp_path / "client.py").write_text(readme_example("python"))

    with server() as environment:
        path = {"PYTHONPATH": str(SCHEMA_FOLDER.parent)}
        lines = run_client([sys.executable, "client.py"], tmp_path, environment | path)

    assert lines == expected_lines()


def test_the_javascript_client_of_the_readme_prints_each_candle_once_and_in_order(node: Path):
    (node / "client.js").write_text(readme_example("js"))

    with server() as environment:
        lines = run_client(["node", "client.js"], node, environment)

    assert lines == expected_lines()


PRUNED = ((0, [6, 25]), (25, [36, 40]))
"""What a server that deletes old candles answers after a sequence: the first and the last it then has."""


class _PrunedPages:
    """Pages of ``PRUNED``, for the product's own request handler."""

    def page(self, key: StreamKey, after_sequence: int | None, end_ts_ms: int | None, limit: int) -> CandlePage:
        first, last = max(row for row in PRUNED if row[0] <= (after_sequence or 0))[1]
        start = max(first, (after_sequence or 0) + 1)
        return CandlePage(start, sample_candles(max(0, last + 1 - start), first=start))

    def revisions(self, key: StreamKey, after_revision: int | None, limit: int) -> RevisionPage:
        raise AssertionError("it asks for no revisions")


def serve_pruned(publisher: zmq.Socket, responder: zmq.Socket, stop: threading.Event) -> None:
    """Live batches 40 and 41 over and over; candles 1 to 5 were deleted before the client came, 26 to 35 later."""
    handler = RequestHandler(_PrunedPages(), lambda: {KEY: StreamStatus(KEY, latest_sequence=41)}, lambda: 0)
    live = [encode(CandleBatch(KEY, number, sample_candles(1, first=number))) for number in (40, 41)]
    while not stop.is_set():
        if responder.poll(20):
            identity, empty, payload = responder.recv_multipart()
            responder.send_multipart([identity, empty, handler.handle(payload)])
        for batch in live:
            publisher.send_multipart([KEY.topic(), batch])


@pytest.mark.parametrize("language", ["python", "js"])
def test_a_client_of_the_readme_passes_over_what_the_server_keeps_no_more(
    language: str, tmp_path: Path, request: pytest.FixtureRequest
):
    folder = request.getfixturevalue("node") if language == "js" else tmp_path
    command = ["node", "pruned.js"] if language == "js" else [sys.executable, "pruned.py"]
    (folder / command[1]).write_text(readme_example(language))

    with server(serve_pruned) as environment:
        path = {"PYTHONPATH": str(SCHEMA_FOLDER.parent)}
        skipped = ["not kept any more: 1 to 5", "not kept any more: 26 to 35"]
        lines = run_client(command, folder, environment | path, 41, said=skipped)

    assert [line[0] for line in lines] == [*range(6, 26), *range(36, 42)]


@pytest.mark.parametrize("language", ["python", "js"])
def test_a_client_of_the_readme_merges_what_the_real_server_did_not_send(
    language: str, tmp_path: Path, request: pytest.FixtureRequest
):
    folder = request.getfixturevalue("node") if language == "js" else tmp_path
    command = ["node", "live.js"] if language == "js" else [sys.executable, "live.py"]
    (folder / command[1]).write_text(readme_example(language))

    with dev_server(tmp_path / "data") as (engine, environment):
        path = {"PYTHONPATH": str(SCHEMA_FOLDER.parent)}
        with ThreadPoolExecutor(1) as client:
            running = client.submit(run_client, command, folder, environment | path, LIVE)
            # Only when it has its history, so that it hears gaps open.
            await_that(lambda: engine.counters().get("answers") or running.done(), "its request")
            engine.set_broadcasting(True)
            lines = running.result()
        counters, (first, candles) = engine.counters(), engine.truth(KEY)

    truth = [[float(number), *map(float, row[:6])] for number, row in enumerate(candles.tolist(), start=first)]
    assert lines[:LIVE] == truth[:LIVE]
    assert counters["dropped_candles"] > 10
    assert counters["requests"] > 3


def test_the_examples_of_our_python_client_run_as_they_stand(tmp_path: Path):
    live = block(CLIENTS, "python", "with LiveClient").replace("timeout=5", "timeout=1")
    fetch = block(CLIENTS, "python", "export_candles")

    with dev_server(tmp_path / "data") as (engine, environment):
        await_that(lambda: engine.truth(KEY)[1].size == STORED, "its history")
        path = {"PYTHONPATH": str(SCHEMA_FOLDER.parent)}
        heard, fetched = (
            subprocess.run(
                [sys.executable, "-c", code],
                cwd=tmp_path,
                env=environment | path,
                capture_output=True,
                text=True,
                timeout=PATIENCE_S,
            )
            for code in (live, fetch)
        )

    assert (heard.returncode, heard.stderr) == (0, "")
    assert heard.stdout.count("Live") + heard.stdout.count("Idle") > 0
    assert any(line.startswith("1 [") for line in heard.stdout.splitlines())
    assert (fetched.returncode, fetched.stderr) == (0, "")
    assert fetched.stdout.splitlines() == [f"['{KEY.symbol}']", str(STORED)]
    assert (tmp_path / "eurusd.parquet").stat().st_size > 0


def test_javascript_reads_every_golden_message(node: Path):
    script = node / "read_messages.js"
    script.write_text((NODE_SOURCES / "read_messages.js").read_text())

    result = subprocess.run(["node", str(script), str(GOLDEN_FOLDER)], capture_output=True, text=True, check=True)

    assert json.loads(result.stdout) == {
        name: json.loads((GOLDEN_FOLDER / f"{name}.json").read_text()) for name in SAMPLES
    }
