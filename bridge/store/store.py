"""The candle store: one DuckDB file, one writer. What it has committed is on the disk; nothing else may be published.

``Store.open`` makes or opens the file, ``commit`` stores any number of batches, revisions and gaps in one durable
transaction, ``reader()`` gives another thread its own way in. The store is used from one thread, the pipeline's;
readers from theirs.

It knows the watermark of every stream by heart and refuses a commit that would skip, repeat or go back. A failed
commit leaves a usable store that holds what it held before: see connection.py for how DuckDB fails. Only where the
file was lost with the commit must it be read again to know; the next commit does so, and returns what it recovered.
"""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple, TypeVar

import msgspec

from fluxcap.bridge.store import writes as store_rows
from fluxcap.bridge.store.agreement import (
    AgreementSummary,
    ComparedCandle,
    differing_candles,
    insert_compared,
    not_compared,
    read_agreement,
)
from fluxcap.bridge.store.connection import DAMAGE_HINT, DEFAULT_MEMORY_LIMIT, StoreConnection
from fluxcap.bridge.store.disk_space import DiskSpaceGuard
from fluxcap.bridge.store.file import ensure_store, now_ms, quarantine, stored_version
from fluxcap.bridge.store.high_water_mark import HighWaterMark, total_assigned
from fluxcap.bridge.store.migration import Migration, migrate
from fluxcap.bridge.store.reader import StoreIndex, StoreReader
from fluxcap.bridge.store.schema import SCHEMA_VERSION
from fluxcap.bridge.store.universe import Listing, read_universe
from fluxcap.bridge.system.files import is_full
from fluxcap.schemas.errors import SequenceError, StoreDamaged, StoreError, StoreFull
from fluxcap.schemas.types import Candle, CandleBatch, CandleRevision, Gap, StreamKey, Watermark

__all__ = ["CHECKPOINT_BYTES", "COMPACT_ROWS", "Store", "StoreListener", "quarantine"]

_log = logging.getLogger(__name__)

COMPACT_ROWS = 1_000_000
"""Fresh rows that are worth sorting by stream; takes about 0.4 s each time."""
CHECKPOINT_BYTES = 16 * 1024 * 1024
"""Size of the write-ahead log at which a commit is followed by a checkpoint (10-40 ms)."""

DIFFERING_MAX = 20
"""So many of the newest candles that differ from the platform's rows are told."""

_NOTHING = Watermark()


ASSETS_FACT, FOLLOWED_FACT = "assets", "followed"
_Asset = TypeVar("_Asset", bound=msgspec.Struct)


class KeptOffset(NamedTuple):
    """The platform's offset as an earlier run measured it, and when it was kept (UTC ms)."""

    offset_ms: int
    kept_ms: int


class StoreListener:
    """Told of what rarely happens to a store's file, on the store's thread: override what you want to hear."""

    def migrating(self, done_bytes: int, total_bytes: int) -> None:
        """A store of an older version is being copied before it is brought to the present one."""

    def rewritten(self, path: Path) -> None:
        """The file had been deleted under this process; it was written again with all that it held."""


class RecoveredCommit(NamedTuple):
    """A failed commit that the store holds all the same: DuckDB closed the file after it had written it."""

    batches: Sequence[CandleBatch]
    revisions: Sequence[CandleRevision]


