"""``fluxcap watch``: a daemon's facts as a screen that lives, for people on a terminal far away.

``screen`` words what is known (pure), ``keyboard`` reads single keys, ``watching`` joins them with the wire and REST.
"""
