"""How many examples a property test tries.

``make test`` tries two fifths of them, ``make check`` a tenth, ``make long`` and ``make soak`` all.
"""

from __future__ import annotations

import os

QUICK = os.environ.get("QUICK_TESTS") == "1"
FULL = os.environ.get("FULL_TESTS") == "1"
LEAST, LEAST_QUICK = 25, 5


def examples(count: int) -> int:
    """``count`` where every example is to be tried, or else the part of it that is tried."""
    if FULL:
        return count
    return min(count, max(LEAST_QUICK, count // 10) if QUICK else max(LEAST, count * 2 // 5))
