"""Drives a fuzzer: so many inputs in chapters that can each be told again, held to bounds of time and memory.

A fuzzer is a function that begins a chapter from a random generator. The chapter invents inputs and takes them in; what
becomes of each is a word (``taken``, ``refused`` …), and anything that breaks the rule is an exception. The same seed
gives the same chapters, so a failure names its chapter and its input, and ``--chapter N`` tells just that one again.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import random
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

CHAPTER = 1_000
"""Inputs of one chapter."""
CPU_S = 10.0
"""What one input may take of a processor, far above what the slowest takes (0.1 s): only a runaway is that slow."""
FREE_BYTES = 4 * 1024 * 1024
BYTES_PER_BYTE = 200
"""One input may allocate ``FREE_BYTES + BYTES_PER_BYTE * length`` at its peak."""
GROWTH_BYTES = 128 * 1024 * 1024
"""How much a whole run may add to the process, above its first chapters."""
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Folder for files that are written a million times; None: the usual one."""
_SHOWN = 600


class Chapter(Protocol):
    """A run of inputs to things that remember."""

    def invent(self) -> Any:
        """The next input: bytes, a text, or tuples, lists and dictionaries of them."""
        ...

    def take(self, data: Any) -> str:
        """Feed it. Returns what became of it; raises for what must not happen."""
        ...

    def end(self) -> None:
        """Look at what all of them left behind. Raises for what must not be."""
        ...


Begin = Callable[[random.Random], Chapter]


def fuzz(begin: Begin, count: int, seed: int, *, first: int = 0, memory_every: int = 100) -> Counter[str]:
    """How often each end came about in ``count`` inputs, from the ``first`` chapter on.

    Each ``memory_every``-th input has its memory measured. What breaks a rule is an AssertionError that names it.
    """
    outcomes: Counter[str] = Counter()
    resident = 0
    for done in range(0, count, CHAPTER):
        number = first + done // CHAPTER
        _tell(begin, number, seed, min(CHAPTER, count - done), outcomes, memory_every)
        if done == 2 * CHAPTER:
            resident = _resident_bytes()
    if resident:
        grown = _resident_bytes() - resident
        assert grown <= GROWTH_BYTES, f"{count} inputs left {grown:,} bytes behind"
    return outcomes


def _tell(begin: Begin, number: int, seed: int, count: int, outcomes: Counter[str], memory_every: int) -> None:
    rng = random.Random(f"{seed}.{number}")
    chapter = begin(rng)
    data, cpu_started_s = None, time.thread_time()
    try:
        for index in range(count):
            data = chapter.invent()
            is_measured = index % memory_every == memory_every - 1
            outcomes[_measured(chapter, data) if is_measured else _timed(chapter, data, cpu_started_s)] += 1
        data = None
        chapter.end()
    except Exception as error:
        what = "its end" if data is None else f"input {index}: {data!r}"
        cut = f"{what[:_SHOWN]} … ({len(what)} characters)" if len(what) > _SHOWN else what
        raise AssertionError(f"{type(error).__name__}: {error}; seed {seed}, chapter {number}, {cut}") from error


def _timed(chapter: Chapter, data: Any, cpu_started_s: float) -> str:
    """The processor's clock is dear to ask: it is asked only of an input that took as long by the wall's."""
    started = time.monotonic()
    outcome = chapter.take(data)
    seconds = time.monotonic() - started
    runaway = seconds > CPU_S and time.thread_time() - cpu_started_s > CPU_S
    assert not runaway, f"it took {seconds:.1f} s"
    return outcome


def _measured(chapter: Chapter, data: Any) -> str:
    tracemalloc.start()
    try:
        outcome = chapter.take(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    size = _size(data)
    limit = FREE_BYTES + BYTES_PER_BYTE * size
    assert peak <= limit, f"{size} bytes of input took {peak:,} of memory, more than {limit:,}"
    return outcome


def _size(data: Any) -> int:
    """Bytes and characters of an input, in whatever it is wrapped."""
    if isinstance(data, bytes | str):
        return len(data)
    if isinstance(data, dict):
        data = (*data, *data.values())
    return sum(map(_size, data)) if isinstance(data, tuple | list) else 0


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # no such thing on this system: tracemalloc's bound stays
        return 0


def _share(work: tuple[Begin, int, int, int]) -> Counter[str]:
    begin, count, seed, first = work
    return fuzz(begin, count, seed, first=first)


def main(begin: Begin, about: str) -> int:
    """The command line of a fuzzer. Exit code 1, and the input, when one breaks the rule."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000, help="inputs in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--chapter", type=int, help="tell only this one again")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if options.chapter is not None:
        print(dict(fuzz(begin, CHAPTER, options.seed, first=options.chapter)))
        return 0
    started = time.monotonic()
    outcomes: Counter[str] = Counter()
    per_share = CHAPTER * max(1, min(50, options.count // CHAPTER // (4 * options.processes)))
    work = [
        (begin, min(per_share, options.count - at), options.seed, at // CHAPTER)
        for at in range(0, options.count, per_share)
    ]
    with multiprocessing.Pool(options.processes) as pool:
        try:
            for share in pool.imap_unordered(_share, work):
                outcomes += share
                print(f"{outcomes.total():,} inputs", flush=True)
        except AssertionError as error:
            print(error, file=sys.stderr)
            return 1
    told = ", ".join(f"{count:,} {outcome}" for outcome, count in outcomes.most_common())
    print(f"{outcomes.total():,} inputs in {time.monotonic() - started:.0f} s: {told}; no other end")
    return 0