class Store:
    """See the module. Made by ``Store.open``.

    Attributes
    ----------
    store_id
        Made once with the file. A client that sees another one starts over.
    migration
        What was done to a store of an older version as it was opened; None otherwise.
    """

    def __init__(
        self,
        connection: StoreConnection,
        clock_ms: Callable[[], int],
        reserve_bytes: int,
        listener: StoreListener | None = None,
        state_dir: Path | None = None,
        *,
        check_marks: bool = True,
    ) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._clock_ms = clock_ms
        self._listener = listener or StoreListener()
        self._space = DiskSpaceGuard(connection.path, reserve_bytes)
        self._is_lost = False
        """DuckDB gave the file up and it could not be opened since."""
        self._unresolved: RecoveredCommit | None = None
        """What failed as the file was lost: whether it was durable is not known yet."""
        self.path = connection.path
        self.store_id = ensure_store(self._cursor, self.path, clock_ms)
        self._state_dir = state_dir
        self._high_water_mark = HighWaterMark(self.path, self.store_id, state_dir)
        self._load(check_marks=check_marks)
        self.migration = self._migrate()
        self._read_agreement()

    @classmethod
    def open(
        cls,
        path: Path | str,
        clock_ms: Callable[[], int] = now_ms,
        *,
        memory_limit: str = DEFAULT_MEMORY_LIMIT,
        reserve_bytes: int = 4 * 1024 * 1024,
        listener: StoreListener | None = None,
        state_dir: Path | None = None,
        check_marks: bool = True,
    ) -> Store:
        """Open the store at ``path``, or make one. One of an older version is brought to the present one.

        Parameters
        ----------
        path
            The file; missing folders are made.
        clock_ms
            Wall clock, UTC epoch milliseconds.
        memory_limit
            What DuckDB may hold in memory.
        reserve_bytes
            Free space below which a commit is refused with StoreFull before DuckDB meets the end of the disk.
        listener
            Told when the file is migrated, or has to be written again.
        state_dir
            Folder outside the data folder that remembers how many numbers the store has given, so that a restored
            backup is noticed. None remembers nothing there.
        check_marks
            False opens a store that has given more numbers than it knows of, for ``renew_identity``.

        Raises StoreLocked (another process has it; says which), StoreDamaged (see ``quarantine``), StoreRestored (see
        ``renew_identity``), StoreFull or StoreError.
        """
        file = Path(path)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            kind = StoreFull if is_full(error) else StoreError
            raise kind(f"The folder of {file} cannot be made: {error.strerror}.") from error
        connection = StoreConnection(file, memory_limit=memory_limit)
        try:
            return cls(connection, clock_ms, reserve_bytes, listener, state_dir, check_marks=check_marks)
        except BaseException:
            connection.discard()
            raise

    def _load(self, *, check_marks: bool = True) -> None:
        """Read streams and watermarks; raises StoreDamaged when a stream has not as many candles as numbers."""
        keys = {i: StreamKey(*key) for i, *key in self._cursor.rows("SELECT * FROM streams ORDER BY stream_id")}
        newest_revision = dict(self._cursor.rows("SELECT stream_id, max(revision) FROM revisions GROUP BY stream_id"))
        marks = {key: Watermark(latest_revision=newest_revision.get(i, 0)) for i, key in keys.items()}
        for i, first, latest, rows, latest_ts in self._cursor.rows(
            "SELECT stream_id, min(sequence), max(sequence), count(*), max(ts_ms) FROM candles GROUP BY stream_id"
        ):
            if i not in keys or rows != latest - first + 1:
                raise StoreDamaged(
                    f"{self.path}: {keys.get(i, 'an unknown stream')} has {rows} candles for the sequences {first} to "
                    f"{latest}. {DAMAGE_HINT}"
                )
            marks[keys[i]] = Watermark(latest, latest_ts, newest_revision.get(i, 0), first)
        self._fresh_rows = int(self._cursor.rows("SELECT count(*) FROM candles_fresh")[0][0])
        self._swap_index({key: i for i, key in keys.items()}, marks)
        self._total_assigned = total_assigned(marks)
        if check_marks:
            self._high_water_mark.check(self._total_assigned)
        self._is_lost = False

    def _migrate(self) -> Migration | None:
        """Bring a store of an older version to the present one. Raises StoreFull, StoreError; it is as it was then."""
        version = stored_version(self._cursor)
        if version == SCHEMA_VERSION:
            return None
        done = migrate(self._connection, self._cursor, version, self._listener.migrating)
        with contextlib.suppress(StoreError):  # the write-ahead log has all of it
            self.checkpoint()
        return done

    def _swap_index(self, stream_ids: dict[StreamKey, int], marks: dict[StreamKey, Watermark]) -> None:
        self._index = StoreIndex(MappingProxyType(stream_ids), MappingProxyType(marks))

    def watermarks(self) -> Mapping[StreamKey, Watermark]:
        """The newest committed of every stream; an immutable snapshot."""
        return self._index.watermarks

    def reader(self) -> StoreReader:
        """Read access for one thread. Ends with the store."""
        return StoreReader(self._connection.cursor(), lambda: self._index)

    def published(self, key: StreamKey, ts_ms: Sequence[int]) -> dict[int, tuple[int, Candle]]:
        """Return the times with a candle on the main stream: ``{ts_ms: (sequence, candle)}``. Raises StoreError."""
        return StoreReader(self._cursor, lambda: self._index).published(key, ts_ms)

    def oldest_ts_ms(self, key: StreamKey) -> int:
        """Time of the oldest candle kept, if older ones were pruned; 0 while the stream has all it ever had."""
        mark = self._index.watermarks.get(key, _NOTHING)
        if mark.first_sequence <= 1:
            return 0
        page = StoreReader(self._cursor, lambda: self._index).page(key, None, None, 1)
        return int(page.candles["ts_ms"][0])

    def commit(
        self,
        batches: Sequence[CandleBatch] = (),
        revisions: Sequence[CandleRevision] = (),
        gaps: Sequence[Gap] = (),
    ) -> RecoveredCommit | None:
        """Store all of it durably, or nothing.

        Revised candles replace the published ones in place, so that a backfill serves the best; the revisions are kept
        beside. A gap replaces the one of the same source, symbol and ``from_ms``.

        Returns
        -------
        RecoveredCommit | None
            None when all of it is stored. Otherwise what an earlier commit that failed had stored after all, returned
            once: nothing of this call is stored then, since its numbers may be given by now. Publish what was
            recovered, number again, and commit again.

        Raises
        ------
        SequenceError
            A batch or revision does not follow the newest of its stream. A fault of the caller's.
        StoreFull
            No space. Nothing was stored; the same commit may be tried again later.
        StoreError
            Anything else. Nothing was stored, unless the file was lost with it: then the next commit tells.
        """
        self._ensure_in_place()
        if (recovered := self._recover()) is not None:
            return recovered
        if not (batches or revisions or gaps):
            return None
        marks = self._advanced(batches, revisions)
        self._space.require_space(len(batches) + len(revisions) + len(gaps))
        new_ids = self._new_stream_ids(marks)
        stream_ids = self._index.stream_ids | new_ids
        now_ms = self._clock_ms()
        try:
            with self._cursor.transaction():
                store_rows.insert_streams(self._cursor, new_ids)
                store_rows.insert_batches(self._cursor, batches, stream_ids, now_ms)
                for revision in revisions:
                    store_rows.insert_revision(self._cursor, revision, stream_ids, now_ms)
                store_rows.upsert_gaps(self._cursor, gaps, now_ms)
        except StoreError:
            self._unresolved = RecoveredCommit(batches, revisions)
            reopened = self._reopened_if_lost()  # raises while the file cannot be opened: it stays unresolved then
            self._unresolved = None
            if reopened and marks and self._holds(marks):
                return None  # it was durable after all, and reopening has read it
            raise
        candles = sum(len(batch.candles) for batch in batches)
        self._fresh_rows += candles
        self._total_assigned += candles + sum(len(revision.candles) for revision in revisions)
        self._high_water_mark.write(self._total_assigned)
        self._swap_index(stream_ids, self._index.watermarks | marks)
        self._checkpoint_if_due()
        return None

    def _new_stream_ids(self, keys: Iterable[StreamKey]) -> dict[StreamKey, int]:
        known = self._index.stream_ids
        after = max(known.values(), default=0)
        return {key: after + n for n, key in enumerate((key for key in keys if key not in known), start=1)}

    def _advanced(
        self, batches: Sequence[CandleBatch], revisions: Sequence[CandleRevision]
    ) -> dict[StreamKey, Watermark]:
        """The watermarks of the streams concerned as they will be. Raises SequenceError."""
        marks: dict[StreamKey, Watermark] = {}
        known = self._index.watermarks
        for batch in batches:
            key = batch.key
            mark = marks.get(key) or known.get(key, _NOTHING)
            times = batch.candles["ts_ms"]
            is_next = len(times) > 0 and batch.start_sequence == mark.latest_sequence + 1
            if not is_next or times.item(0) <= mark.latest_ts_ms:
                raise SequenceError(f"{key}: a batch from {batch.start_sequence} cannot follow {mark}.")
            first = mark.first_sequence or batch.start_sequence
            marks[key] = Watermark(batch.next_sequence - 1, times.item(-1), mark.latest_revision, first)
        for revision in revisions:
            key = revision.key
            mark = marks.get(key) or known.get(key, _NOTHING)
            if len(revision.candles) == 0 or revision.start_revision != mark.latest_revision + 1:
                raise SequenceError(f"{key}: a revision from {revision.start_revision} cannot follow {mark}.")
            newest = mark.latest_revision + len(revision.candles)
            marks[key] = Watermark(mark.latest_sequence, mark.latest_ts_ms, newest, mark.first_sequence)
        return marks

    def _holds(self, marks: Mapping[StreamKey, Watermark]) -> bool:
        return all(self._index.watermarks.get(key) == mark for key, mark in marks.items())

    def _reopened_if_lost(self) -> bool:
        """Return whether DuckDB had given up its instance; if so it was reopened and the watermarks were read again.

        Raises StoreError when the file cannot be opened; the next commit tries again.
        """
        if self._cursor.is_served():
            return False
        self._is_lost = True
        self._connection.reopen()
        self._load()
        return True

    def _recover(self) -> RecoveredCommit | None:
        """Read the file again after it was lost; returns what of the commit that failed with it is stored, once.

        Of a batch or revision all is there or nothing: it was one transaction. Raises StoreError while the file cannot
        be opened.
        """
        if self._is_lost:
            self._load()
        if self._unresolved is None:
            return None
        failed, self._unresolved = self._unresolved, None
        marks = self._index.watermarks
        batches = [b for b in failed.batches if b.start_sequence <= marks.get(b.key, _NOTHING).latest_sequence]
        revisions = [r for r in failed.revisions if r.start_revision <= marks.get(r.key, _NOTHING).latest_revision]
        return RecoveredCommit(batches, revisions) if batches or revisions else None

    def _checkpoint_if_due(self) -> None:
        if self._space.log_bytes() >= CHECKPOINT_BYTES or self._fresh_rows >= COMPACT_ROWS:
            try:
                self.checkpoint()
            except StoreError as error:  # the commit before it stands all the same
                _log.warning("Checkpoint of the store failed; its write-ahead log keeps growing: %s", error)

    def _ensure_in_place(self) -> None:
        """See that the file is still where it was; it is written again if it was deleted. Raises StoreError."""
        if self._connection.ensure_in_place():
            self._high_water_mark.close()
            self._load()
            self._high_water_mark.write(self._total_assigned)
            self._listener.rewritten(self.path)

    def checkpoint(self) -> bool:
        """Move the write-ahead log into the file, and settle fresh rows when there are enough.

        A file that was deleted meanwhile is noticed here at the latest, and written again.

        Returns False when the space left is too small to try it safely. Raises StoreError; the store stays usable.
        """
        self._ensure_in_place()
        settling = self._fresh_rows >= COMPACT_ROWS
        if not self._space.allows_checkpoint(self._fresh_rows if settling else 0):
            return False
        try:
            if settling:
                with self._cursor.transaction():
                    store_rows.compact(self._cursor)
                self._fresh_rows = 0
            self._cursor.rows("CHECKPOINT")
        except StoreError:
            self._reopened_if_lost()
            raise
        return True

    def prune(self, before_ts_ms: int) -> int:
        """Forget candles and revisions older than a time, and gaps that ended before it. Returns the candles deleted.

        The newest candle and revision of a stream always stay, so that its numbers go on. Raises StoreError, also while
        it is not known what became of a commit.
        """
        if self._is_lost:
            self._load()
        if self._unresolved is not None:
            raise StoreError(f"{self.path} was lost in the middle of a commit; nothing is deleted before the next one.")
        index = self._index
        newest = {index.stream_ids[key]: mark.latest_sequence for key, mark in index.watermarks.items()}
        held = self._candles_held()
        self._write(lambda: store_rows.delete_before(self._cursor, before_ts_ms, newest))
        self._load()
        self._read_agreement()
        return held - self._candles_held()

    def _candles_held(self) -> int:
        return sum(m.latest_sequence - m.first_sequence + 1 for m in self.watermarks().values() if m.first_sequence)

    @property
    def agreement(self) -> AgreementSummary:
        """The agreement of the candles with the platform's own rows; an immutable snapshot."""
        return self._agreement

    def not_compared(self, key: StreamKey, ts_ms: Sequence[int]) -> dict[int, tuple[int, Candle]]:
        """The candles without a flag at these times (UTC ms) that were never compared with the platform's rows.

        Returns ``{ts_ms: (sequence, candle)}``. Raises StoreError.
        """
        stream_id = self._index.stream_ids.get(key)
        return {} if stream_id is None else not_compared(self._cursor, stream_id, ts_ms)

    def record_agreement(self, key: StreamKey, compared: Sequence[ComparedCandle]) -> None:
        """Keep that candles of a stream were compared with the platform's own rows, and where they differ.

        Each candle once: see ``not_compared``. Raises StoreError; nothing was kept then.
        """
        if compared:
            stream_id = self._index.stream_ids[key]
            self._write(lambda: insert_compared(self._cursor, stream_id, compared, self._clock_ms()))
            self._read_agreement()

    def _read_agreement(self) -> None:
        keys = {stream_id: key for key, stream_id in self._index.stream_ids.items()}
        streams = {keys[i]: agreement for i, agreement in read_agreement(self._cursor).items() if i in keys}
        is_whole = all(agreement.equal == agreement.compared for agreement in streams.values())
        differing = () if is_whole else tuple(differing_candles(self._cursor, DIFFERING_MAX))
        self._agreement = AgreementSummary(MappingProxyType(streams), differing)

    def renew_identity(self, *, forget_from_ms: int | None = None) -> str:
        """Give the store a new ``store_id``, and return it: clients drop what they have and start over.

        Clients of wire version 1 know no identity: their cache has to be emptied by hand. ``forget_from_ms``: what is
        of this time (UTC ms) or later is deleted with it, since a wrong clock had stamped it. Raises StoreError;
        nothing was changed then.
        """
        renewed = uuid.uuid4().hex

        def renew() -> None:
            if forget_from_ms is not None:
                store_rows.delete_from(self._cursor, forget_from_ms)
            store_rows.set_store_id(self._cursor, renewed)

        self._write(renew)
        if forget_from_ms is not None:
            self._load(check_marks=False)
            self._read_agreement()
        self.store_id = renewed
        self._high_water_mark.close()
        self._high_water_mark = HighWaterMark(self.path, renewed, self._state_dir)
        self._high_water_mark.write(self._total_assigned)
        return renewed

    def load_universe(self, csv: Path | str) -> int:
        """Replace the universe by that of a CSV file; returns how many listings. Raises ConfigError, StoreError."""
        return self.replace_universe(read_universe(Path(csv)))

    def replace_universe(self, listings: Sequence[Listing]) -> int:
        """Replace the universe; symbols must differ. Returns how many listings. Raises StoreError."""
        self._write(lambda: store_rows.replace_universe(self._cursor, listings))
        return len(listings)

    def keep_offset(self, source_id: str, offset_ms: int) -> None:
        """Keep how far the platform's stamps are ahead of UTC (ms), for the next start. Raises StoreError."""
        self._keep(source_id, store_rows.OFFSET_FACT, offset_ms)

    def kept_offset(self, source_id: str) -> KeptOffset | None:
        """The offset that was kept last, and when (UTC ms); None for a source without one. Raises StoreError."""
        kept = self._kept(source_id, store_rows.OFFSET_FACT, int)
        return kept and KeptOffset(*kept)

    def keep_assets(self, source_id: str, assets: Sequence[msgspec.Struct]) -> None:
        """Keep the platform's asset table in place of the one before, for the next start. Raises StoreError."""
        self._keep(source_id, ASSETS_FACT, list(assets))

    def kept_assets(self, source_id: str, kind: type[_Asset]) -> list[_Asset]:
        """The asset table that was kept last, as values of ``kind``; empty without one. Raises StoreError."""
        kept = self._kept(source_id, ASSETS_FACT, list[kind])  # type: ignore[valid-type]
        return kept[0] if kept is not None else []

    def keep_followed(self, source_id: str, symbols: Sequence[str]) -> None:
        """Keep which assets are followed, the newest first, for the next start. Raises StoreError."""
        self._keep(source_id, FOLLOWED_FACT, list(symbols))

    def kept_followed(self, source_id: str) -> list[str]:
        """The followed assets that were kept last, the newest first; empty without any. Raises StoreError."""
        kept = self._kept(source_id, FOLLOWED_FACT, list[str])
        return kept[0] if kept is not None else []

    def _keep(self, source_id: str, name: str, fact: Any) -> None:
        value = msgspec.json.encode(fact).decode()
        self._write(lambda: store_rows.keep_fact(self._cursor, source_id, name, value, self._clock_ms()))

    def _kept(self, source_id: str, name: str, kind: Any) -> tuple[Any, int] | None:
        """A fact and when it was kept. None also for one that cannot be read: the next one takes its place."""
        sql = "SELECT value, kept_ms FROM kept_facts WHERE source_id = ? AND name = ?"
        for value, kept_ms in self._cursor.rows(sql, (source_id, name)):
            with contextlib.suppress(msgspec.MsgspecError):
                return msgspec.json.decode(value, type=kind), int(kept_ms)
        return None

    def _write(self, act: Callable[[], None]) -> None:
        """Run ``act`` as a durable transaction of its own. Raises StoreError; nothing of it was done then."""
        self._ensure_in_place()
        if self._is_lost:
            self._load()
        try:
            with self._cursor.transaction():
                act()
        except StoreError:
            self._reopened_if_lost()
            raise

    def close(self) -> None:
        """Let go of the file. Idempotent; readers end with it."""
        with contextlib.suppress(StoreError):
            if self._cursor.is_served():
                self._ensure_in_place()
                if self._space.allows_checkpoint(0):
                    self._cursor.rows("CHECKPOINT")
        self._connection.close()
        self._high_water_mark.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
