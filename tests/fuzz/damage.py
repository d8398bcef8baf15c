"""Damage to texts that are JSON, TOML, CSV or frames: sound ones go in, nearly sound ones come out. Pure, seeded.

Most damage is structural, so that it goes deep into what reads it: numbers that are huge, tiny, not finite or no
numbers; other types; keys twice; parts missing, twice, or from another text; nesting; lengths. The rest is plain: bits,
bytes, cuts, bytes that are no UTF-8.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

NUMBERS = (
    "0", "-0", "-1", "1", "0.0", "-0.0", "1e999", "-1e999", "1e-999", "1e308", "1.7976931348623157e308", "5e-324",
    "NaN", "nan", "Infinity", "-Infinity", "inf", "1e3000000000", "9" * 25, "9" * 400, "-" + "9" * 400, "0." + "3" * 99,
    "9223372036854775807", "9223372036854775808", "-9223372036854775809", "18446744073709551616", "4294967296",
    "2147483648", "1_000", "0x10", "01", "1.", ".5", "+1", "1e", "--1", "٣", "²", "1,5", "1760000000", "1760007240",
    "1760007240000", "32503680000", "253402300800", "1e16", "1e17", "0.1", "60", "86400", "10000000000000000000000",
)  # fmt: skip
VALUES = (
    "null", "true", "false", "{}", "[]", '""', '"x"', '"1.5"', '"NaN"', "[[]]", "[[[]]]", "{}{}", '{"a":1}', "[null]",
    '"\\u0000"', '"\\ud800"', '"\\udfff\\ud800"', '"\\u0031"', '"#X"', '"../../x"', '"a.b"', '"\u202e"', '"😀"', "\0",
    "\ufeff", "\u2028", "'", '"', "\\", ",", ":", "[", "]", "{", "}", "\r", "\n", "\t", " ", "#", "=", "[x]", "[[x]]",
    "'''", '"""', "1979-05-27", "1979-05-27T07:32:00Z", "24:00:00", "0000-00-00", "9999-12-31T23:59:59Z", "noon",
)  # fmt: skip
_BAD_UTF8 = (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80", b"\xfe\xff", b"\xff\xfe")
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_TEXT = re.compile(rb'"(?:[^"\\\n]|\\.)*"')
_PART = re.compile(rb'"(?:[^"\\\n]|\\.)*"\s*[:=]\s*[^,{}\[\]\n]+|\[[^\[\]]*\]|\{[^{}]*\}|[^,\n]+')
_FAR = 1_500
"""A value is sought from a random place on, at most so far: scanning long texts whole would cost most of the time."""

Mutation = Callable[[bytearray, random.Random, Sequence[bytes]], None]


def damaged(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """A damaged copy: one to four mutations. ``others``: texts that parts may be taken from."""
    text = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 1, 2, 2, 3, 4))):
        if not text:
            break
        rng.choice(_MUTATIONS)(text, rng, others)
    if rng.random() < 0.001:
        _enormous(text, rng)
    return bytes(text)


def _span(pattern: re.Pattern[bytes], text: bytearray, rng: random.Random) -> tuple[int, int] | None:
    start = rng.randrange(len(text))
    found = pattern.search(text, start, start + _FAR) or pattern.search(text, 0, _FAR)
    return found.span() if found else None


def _other_number(text: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    if span := _span(_NUMBER, text, rng):
        text[slice(*span)] = rng.choice(NUMBERS).encode()


def _nudge_number(text: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    """A number near the one that was there: the most believable of all damage."""
    if span := _span(_NUMBER, text, rng):
        number = float(text[slice(*span)])
        changed = number + rng.choice((1, -1, 0.001, -0.001, 60, 900, 3_600, 7_200, number, -2 * number))
        text[slice(*span)] = repr(changed).encode()


def _other_value(text: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    if span := _span(rng.choice((_NUMBER, _TEXT)), text, rng):
        text[slice(*span)] = rng.choice(VALUES).encode("utf-8", "surrogatepass")


def _quote_or_unquote(text: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    if rng.random() < 0.5:
        if span := _span(_NUMBER, text, rng):
            text[slice(*span)] = b'"' + text[slice(*span)] + b'"'
    elif span := _span(_TEXT, text, rng):
        text[slice(*span)] = text[span[0] + 1 : span[1] - 1]


def _swap_texts(text: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    """A key or a text becomes one that stands elsewhere."""
    other = rng.choice(others)
    if (span := _span(_TEXT, text, rng)) and other and (source := _span(_TEXT, bytearray(other), rng)):
        text[slice(*span)] = other[slice(*source)]


def _repeat_part(text: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    """A key with its value twice, an entry twice, a column more."""
    if span := _span(_PART, text, rng):
        part = bytes(text[slice(*span)])
        text[span[1] : span[1]] = (b"," + part) * rng.choice((1, 1, 1, 2, 20))


def _drop_part(text: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    if span := _span(_PART, text, rng):
        del text[slice(*span)]


def _nest(text: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    if span := _span(rng.choice((_NUMBER, _TEXT)), text, rng):
        depth = rng.choice((1, 2, 20, 500, 1_100))
        left, right = rng.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"[", b""), (b"(", b")")))
        text[slice(*span)] = left * depth + bytes(text[slice(*span)]) + right * depth


def _lines(text: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    lines = bytes(text).split(b"\n")
    if len(lines) > 1:
        first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
        match rng.randrange(4):
            case 0:
                del lines[first]
            case 1:
                lines.insert(first, lines[second])
            case 2:
                lines[first], lines[second] = lines[second], lines[first]
            case _:
                lines[first] += rng.choice((b"\r", b",", b"\0", b" #", b'"')) + lines[second]
        text[:] = b"\n".join(lines)


def _flip_bit(text: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    text[rng.randrange(len(text))] ^= 1 << rng.randrange(8)


def _set_byte(text: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    text[rng.randrange(len(text))] = rng.randrange(256)


def _insert(text: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    at = rng.randrange(len(text) + 1)
    text[at:at] = rng.choice((rng.choice(_BAD_UTF8), rng.choice(VALUES).encode("utf-8", "surrogatepass"), b" " * 64))


def _remove(text: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    at = rng.randrange(len(text))
    del text[at : at + rng.choice((1, 1, 2, 8, 64))]


def _cut(text: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    del text[rng.randrange(len(text)) :]


def _splice(text: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    other = rng.choice(others)
    if other:
        text[rng.randrange(len(text)) :] = other[rng.randrange(len(other)) :]


def _copy_within(text: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    start = rng.randrange(len(text))
    block = text[start : start + rng.choice((4, 16, 64))]
    at = rng.randrange(len(text))
    text[at : at + rng.choice((0, len(block)))] = block


_MUTATIONS: tuple[Mutation, ...] = (
    *(_other_number, _other_number, _nudge_number, _nudge_number, _other_value, _other_value, _quote_or_unquote),
    *(_swap_texts, _repeat_part, _repeat_part, _drop_part, _nest, _lines),
    *(_flip_bit, _set_byte, _insert, _remove, _cut, _splice, _copy_within),
)


def _enormous(text: bytearray, rng: random.Random) -> None:
    """Far longer than anything sound, or nested far deeper."""
    at = rng.randrange(len(text) + 1)
    fill = rng.choice((b"[", b"{", b'{"a":[', b"9", b"x", b'"', b"\\", b"1,", b"[[],", b"\n", b"\0", b"\xff", b"[x]\n"))
    text[at:at] = fill * rng.choice((5_000, 50_000))
