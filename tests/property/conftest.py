"""No test depends on how fast the machine is: properties have no deadline."""

from __future__ import annotations

from hypothesis import settings

from tests.support.examples import examples

settings.register_profile("fluxcap", deadline=None, max_examples=examples(100))
settings.load_profile("fluxcap")
