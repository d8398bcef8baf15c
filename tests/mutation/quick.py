"""A pytest plugin for mutation runs: properties with few, fixed examples and no shrinking, the quick tests first.

A mutant is killed by the first test that fails, so what is cheap goes first, and nobody reads a smallest example. The
examples are the same in each run: a mutant that was killed once stays killed.
"""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase

EXAMPLES = 40
"""Of a property at most, unless the environment of the run says otherwise."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bound every property; put unit tests before properties."""
    for item in items:
        function = getattr(item, "function", None)
        function = getattr(function, "__func__", function)
        own = getattr(function, "_hypothesis_internal_use_settings", None)
        if function is not None and own is not None:
            function._hypothesis_internal_use_settings = hypothesis.settings(
                own,
                max_examples=min(own.max_examples, EXAMPLES),
                derandomize=True,
                database=None,
                deadline=None,
                phases=(Phase.explicit, Phase.generate),
                suppress_health_check=tuple(HealthCheck),
                print_blob=False,
            )
    items.sort(key=lambda item: "property" in item.path.parts)
