"""Time stamps as they are written: floors a decimal number to whole milliseconds, exactly. Pure.

A stamp of 59.9996 s lies in the minute before 60 s, and a double cannot always tell the two apart: near today's seconds
its steps are a quarter of a microsecond wide. So what decides is the text of the number, never the double that it is
read as. A stamp of three decimals or fewer is the same by either way.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Context, Decimal, InvalidOperation

SECONDS, MILLISECONDS, MICROSECONDS, NANOSECONDS = 3, 0, -3, -6
"""Units, as powers of ten of a millisecond."""
_CUT = Context(prec=64, rounding=ROUND_DOWN)
"""Digits that are too many are cut off, never rounded: the whole milliseconds stay as they are."""

_INFINITY = Decimal("Infinity")


def as_written(text: str) -> Decimal:
    """The number of a JSON text, exactly; infinity where it is beyond all that Decimal holds, or next to nothing."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return _INFINITY


def floor_ms(number: int | Decimal, unit: int) -> int:
    """Whole milliseconds of a time, rounded down.

    Parameters
    ----------
    number
        Above 0, and below 10 ** 50 units.
    unit
        ``SECONDS``, ``MILLISECONDS``, ``MICROSECONDS`` or ``NANOSECONDS``.
    """
    if isinstance(number, int):
        return number * int(10**unit) if unit >= 0 else number // int(10**-unit)
    return int(number.scaleb(unit, _CUT))
