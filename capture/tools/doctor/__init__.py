"""``fluxcap doctor``: looks at everything a capture needs, changes nothing, and says how to mend what is not right.

``finding`` is what a look gives; ``machine``, ``browser`` and ``data`` look; ``examine`` does it all at once.
"""
