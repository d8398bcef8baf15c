"""Numbers sealed candles: candles in, batches with dense sequences out. Pure.

Two steps, so that a failed commit consumes nothing: ``number`` says what the numbers would be, ``confirm`` makes them
so once the store holds the batch. Sequences start at 1 per stream; the next is always the last confirmed plus one, and
``ts_ms`` strictly increases with them. Clients that exist ask for a gap again and again until the answer holds the
candles, so a number once given must be servable forever: nothing here ever skips or repeats one.

Revisions (better candles for what was published) have numbers of their own, dense from 1 per stream.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, chain

import msgspec
import numpy as np
import numpy.typing as npt

from fluxcap.schemas.candles import as_candle_array, first_invalid_candle, joined_rows
from fluxcap.schemas.errors import SequenceError
from fluxcap.schemas.types import (
    Candle,
    CandleArray,
    CandleBatch,
    CandleFlags,
    CandleRevision,
    StreamKey,
    Watermark,
)

_NO_WATERMARK = Watermark()


def _require_sane(key: StreamKey, candles: CandleArray, bad: int | None) -> None:
    """``bad``: index of the first candle that cannot be one."""
    if len(candles) == 0:
        raise SequenceError(f"{key}: there is no candle to number.")
    if bad is not None:
        raise SequenceError(f"{key}: not a valid candle: {Candle(*candles[bad].tolist())}; it was not published.")


def _rows_of(candles: Sequence[Sequence[Candle] | CandleArray]) -> tuple[list[CandleArray], CandleArray]:
    """Candles of some streams as an array each, and all of them one behind the other."""
    if not candles or any(isinstance(own, np.ndarray) for own in candles):
        arrays = [as_candle_array(own) for own in candles]
        return arrays, joined_rows(arrays) if arrays else as_candle_array(())
    rows = as_candle_array(list(chain.from_iterable(candles)))  # one array for all: NumPy takes longer for each
    ends = list(accumulate(map(len, candles)))
    return [rows[end - len(own) : end] for own, end in zip(candles, ends, strict=True)], rows


class Sequencer:
    """The newest number of every stream, and the next ones.

    Parameters
    ----------
    watermarks
        What the store holds, per stream: a snapshot that nobody changes. One that is absent starts at sequence 1.
    """

    def __init__(self, watermarks: Mapping[StreamKey, Watermark]) -> None:
        self._watermarks = watermarks

    def watermark(self, key: StreamKey) -> Watermark:
        """The newest confirmed of a stream; all 0 for one that has nothing yet."""
        return self._watermarks.get(key, _NO_WATERMARK)

    def number(self, key: StreamKey, candles: Sequence[Candle] | CandleArray) -> CandleBatch:
        """Candles in time order as the batch that would come next. Consumes nothing.

        Raises SequenceError when there is no candle, when one is insane (see ``first_invalid_candle``), or when times
        do not strictly increase from the newest confirmed candle on.
        """
        return self.number_all({key: candles})[0]

    def number_all(self, candles: Mapping[StreamKey, Sequence[Candle] | CandleArray]) -> list[CandleBatch]:
        """Candles of many streams as ``number``, or none of them: what a candle must be is asked once for all."""
        arrays, rows = _rows_of(list(candles.values()))
        bad = first_invalid_candle(rows)
        times_ms = rows["ts_ms"]
        batches = []
        end = 0
        for key, array in zip(candles, arrays, strict=True):
            begin, end = end, end + len(array)
            if begin == end or bad is not None:
                _require_sane(key, array, bad - begin if bad is not None and bad < end else None)
            mark = self._watermarks.get(key, _NO_WATERMARK)
            times = times_ms[begin:end]
            if times.item(0) <= mark.latest_ts_ms or (len(times) > 1 and not (times[1:] > times[:-1]).all()):
                raise SequenceError(
                    f"{key}: candle times must increase, but {times[:3].tolist()} was to follow {mark.latest_ts_ms}."
                )
            batches.append(CandleBatch(key, mark.latest_sequence + 1, array))
        return batches

    def confirm(self, batch: CandleBatch) -> None:
        """The store holds the batch: its sequences are given. Raises SequenceError if it does not come next."""
        mark = self.watermark(batch.key)
        if batch.start_sequence != mark.latest_sequence + 1:
            raise SequenceError(
                f"{batch.key}: batch {batch.start_sequence} cannot be confirmed after {mark.latest_sequence}."
            )
        self._set(
            batch.key,
            Watermark(
                latest_sequence=batch.next_sequence - 1,
                latest_ts_ms=batch.candles["ts_ms"].item(-1),
                latest_revision=mark.latest_revision,
                first_sequence=mark.first_sequence or batch.start_sequence,
            ),
        )

    def revise(
        self, key: StreamKey, sequences: Sequence[int] | npt.NDArray[np.uint64], candles: Sequence[Candle] | CandleArray
    ) -> CandleRevision:
        """Better candles as the revisions that would come next. Consumes nothing.

        ``sequences[i]`` names the published candle that ``candles[i]`` replaces, which gets the REVISED flag; 0 is a
        minute the main stream never had. Raises SequenceError when lengths differ, when a sequence was never given,
        when a candle is insane, or when one is newer than the watermark (that one belongs on the main stream).
        """
        array = as_candle_array(candles).copy()
        try:
            numbers = np.asarray(sequences, dtype=np.uint64)
        except (OverflowError, ValueError, TypeError) as error:
            raise SequenceError(f"{key}: sequences are whole numbers from 0 on: {error}.") from None
        if numbers.shape != array.shape:
            raise SequenceError(f"{key}: {len(numbers)} sequences cannot name {len(array)} revised candles.")
        _require_sane(key, array, first_invalid_candle(array))
        mark = self.watermark(key)
        if int(numbers.max()) > mark.latest_sequence:
            raise SequenceError(
                f"{key}: sequence {numbers.max()} was never assigned; {mark.latest_sequence} is latest."
            )
        if int(array["ts_ms"].max()) > mark.latest_ts_ms:
            raise SequenceError(f"{key}: a candle newer than {mark.latest_ts_ms} is not a revision.")
        array["flags"][numbers > 0] |= np.uint16(CandleFlags.REVISED)
        return CandleRevision(key, mark.latest_revision + 1, numbers, array)

    def confirm_revision(self, revision: CandleRevision) -> None:
        """The store holds the revision. Raises SequenceError if it does not come next."""
        mark = self.watermark(revision.key)
        if revision.start_revision != mark.latest_revision + 1:
            raise SequenceError(
                f"{revision.key}: revision {revision.start_revision} cannot follow {mark.latest_revision}."
            )
        newest = revision.start_revision + len(revision.candles) - 1
        self._set(revision.key, msgspec.structs.replace(mark, latest_revision=newest))

    def _set(self, key: StreamKey, mark: Watermark) -> None:
        self._watermarks = {**self._watermarks, key: mark}
