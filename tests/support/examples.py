"""How many examples a property test tries.

``make test`` tries a quarter of them, ``make check`` a tenth, ``make long`` and ``make soak`` all.
"""

from __future__ import annotations

import os

QUICK = os.environ.get("QUICK_TESTS") == "1"
FULL = os.environ.get("FULL_TESTS") == "1"
LEAST, LEAST_QUICK = 20, 5


def examples(count: int, least: int = LEAST) -> int:
    """``count`` where every example is to be tried, or else a part of it: ``least`` of them in ``make test``."""
    if FULL:
        return count
    return min(count, max(LEAST_QUICK, count // 10) if QUICK else max(least, count // 4))
