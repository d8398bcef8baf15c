"""No test depends on how fast the machine is: properties have no deadline."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("fluxcap", deadline=None)
settings.load_profile("fluxcap")
