"""``fluxcap forward`` and ``fluxcap run --forward``, as their users meet them."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from fluxcap.bridge.jetstream.subjects import STREAM_NAME
from fluxcap.bridge.server.server import WireServer
from fluxcap.bridge.store.store import Store
from fluxcap.capture.cli.app import run_cli
from fluxcap.capture.daemon.daemon import Daemon
from fluxcap.capture.runtime.settings import load_settings
from fluxcap.schemas.types import CandleBatch, StreamKey
from tests.support.daemon.live_rig import NOBODY, Process
from tests.support.nats.forward_rig import (
    ask_log,
    assert_log_is_store,
    fold,
    make_stream,
    minutes,
    parse_address,
    read_log,
)
from tests.support.nats.nats_rig import NatsServer
from tests.support.patience import await_that

KEY = StreamKey("DESK", "EURUSD_otc", "1m")


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def server(nats_server: Callable[..., NatsServer]) -> NatsServer:
    return nats_server()


def test_setup_makes_the_stream_and_then_finds_it_as_it_should_be(
    server: NatsServer, capsys: pytest.CaptureFixture[str]
):
    assert run_cli(["forward", server.url, "--setup", "--max-age", "30d", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert run_cli(["forward", server.url, "--setup", "--max-age", "30d"]) == 0

    assert (made["done"], made["stream"], made["differences"]) == ("created", STREAM_NAME, [])
    assert made["settings"]["storage"] == "file"
    assert made["settings"]["subjects"] == ["flux.candles.>"]
    assert "FLUX: unchanged; 1 copy, as safe as that one server, in file, age: 30d" in capsys.readouterr().out


def test_setup_says_what_differs_and_changes_it_when_told_to(server: NatsServer, capsys: pytest.CaptureFixture[str]):
    assert run_cli(["forward", server.url, "--setup"]) == 0
    capsys.readouterr()
    wish = ["forward", server.url, "--setup", "--max-age", "7d", "--max-bytes", "1G", "--duplicate-window", "5m"]

    assert run_cli(wish) == 1
    told = capsys.readouterr().out
    assert run_cli([*wish, "--change"]) == 0

    assert "max_age is no limit, should be 7d" in told
    assert "duplicate_window is 2m, should be 5m" in told
    assert "--change" in told
    config = ask_log(parse_address(server.url), f"STREAM.INFO.{STREAM_NAME}")["config"]
    assert (config["max_bytes"], config["duplicate_window"]) == (2**30, 300 * 10**9)


def test_setup_cannot_change_everything(server: NatsServer, capsys: pytest.CaptureFixture[str]):
    address = parse_address(server.url)
    ask_log(address, "STREAM.CREATE.MINE", {"name": "MINE", "subjects": ["flux.candles.>"], "storage": "memory"})

    assert run_cli(["forward", server.url, "--setup", "--nats-stream", "MINE", "--change"]) == 1
    assert "storage is memory, should be file (cannot be changed" in capsys.readouterr().out
    assert run_cli(["forward", server.url, "--setup"]) == 1  # another stream has these subjects

    assert "subjects overlap" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--setup", "--replicas", "3"], 1, "replicas"),
        (["--setup", "--max-age", "soon"], 2, "no length of time"),
        (["--setup", "--nats-stream", "a.b"], 2, "nats_stream"),
        (["--once"], 2, "No fluxcap is running on /"),
    ],
)
def test_wrong_use_is_told_in_a_sentence(
    server: NatsServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    sentence: str,
):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))  # where no test before has left a store

    assert run_cli(["forward", server.url, *arguments]) == code
    assert sentence in capsys.readouterr().err


@pytest.fixture
def left_behind(tmp_path: Path) -> Path:
    """The data folder of a daemon that has ended."""
    with Store.open(tmp_path / "data" / "fluxcap.duckdb") as store:
        store.commit([CandleBatch(KEY, 1, minutes(1, 700))])
    return tmp_path / "data"


def test_the_store_of_a_stopped_daemon_is_forwarded_and_that_is_all(
    server: NatsServer, left_behind: Path, capsys: pytest.CaptureFixture[str]
):
    address = parse_address(server.url)
    make_stream(address)

    assert run_cli(["forward", server.url, "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert run_cli(["forward", server.url, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)

    assert (first["state"], first["behind"], first["counters"]["candles"]) == ("up to date", 0, 700)
    assert again["counters"] == {}
    assert fold(read_log(address)[KEY]).tobytes() == minutes(1, 700).tobytes()


def test_without_the_stream_it_says_what_to_do(
    server: NatsServer, left_behind: Path, capsys: pytest.CaptureFixture[str]
):
    assert run_cli(["forward", server.url]) == 1
    assert "fluxcap forward --setup" in capsys.readouterr().err.splitlines()[-1]


def test_beside_a_running_server_it_goes_on_until_it_is_told_to_stop(server: NatsServer, tmp_path: Path):
    address = parse_address(server.url)
    make_stream(address)
    with WireServer(tmp_path / "s.duckdb", "tcp://127.0.0.1:0", "tcp://127.0.0.1:0") as wire:
        wire.publish({KEY: minutes(1, 600)})
        where = ("--pub", wire.pub_endpoint, "--rep", wire.rep_endpoint, "--data-dir", str(tmp_path / "beside"))
        forward = Process(tmp_path / "forward", "forward", server.url, *where, "--log-json")
        try:
            await_that(lambda: read_log(address), "the first candles on the log")
            wire.publish({KEY: minutes(601, 605)})
            wire.heartbeat(1)
            await_that(lambda: len(read_log(address)[KEY]) > 2, "the newest candles on the log")
            code, took_s = forward.end(signal.SIGTERM)
        finally:
            forward.discard()

        assert code == 0
        assert took_s < 30
        assert [json.loads(line)["event"] for line in forward.err.splitlines()] == [
            "forward.connected",
            "forward.stopped",
        ]
        assert_log_is_store(address, wire)


def test_the_daemon_forwards_says_so_and_keeps_secrets(
    nats_server: Callable[..., NatsServer], tmp_path: Path, logged: list[str]
):
    secret = tmp_path / "desk.toml"
    secret.write_text('user = "desk"\npassword = "s3cret"\n')
    server = nats_server('authorization { user: "desk", password: "s3cret" }')
    address = parse_address(server.url, secret)
    make_stream(address)
    settings = load_settings(
        chrome=f"127.0.0.1:{NOBODY}",
        data_dir=tmp_path / "data",
        pub="tcp://127.0.0.1:0",
        rep="tcp://127.0.0.1:0",
        web=False,
        control_port=0,
        forward=server.url,
        nats_credentials=secret,
    )

    with Daemon(settings) as daemon:
        daemon.pipeline.call(lambda: daemon.server.publish({KEY: minutes(1, 5)}))
        await_that(lambda: daemon.status().forward.counters.get("candles") == 5, "five candles on the log")  # type: ignore[union-attr]
        with httpx.Client(base_url=daemon.identity.control, trust_env=False, verify=False) as control:
            status, metrics = control.get("/api/status"), control.get("/metrics").text
        daemon.pipeline.call(lambda: daemon.server.publish({KEY: minutes(6, 6)}))

    assert status.json()["forward"]["log"] == server.url
    assert 'fluxcap_forwarded_total{kind="candles"} 5.0' in metrics
    assert "fluxcap_forward_behind 0.0" in metrics
    assert "s3cret" not in status.text + metrics
    assert "forward.connected" in logged
    assert fold(read_log(address)[KEY]).tobytes() == minutes(1, 6).tobytes()
