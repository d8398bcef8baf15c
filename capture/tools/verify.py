"""Everything a data folder keeps, checked from end to end without changing it: store, tick journal, CSV files.

A tail cut off in a journal or CSV file is what a kill or a power failure leaves; it is noted, and no damage.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from fluxcap.bridge.store.agreement import AgreementSummary
from fluxcap.bridge.store.file import quarantine
from fluxcap.bridge.store.repair import RepairReport, repair
from fluxcap.bridge.store.store import Store
from fluxcap.bridge.store.verify import Finding, Verdict, agreement_of
from fluxcap.bridge.store.verify import verify as verify_store
from fluxcap.bridge.system.folders import STORE_FILE
from fluxcap.capture.csvfiles.reader import CsvFile, check_csv, collected_files
from fluxcap.capture.pipeline.journal import SUFFIX, check_journal
from fluxcap.capture.runtime.folders import state_dir
from fluxcap.schemas.errors import ConfigError, StoreError

MAX_FAULTS = 3
"""So many faults of one file are listed singly."""


class VerifyReport(msgspec.Struct, frozen=True):
    """Findings, and the number of things checked: ``{"stores": 1, "journal files": 2, "CSV files": 30}``.

    ``agreement``: of the store's candles with the platform's own rows. A candle that differs is no damage.
    """

    findings: tuple[Finding, ...]
    checked: dict[str, int]
    agreement: AgreementSummary = AgreementSummary()


def verify_folder(
    data_dir: Path, begin: Callable[[int], Callable[[int], None]] = lambda total: lambda done: None
) -> VerifyReport:
    """Check all of it. ``begin(total)``: progress. Raises ConfigError when there is nothing to check."""
    store = data_dir / STORE_FILE
    folders = sorted({path.parent for path in data_dir.rglob(f"*{SUFFIX}")})
    journal = [check for folder in folders for check in check_journal(folder)]
    files = collected_files(data_dir)
    if not (store.is_file() or journal or files):
        raise ConfigError(f"Nothing to verify in {data_dir}; name the data folder with --data-dir.")
    advance = begin(len(files) + 1)
    findings = list(verify_store(store, state_dir()))
    advance(1)
    findings += [
        _note(check.path, f"ends with {check.torn_bytes} bytes of a record that was cut off; it is not used.")
        for check in journal
        if check.torn_bytes
    ]
    for file in files:
        findings += _csv_findings(file)
        advance(1)
    checked = {"stores": int(store.is_file()), "journal files": len(journal), "CSV files": len(files)}
    agreement = AgreementSummary()
    with contextlib.suppress(StoreError):  # the findings tell of it
        if store.is_file():
            agreement = agreement_of(store)
    return VerifyReport(tuple(findings), checked, agreement)


def quarantine_damaged(data_dir: Path) -> Path | None:
    """Rename a damaged store, so that the next start begins a new one. Nothing is deleted. None when it is sound.

    Raises ConfigError when there is no store, StoreError when a daemon has it, or it cannot be read or renamed.
    """
    store = data_dir / STORE_FILE
    if not store.is_file():
        raise ConfigError(f"There is no store in {data_dir}; name the data folder with --data-dir.")
    findings = verify_store(store, state_dir())
    if not any(finding.verdict is Verdict.DAMAGE for finding in findings):
        for finding in findings:
            raise StoreError(finding.text)
        return None
    return quarantine(store)


def repair_damaged(data_dir: Path) -> RepairReport | None:
    """Put what is sound of a damaged store into a new one in its place. None when it is sound: nothing is done then.

    Raises ConfigError when there is no store; what ``bridge.store.repair.repair`` raises; StoreError when it cannot be
    told whether it is damaged.
    """
    store = data_dir / STORE_FILE
    if not store.is_file():
        raise ConfigError(f"There is no store in {data_dir}; name the data folder with --data-dir.")
    findings = verify_store(store, state_dir())
    if any(finding.verdict is Verdict.DAMAGE for finding in findings):
        return repair(store)
    for finding in findings:
        raise StoreError(finding.text)
    return None


class RestoreReport(msgspec.Struct, frozen=True):
    """The result of ``restore``: the store's identity before and now, what it holds, and how much was deleted."""

    store_id_before: str
    store_id: str
    streams: int
    candles: int
    deleted: int = 0


def restore(data_dir: Path, before_ms: int | None = None) -> RestoreReport:
    """Give a store that was put back from a backup a new identity, so that clients start over.

    ``before_ms``: what is of this time (UTC ms) or later is deleted, since a wrong clock had stamped it.

    Raises ConfigError when there is no store, StoreLocked when a daemon has it, StoreDamaged, StoreError.
    """
    path = data_dir / STORE_FILE
    if not path.is_file():
        raise ConfigError(f"There is no store in {data_dir}; name the data folder with --data-dir.")
    with Store.open(path, state_dir=state_dir(), check_marks=False) as store:
        before, held = store.store_id, _candles_of(store)
        renewed = store.renew_identity(forget_from_ms=before_ms)
        candles = _candles_of(store)
        return RestoreReport(before, renewed, len(store.watermarks()), candles, held - candles)


def _candles_of(store: Store) -> int:
    marks = store.watermarks().values()
    return sum(mark.latest_sequence - mark.first_sequence + 1 for mark in marks if mark.first_sequence)


def _csv_findings(file: CsvFile) -> list[Finding]:
    try:
        check = check_csv(file)
    except OSError as error:
        return [Finding(Verdict.CANNOT_TELL, str(file.path), f"It cannot be read: {error.strerror}.")]
    findings = [Finding(Verdict.DAMAGE, str(file.path), fault) for fault in check.faults[:MAX_FAULTS]]
    if len(check.faults) > MAX_FAULTS:
        more = f"and {len(check.faults) - MAX_FAULTS} more lines."
        findings.append(Finding(Verdict.DAMAGE, str(file.path), more))
    if check.torn_bytes:
        findings.append(_note(file.path, f"ends with {check.torn_bytes} bytes of a line that was cut off."))
    return findings


def _note(path: Path, text: str) -> Finding:
    return Finding(Verdict.SOUND, str(path), text)
