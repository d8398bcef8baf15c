"""The commands on files against a running daemon and a stopped one, as a user would meet them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fluxcap.capture.cli.app import run_cli
from fluxcap.capture.daemon.daemon import Daemon
from fluxcap.capture.runtime.settings import Settings
from fluxcap.schemas.types import Gap, StreamKey
from tests.support.wire.samples import MINUTE, candle, candles

KEY = StreamKey("SIM", "EURUSD_otc", "1m")
ROWS = {"candles": 11, "revisions": 1, "gaps": 2}
"""Ten candles of 1m, and the first whole one of 5m that was made of them."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def daemon(folder: Path) -> Iterator[Daemon]:
    """A daemon without a browser, with ten candles, a revision and a gap."""
    settings = Settings(
        data_dir=folder / "data",
        source="SIM",
        chrome="127.0.0.1:1",
        pub="tcp://127.0.0.1:0",
        rep="tcp://127.0.0.1:0",
        web=False,
        control_port=0,
    )
    with Daemon(settings) as running:
        running.pipeline.call(lambda: fill(running))
        yield running


def fill(daemon: Daemon) -> None:
    daemon.server.publish({KEY: candles(1, 10)})
    daemon.server.revise({KEY: [candle(3, 1.9)]})
    daemon.server.record_gaps(
        [Gap("SIM", "EURUSD_otc", MINUTE, 90_000, "tab closed"), Gap("SIM", "EURUSD_otc", 9 * MINUTE, 0, "tab frozen")]
    )


class Ran:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def fluxcap(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: str) -> Ran:
        code = run_cli(list(arguments))
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


def test_collect_mode_is_shown_and_changed(daemon: Daemon, fluxcap: Any) -> None:
    shown = fluxcap("collect-mode", "--json")
    changed = fluxcap("collect-mode", "both", "--tick-chunk-size", "7", "--json")
    seen = fluxcap("status", "--json")

    assert shown.json["mode"] == "none"
    assert (changed.json["mode"], changed.json["tick_chunk_size"]) == ("both", 7)
    assert seen.json["collect"] == changed.json
    assert "collecting  both, 7 ticks" in fluxcap("collect-mode").out
    assert "collecting both" in fluxcap("status").out


@pytest.mark.parametrize("of", ["running", "stopped"])
def test_gaps_say_from_when_to_when_and_why(daemon: Daemon, fluxcap: Any, of: str) -> None:
    if of == "stopped":
        daemon.stop()
    listed, as_json = fluxcap("gaps"), fluxcap("gaps", "--json")

    assert "1970-01-01 00:01:00.000" in listed.out
    assert "30.0s" in listed.out
    assert "not over yet" in listed.out
    assert [(gap["from_ms"], gap["to_ms"], gap["open"], gap["reason"]) for gap in as_json.json] == [
        (MINUTE, 90_000, False, "tab closed"),
        (9 * MINUTE, None, True, "tab frozen"),
    ]


def test_gaps_can_be_chosen_and_none_is_said(daemon: Daemon, fluxcap: Any) -> None:
    assert len(fluxcap("gaps", "--to", "1970-01-01T00:02", "--symbol", "eurusd otc", "--json").json) == 1
    assert fluxcap("gaps", "--from", "1970-01-01T00:02", "--to", "1970-01-01T00:03").out == "No gaps.\n"


@pytest.mark.parametrize(("of", "through"), [("running", "daemon"), ("stopped", "store")])
def test_export_reads_the_daemon_that_runs_and_the_store_of_one_that_does_not(
    daemon: Daemon, fluxcap: Any, of: str, through: str
) -> None:
    if of == "stopped":
        daemon.stop()

    ran = {what: fluxcap("export", what, "--out", f"{what}.csv", "--json") for what in ROWS}

    assert {what: (one.code, one.err, one.json["rows"], one.json["through"]) for what, one in ran.items()} == {
        what: (0, "", rows, through) for what, rows in ROWS.items()
    }
    assert {what: len(Path(f"{what}.csv").read_text().splitlines()) - 1 for what in ROWS} == ROWS


def test_export_says_what_it_wrote(daemon: Daemon, fluxcap: Any) -> None:
    ran = fluxcap("export", "candles", "-o", "x.parquet", "--from", "1970-01-01T00:05")

    assert ran.out.startswith("Wrote 7 candles of 2 streams to x.parquet (")
    assert ran.out.endswith("read from the daemon.\n")


