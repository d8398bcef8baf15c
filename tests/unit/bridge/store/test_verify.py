"""Verify finds each kind of damage, and never changes what it looks at."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pytest

from fluxcap.bridge.server.sequencer import Sequencer
from fluxcap.bridge.store.store import Store
from fluxcap.bridge.store.verify import Finding, Verdict, verify, verify_exit_code
from fluxcap.schemas.types import CandleBatch, Gap
from tests.support.wire.samples import EURUSD, GBPUSD, candle, candle_rows

pytestmark = pytest.mark.costly


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound store: two streams, revisions of sequences 3 and 5 and of a minute never published, a gap."""
    path = tmp_path_factory.mktemp("sound") / "store.duckdb"
    with Store.open(path) as store:
        store.commit([CandleBatch(EURUSD, 1, candle_rows(1, 20)), CandleBatch(GBPUSD, 1, candle_rows(1, 5))])
        sequencer = Sequencer(store.watermarks())
        for close in (1.7, 1.8):
            revision = sequencer.revise(EURUSD, [3, 5, 0], [candle(3, close), candle(5, close), candle(7)])
            store.commit(revisions=[revision], gaps=[Gap("SIM", "", 1, 2, "silent")])
            sequencer.confirm_revision(revision)
    return path


@pytest.fixture
def path(sound: Path, tmp_path: Path) -> Path:
    """A copy of the sound store, to be harmed."""
    return shutil.copytree(sound.parent, tmp_path / "copy") / sound.name


def test_a_sound_store_has_no_findings_and_stays_as_it_is(path: Path) -> None:
    before = path.read_bytes()

    assert verify(path) == []
    assert verify_exit_code(verify(path)) == 0
    assert path.read_bytes() == before


def test_a_pruned_store_is_sound(path: Path) -> None:
    with Store.open(path) as store:
        store.prune(4 * 60_000)

    assert verify(path) == []


@pytest.mark.parametrize(
    ("harm", "text"),
    [
        ("DELETE FROM candles_fresh WHERE sequence = 7", "Sequence 6 is followed by 8"),
        ("INSERT INTO candles_fresh SELECT * FROM candles_fresh WHERE sequence = 7", "Sequence 7 comes twice"),
        ("UPDATE candles_fresh SET ts_ms = 60000 WHERE sequence = 7", "Time does not increase after sequence 6"),
        ("UPDATE candles_fresh SET high = 'nan' WHERE sequence = 7 AND stream_id = 1", "Sequence 7 is no candle"),
        ("UPDATE candles_fresh SET low = 99 WHERE sequence = 7", "Sequence 7 is no candle"),
        ("UPDATE candles_fresh SET close = 1.1 WHERE sequence = 5", "Sequence 5 differs from its last revision"),
        ("DELETE FROM revisions WHERE revision = 2", "Revision 1 is followed by 3"),
        ("UPDATE revisions SET sequence = 999 WHERE revision = 2", "999, which was never assigned"),
        ("UPDATE revisions SET low = 99 WHERE revision = 3", "Revision 3 is no candle"),
        ("UPDATE gaps SET to_ms = 0 - 5, from_ms = 9; UPDATE gaps SET to_ms = 5", "ends before it begins"),
        ("UPDATE streams SET interval = 'soon' WHERE stream_id = 2", "'soon' is not an interval"),
        ("INSERT INTO candles_fresh SELECT 77, * EXCLUDE stream_id FROM candles_fresh LIMIT 1", "have no stream"),
        ("INSERT INTO revisions SELECT 77, * EXCLUDE stream_id FROM revisions LIMIT 1", "have no stream"),
        ("DELETE FROM candles_fresh WHERE sequence = 20", "lost 1 candles"),
        ("DELETE FROM meta", "lacks parts"),
        ("DROP TABLE meta", "not a fluxcap store"),
    ],
)
def test_each_kind_of_damage_is_found_and_named(path: Path, harm: str, text: str) -> None:
    with duckdb.connect(str(path)) as other:
        other.execute(harm)

    findings = verify(path)

    assert any(text in finding.text for finding in findings), findings
    assert verify_exit_code(findings) == 1


def test_a_damaged_file_is_damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[12_308] ^= 0xFF
    path.write_bytes(content)

    assert verify_exit_code(verify(path)) == 1


def test_what_is_not_there_cannot_be_told(tmp_path: Path) -> None:
    assert verify_exit_code(verify(tmp_path / "absent.duckdb")) == 2


def test_a_store_in_use_cannot_be_told(path: Path) -> None:
    with Store.open(path):
        findings = verify(path)

    assert verify_exit_code(findings) == 2
    assert "held by another process" in findings[0].text


def test_damage_outweighs_what_cannot_be_told() -> None:
    damage, unclear = Finding(Verdict.DAMAGE, "a", "b"), Finding(Verdict.CANNOT_TELL, "a", "b")

    assert verify_exit_code([unclear, damage]) == 1
    assert verify_exit_code([]) == 0
