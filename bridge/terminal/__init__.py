"""``fluxcap watch``: a daemon's facts as a screen that lives, for people on a terminal far away.

``watch_view`` words what is known (pure), ``watch`` joins it with the wire and REST;
``tail`` prints events as they come.
"""
