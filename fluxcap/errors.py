"""The errors that fluxcap raises on purpose; ``fluxcap.schemas.errors`` draws them as a tree."""

from __future__ import annotations

from fluxcap.schemas import errors as _errors
from fluxcap.schemas.errors import *  # noqa: F403

__all__ = [name for name, value in vars(_errors).items() if isinstance(value, type) and issubclass(value, Exception)]