def test_backfill_writes_what_the_server_has(daemon: Daemon, fluxcap: Any) -> None:
    rep = daemon.server.rep_endpoint

    ran = fluxcap("backfill", "SIM", "EURUSD_otc", "1m", "--out", "b.csv", "--rep", rep, "--from", "4", "--json")

    assert ran.json["rows"] == 7
    assert Path("b.csv").read_text().splitlines()[1].startswith("1970-01-01T00:04:00.000Z,")


def test_backfill_of_an_unknown_stream_says_which_there_are(daemon: Daemon, fluxcap: Any) -> None:
    ran = fluxcap("backfill", "SIM", "EURUSD", "1m", "--out", "b.csv", "--rep", daemon.server.rep_endpoint)

    assert ran.code == 2
    assert "it has SIM.EURUSD_otc.1m" in ran.err
    assert not Path("b.csv").exists()


def test_verify_is_sound_only_when_it_can_be_told(daemon: Daemon, fluxcap: Any) -> None:
    running = fluxcap("verify", "--json")
    daemon.stop()
    stopped = fluxcap("verify", "--json")
    said = fluxcap("verify")

    assert (running.code, running.json["verdict"]) == (2, "cannot_tell")
    assert (stopped.code, stopped.json["verdict"], stopped.json["findings"]) == (0, "sound", [])
    assert said.out.startswith("Sound: ")


def test_verify_tells_damage(daemon: Daemon, fluxcap: Any) -> None:
    daemon.stop()
    ticks = Path("data/data_output/assets_data/realtime_stream/1M_tick_data")
    ticks.mkdir(parents=True)
    (ticks / "EURUSD_otc_ticks_2026_11_21_23_54_26_part001.csv").write_text("timestamp,asset,price\nnonsense\n")

    ran = fluxcap("verify")

    assert ran.code == 1
    assert "DAMAGE: " in ran.out
    assert "Line 2 has 1 columns in place of 3." in ran.out


def test_keys_are_made_once(folder: Path, fluxcap: Any) -> None:
    made, again = fluxcap("keys", "k", "--json"), fluxcap("keys", "k")

    assert sorted(made.json) == sorted(str(path) for path in Path("k").iterdir())
    assert again.code == 2
    assert "never overwritten" in again.err


def test_metrics_are_served_and_commits_timed(daemon: Daemon) -> None:
    text = httpx.get(f"{daemon.identity.control}/metrics", trust_env=False, verify=False).text

    samples = {
        (sample.name, sample.labels.get("stream", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["fluxcap_candles_total", str(KEY)] == 10
    assert samples["fluxcap_revisions_total", str(KEY)] == 1
    assert samples["fluxcap_commit_seconds_count", ""] == 1
    assert samples["fluxcap_chrome_attached", ""] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("export", "candles", "-o", "c.csv"), 2, r"There is no store in \S+data: nothing has been captured there\."),
        (("export", "ticks", "-o", "c.csv"), 2, r"There are no tick files in \S+data\."),
        (("export", "everything", "-o", "c.csv"), 2, "choose candles, ticks, gaps or revisions"),
        (("export", "candles"), 2, "Missing option '--out'"),
        (("export", "candles", "-o", "c.csv", "--from", "noon"), 2, "'noon' is no time"),
        (("export", "candles", "-o", "c.csv", "--from", "2026-11-22", "--to", "2026-11-22"), 2, "--to must be later"),
        (("gaps",), 2, r"There is no store in \S+data"),
        (("verify",), 2, r"Nothing to verify in \S+data"),
        (("collect-mode", "ticks"), 2, "choose tick, candle, both or none"),
        (("collect-mode", "tick", "--control", "127.0.0.1:1"), 1, "start one with `fluxcap run`"),
        (("backfill", "SIM", "EURUSD_otc", "1x", "-o", "c.csv"), 2, "'1x' is not an interval"),
        (("backfill", "SIM", "EURUSD_otc", "1m", "-o", "c.doc"), 2, ".csv or .parquet"),
        (("keys", "--names", "../x"), 2, "no names for key files"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    folder: Path, fluxcap: Any, arguments: tuple[str, ...], code: int, says: str
) -> None:
    ran = fluxcap(*arguments)

    assert (ran.code, ran.out) == (code, "")
    assert re.search(says, ran.err)
    assert "Traceback" not in ran.err
    assert list(folder.iterdir()) == []
