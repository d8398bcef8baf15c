"""The system that a test runs on: what it needs of it is a mark, with the reason where it is not there."""

from __future__ import annotations

import sys

import pytest

IS_WINDOWS = sys.platform == "win32"


def is_wine() -> bool:
    """Return whether Windows' Python runs through Wine, whose own faults are not ours."""
    if sys.platform != "win32":
        return False
    import ctypes

    return hasattr(ctypes.windll.ntdll, "wine_get_version")


def not_on_windows(reason: str) -> pytest.MarkDecorator:
    """Mark what Windows does not have, such as modes of files; ``reason`` says what that is."""
    return pytest.mark.skipif(IS_WINDOWS, reason=f"not on Windows: {reason}")


def not_by_wine(reason: str) -> pytest.MarkDecorator:
    """Mark what Windows has and Wine does not."""
    return pytest.mark.skipif(is_wine(), reason=f"not by Wine: {reason}")
