"""Finds the recorded captures: ``../shared/captures`` beside the project, or ``FLUXCAP_CAPTURES``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import ROOT


def captures(*parts: str) -> Path:
    """A recorded file or folder. Skips the test, saying so, where there are none."""
    root = Path(os.environ.get("FLUXCAP_CAPTURES") or ROOT.parent / "shared" / "captures")
    if not root.is_dir():
        pytest.skip(f"no recorded captures at {root}; set FLUXCAP_CAPTURES to the folder that has them")
    return root.joinpath(*parts)


def recorded_frames() -> list[dict[str, Any]]:
    """349 frames received by a real page: ``timestamp`` (s), ``request_id``, ``opcode``, ``payload``."""
    messages: list[dict[str, Any]] = json.loads(captures("frames", "frames_20250903_0033.json").read_bytes())[
        "messages"
    ]
    return messages
