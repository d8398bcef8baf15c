"""How many examples a property test tries: all of them in ``make test``, a part in ``make check``."""

from __future__ import annotations

import os

QUICK = os.environ.get("QUICK_TESTS") == "1"
LEAST = 5


def examples(count: int) -> int:
    """``count``, or a tenth of it where the tests are to be quick."""
    return min(count, max(LEAST, count // 10)) if QUICK else count
