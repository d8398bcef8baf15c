"""Code that flatc made from the schemas beside it. Never edit it: ``python -m fluxcap.schemas.generate`` writes it again.

``market_data`` comes from ``market_data.fbs`` (all versions), ``market_data_v1`` from ``market_data_v1.fbs`` alone: it
is what a client of version 1 has. fluxcap itself reads and writes with ``schemas.codec``, a thousand times quicker;
this code is the reference it is checked against, and what an author of a Python client without fluxcap would use.
"""
