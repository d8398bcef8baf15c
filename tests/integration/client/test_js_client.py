"""The package for Node (schemas/js) against the real wire server: the scenarios of the Python client, and its codec."""

from __future__ import annotations

import base64
import json
import os
import queue
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from fluxcap.bridge.devserver.engine import DevEngine
from fluxcap.bridge.devserver.faults import Faults
from fluxcap.bridge.devserver.settings import DevSettings
from fluxcap.schemas.codec import decode
from fluxcap.schemas.generate import SCHEMA_FOLDER
from fluxcap.schemas.types import FeedState, StreamKey
from tests.golden.write_golden import GOLDEN_FOLDER
from tests.integration.client.test_live_client import KEY, OTHER, Mute, Server, candles
from tests.support.patience import PATIENCE_S
from tests.support.wire.node_workspace import NODE_SOURCES, node_packages
from tests.support.wire.version1_server import Version1Server
from tests.support.wire.wire_samples import SAMPLES

Event = dict[str, Any]
PACKAGE = SCHEMA_FOLDER / "js"
BEAT_S = 0.3


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package and what it needs; skips where Node or its packages cannot be had."""
    folder = node_packages(tmp_path_factory.mktemp("node"))
    shutil.copytree(PACKAGE, folder / "fluxcap")
    shutil.copy(NODE_SOURCES / "js_client.mjs", folder)
    return folder


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path / "server")
    yield running
    running.wire.close()


def js_key(key: StreamKey) -> dict[str, str]:
    return {"source": key.source_id, "symbol": key.symbol, "interval": key.interval}


class JsClient:
    """A client in a process of its own, and the events it has printed."""

    def __init__(self, folder: Path, options: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            ["node", "js_client.mjs", json.dumps(options)],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        self.events: list[Event] = []

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(json.loads(line))

    def until(self, wanted: Callable[[Event], bool], server: Server | None = None) -> list[Event]:
        """Events up to and with the first that is wanted; heartbeats go out meanwhile."""
        seen: list[Event] = []
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            try:
                seen.append(self._lines.get(timeout=BEAT_S))
            except queue.Empty:
                if server is not None:
                    server.beat()
                continue
            if wanted(seen[-1]):
                self.events += seen
                return seen
        raise AssertionError(f"it did not come; the last were {seen[-5:]}")

    def close(self) -> int:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._thread.join(PATIENCE_S)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return self._process.wait(PATIENCE_S)


@contextmanager
def js_client(folder: Path, ends: Server | Version1Server | tuple[str, str], **options: Any) -> Iterator[JsClient]:
    pub, rep = ends if isinstance(ends, tuple) else (ends.pub, ends.rep)
    client = JsClient(folder, {"pub": pub, "rep": rep, "streams": [js_key(KEY)], **options})
    try:
        yield client
    finally:
        assert client.close() == 0


def is_a(kind: str) -> Callable[[Event], bool]:
    return lambda event: event["type"] == kind


def reaches(sequence: int) -> Callable[[Event], bool]:
    return lambda event: event["type"] == "candles" and event["startSequence"] + len(event["candles"]) - 1 >= sequence


def sequences(events: list[Event]) -> list[int]:
    found = [event for event in events if event["type"] == "candles"]
    return [event["startSequence"] + index for event in found for index in range(len(event["candles"]))]


def test_history_then_live_in_one_unbroken_sequence(server: Server, node: Path) -> None:
    server.add(25_000)
    with js_client(node, server) as client:
        client.until(is_a("caughtUp"))
        server.add(1)
        client.until(reaches(25_001), server)

    told = [candle for event in client.events if event["type"] == "candles" for candle in event["candles"]]
    assert sequences(client.events) == list(range(1, 25_002))
    assert [candle["tsMs"] for candle in told] == candles(1, 25_001)["ts_ms"].tolist()


def test_a_restarted_client_goes_on_where_it_stopped(server: Server, node: Path) -> None:
    server.add(10)
    with js_client(node, server) as client:
        *_, last = client.until(reaches(10), server)
    server.add(5)

    with js_client(node, server, cursors={str(KEY): last["cursor"]}) as client:
        client.until(reaches(15), server)

    assert sequences(client.events) == [11, 12, 13, 14, 15]


def test_a_lost_last_batch_is_noticed_by_the_next_heartbeat(
    server: Server, node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add(5)
    with js_client(node, server) as client:
        client.until(is_a("caughtUp"))
        monkeypatch.setattr(Mute, "silent", True)
        server.add(3)
        client.until(reaches(8), server)

    assert sequences(client.events) == list(range(1, 9))


def test_a_server_restart_with_its_store_goes_unnoticed_but_for_health(
    server: Server, node: Path, tmp_path: Path
) -> None:
    server.add(5)
    with js_client(node, server) as client:
        client.until(is_a("caughtUp"))
        server.wire.close()
        client.until(lambda event: event["type"] == "health" and event["health"]["state"] == "disconnected")
        again = Server(tmp_path / "server", server.pub, server.rep)
        try:
            again.add(2)
            client.until(reaches(7), again)
        finally:
            again.wire.close()

    assert sequences(client.events) == list(range(1, 8))
    assert not [event for event in client.events if event["type"] == "storeReplaced"]


def test_a_store_created_anew_starts_the_stream_over(server: Server, node: Path, tmp_path: Path) -> None:
    server.add(5)
    with js_client(node, server) as client:
        client.until(is_a("caughtUp"))
        server.wire.close()
        other = Server(tmp_path / "other", server.pub, server.rep)
        try:
            other.add(3)
            *_, replaced = client.until(is_a("storeReplaced"), other)
            client.until(reaches(3), other)
            store_id = other.wire.store.store_id
        finally:
            other.wire.close()

    assert replaced["storeId"] == store_id
    assert sequences(client.events) == [1, 2, 3, 4, 5, 1, 2, 3]


def test_it_has_caught_up_only_once_a_stream_that_starts_over_was_fetched(server: Server, node: Path) -> None:
    server.add(10)
    with js_client(node, server) as client:
        *_, last = client.until(reaches(10), server)
    server.add(5)
    of_a_backup = last["cursor"] | {"latestTsMs": last["cursor"]["latestTsMs"] - 60_000}

    with js_client(node, server, cursors={str(KEY): of_a_backup}) as client:
        *_, caught_up = client.until(is_a("caughtUp"), server)

    assert [event for event in client.events if event["type"] == "storeReplaced"]
    assert caught_up["sequence"] == 15
    assert sequences(client.events) == list(range(1, 16))


def test_revisions_are_told_live_and_those_that_were_missed_too(server: Server, node: Path) -> None:
    server.add(5)
    with js_client(node, server) as client:
        client.until(is_a("caughtUp"), server)
        better = candles(3, 1)
        better["close"] = 3.0
        better["high"] = 9.0
        server.wire.revise({KEY: better})
        *_, live = client.until(is_a("revision"), server)
    better["high"] = 10.0
    server.wire.revise({KEY: better})

    with js_client(node, server, cursors={str(KEY): live["cursor"]}) as client:
        *_, missed = client.until(is_a("revision"), server)

    assert (live["startRevision"], live["sequences"], live["candles"][0]["high"]) == (1, [3], 9)
    assert (missed["startRevision"], missed["sequences"], missed["candles"][0]["high"]) == (2, [3], 10)


def test_the_candle_under_way_is_told_and_can_be_left_out(server: Server, node: Path) -> None:
    server.add(1)
    (candle,) = candles_as_values(2)
    with js_client(node, server) as client, js_client(node, server, forming=False) as other:
        client.until(is_a("caughtUp"), server)
        other.until(is_a("caughtUp"), server)
        server.wire.forming(KEY, candle, time.monotonic_ns())
        *_, forming = client.until(is_a("forming"))
        server.add(1)
        other.until(reaches(2), server)

    assert forming["candle"]["tsMs"] == candle.ts_ms
    assert not [event for event in other.events if event["type"] == "forming"]


def candles_as_values(number: int) -> Iterator[Any]:
    from fluxcap.schemas.types import candles_from

    return candles_from(candles(number, 1))


def test_health_follows_the_servers_feed_and_notices_silence(server: Server, node: Path) -> None:
    def state(name: str, reason: str) -> Callable[[Event], bool]:
        return lambda event: (
            event["type"] == "health" and event["health"]["state"] == name and reason in event["health"]["reason"]
        )

    server.add(1)
    with js_client(node, server) as client:
        client.until(is_a("caughtUp"), server)
        server.beat(FeedState.NO_BROWSER)
        client.until(state("stalled", "no browser"))
        server.beat(99)  # of a newer server
        client.until(lambda event: event["type"] == "health" and event["health"]["feedState"] == "unknown")
        client.until(state("stalled", "no heartbeat"))


def test_a_stream_that_comes_later_is_awaited(server: Server, node: Path) -> None:
    with js_client(node, server, streams=[js_key(OTHER)]) as client:
        client.until(lambda event: event["type"] == "health" and "no such stream" in event["health"]["reason"])
        server.add(2, OTHER)
        client.until(reaches(2), server)

    assert sequences(client.events) == [1, 2]


STARTS = (("earliest", 1), ("latest", 21), (15, 15), (-3, 18))


@pytest.mark.parametrize(("start", "first"), STARTS)
def test_where_it_begins_can_be_chosen(server: Server, node: Path, start: str | int, first: int) -> None:
    server.add(20)
    with js_client(node, server, startFrom=start) as client:
        client.until(is_a("caughtUp"), server)
        server.add(1)
        client.until(reaches(21), server)

    assert sequences(client.events) == list(range(first, 22))


def test_a_server_of_version_1_will_do_and_its_lost_last_batch_is_found(node: Path) -> None:
    with Version1Server(KEY) as old:
        old.publish(candles(1, 250))
        with js_client(node, old) as client:
            client.until(reaches(250))
            old.publish(candles(251, 1), lost=True)
            client.until(reaches(251))

    assert sequences(client.events) == list(range(1, 252))


def test_what_the_server_did_not_send_is_fetched_while_live_goes_on(node: Path, tmp_path: Path) -> None:
    ends = {"pub": "tcp://127.0.0.1:0", "rep": "tcp://127.0.0.1:0", "data_dir": str(tmp_path)}
    settings = DevSettings(symbols=(KEY.symbol,), source=KEY.source_id, interval=KEY.interval, **ends)
    engine = DevEngine(msgspec.structs.replace(settings, history=25, tick_ms=10, broadcasting=False)).start()
    engine.set_faults(Faults(skip_every=3, duplicate_percent=10, reorder_percent=10, garbage_percent=5))
    try:
        with js_client(node, engine.endpoints) as client:
            client.until(is_a("caughtUp"))
            engine.set_broadcasting(True)
            client.until(reaches(150))
        first, truth = engine.truth(KEY)
    finally:
        engine.close()

    told = [candle for event in client.events if event["type"] == "candles" for candle in event["candles"]]
    assert sequences(client.events) == list(range(first, first + len(told)))
    assert [(candle["tsMs"], candle["close"]) for candle in told] == truth[["ts_ms", "close"]].tolist()[: len(told)]


def ask(node: Path, name: str, key: StreamKey, options: dict[str, Any]) -> Any:
    command = ["node", "js_client.mjs", "--ask", name, json.dumps(js_key(key)), json.dumps(options)]
    return json.loads(subprocess.run(command, cwd=node, capture_output=True, text=True, check=True).stdout)


def test_one_shot_questions(server: Server, node: Path) -> None:
    server.add(30)
    options = {"rep": server.rep, "pageLimit": 7}

    fetched = ask(node, "backfill", KEY, options | {"fromSequenceExclusive": 4})

    assert fetched["sequences"] == list(range(5, 31))
    assert [candle["tsMs"] for candle in fetched["candles"]] == candles(5, 26)["ts_ms"].tolist()
    assert ask(node, "fetchStatus", KEY, options)["latestSequence"] == 30
    assert [status["key"]["symbol"] for status in ask(node, "listStreams", KEY, options)] == [KEY.symbol]
    assert ask(node, "fetchStatus", OTHER, options) == {"error": "WireError", "code": 404}


def snake(value: Any) -> Any:
    """As ``flatc --json`` has it, without what is absent."""
    if isinstance(value, list):
        return [snake(one) for one in value]
    if not isinstance(value, dict):
        return value
    names = {name: re.sub("[A-Z]", lambda match: "_" + match[0].lower(), name) for name in value}
    names |= {"source": "source_id"}
    return {names[name]: snake(one) for name, one in value.items() if one not in ("", [])}


def without_absent(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_absent(one) for name, one in value.items() if one not in ("", [])}
    return [without_absent(one) for one in value] if isinstance(value, list) else value


def test_every_golden_message_is_read_and_what_is_written_reads_back_the_same(node: Path) -> None:
    command = ["node", "js_client.mjs", "--golden", str(GOLDEN_FOLDER)]
    lines = subprocess.run(command, cwd=node, capture_output=True, text=True, check=True).stdout.splitlines()

    told = {line["name"]: line for line in map(json.loads, lines)}
    assert told.keys() == SAMPLES.keys()
    for name, line in told.items():
        golden = json.loads((GOLDEN_FOLDER / f"{name}.json").read_text())
        assert (line["type"], line["schemaVersion"]) == (golden["message_type"], golden["schema_version"])
        assert snake(line["message"]) == without_absent(golden["message"]), name
        written = decode(base64.b64decode(line["again"]))
        original = decode((GOLDEN_FOLDER / f"{name}.bin").read_bytes())
        assert repr(written) == repr(original), name


def test_damaged_messages_are_an_error_of_the_codec_and_nothing_else(node: Path) -> None:
    command = ["node", "js_client.mjs", "--garbage", str(GOLDEN_FOLDER)]
    told = json.loads(subprocess.run(command, cwd=node, capture_output=True, text=True, check=True).stdout)

    assert told.keys() == {"CodecError"}
    assert told["CodecError"] > 1_000


def test_the_example_of_the_readme_runs_and_the_types_are_sound(server: Server, node: Path) -> None:
    (example,) = re.findall(r"```js\n(.*?)```", (PACKAGE / "README.md").read_text(), re.DOTALL)
    example = example.replace('"fluxcap"', '"./fluxcap/index.js"').replace("POCKETOPTION", KEY.source_id)
    example = example.replace("EURUSD_otc", KEY.symbol).replace('"1m"', f'"{KEY.interval}"')
    (node / "example.mjs").write_text(example)
    (node / "example.mts").write_text(example)
    server.add(3)
    environment = os.environ | {"FLUX_LIVE_PUB": server.pub, "FLUX_CHUNK_REP": server.rep}

    compiler = str(node / "node_modules" / "typescript" / "bin" / "tsc")
    options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "--target", "es2022"]
    checked = subprocess.run(["node", compiler, *options, "example.mts"], cwd=node, capture_output=True, text=True)
    with subprocess.Popen(
        ["node", "example.mjs"],
        cwd=node,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as running:
        assert running.stdout is not None
        told = ""
        while "tsMs: 3000" not in told:
            told += running.stdout.readline()
        running.kill()

    assert "1 [" in told
    assert [line for line in checked.stdout.splitlines() if "console" not in line] == []


def test_the_package_is_ready_for_npm_and_no_part_of_the_wheel() -> None:
    manifest = json.loads((PACKAGE / "package.json").read_text())
    project = (SCHEMA_FOLDER.parent / "pyproject.toml").read_text()

    assert manifest["type"] == "module"
    assert {manifest["main"], manifest["types"]} == {"./index.js", "./index.d.ts"}
    assert all((PACKAGE / name).is_file() for name in ("index.js", "index.d.ts", "README.md"))
    assert f'version = "{manifest["version"]}"' in project
    assert '"/schemas/js"' in project
    assert np.all([path.suffix in (".js", ".ts", ".md", ".json") for path in PACKAGE.iterdir()])
