"""Names in JetStream: subjects, message ids, headers. Pure.

A stream's batches and its revisions go to one subject, ``flux.candles.<source>.<symbol>.<interval>``, so that their
order is kept. A subject is tokens between dots; a token is what ``escape`` makes of a part of the key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

import msgspec

from fluxcap.schemas.errors import CodecError
from fluxcap.schemas.types import StreamKey

STREAM_NAME: Final = "FLUX"
"""Name of the JetStream stream, unless another is chosen."""
ROOT: Final = "flux.candles"
ALL_SUBJECTS: Final = f"{ROOT}.>"
"""What the JetStream stream takes in."""
STATUS_ROOT: Final = "flux.status"
"""Heartbeats, beside JetStream (plain NATS, not stored): what JetStream holds of a stream, and how its feed does."""

MESSAGE_ID: Final = "Nats-Msg-Id"
EXPECTED_LAST: Final = "Nats-Expected-Last-Subject-Sequence"
EXPECTED_STREAM: Final = "Nats-Expected-Stream"
STORE_ID: Final = "Flux-Store-Id"
LATEST_SEQUENCE: Final = "Flux-Latest-Sequence"
LATEST_TS_MS: Final = "Flux-Latest-Ts-Ms"
LATEST_REVISION: Final = "Flux-Latest-Revision"
FIRST_SEQUENCE: Final = "Flux-First-Sequence"
"""The lowest sequence that this store has put on the subject."""

_EMPTY = "%"
_UNSAFE = re.compile(rb"[^A-Za-z0-9_#-]")
_TOKEN = re.compile(r"%|(?:[A-Za-z0-9_#-]|%[0-9A-F]{2})+")
_ESCAPE = re.compile(rb"%([0-9A-F]{2})")


def escape(text: str) -> str:
    """Any text as one token: letters, digits, ``_ - #`` stay, each other byte of its UTF-8 is ``%XX``, "" is ``%``.

    Different texts give different tokens, and ``unescape`` gives the text back.
    """
    if not text:
        return _EMPTY
    return _UNSAFE.sub(lambda byte: b"%%%02X" % byte[0][0], text.encode("utf-8", "surrogatepass")).decode("ascii")


def unescape(token: str) -> str:
    """The text that ``escape`` made this token of. Raises CodecError for what it never makes."""
    if _TOKEN.fullmatch(token) is None:
        raise CodecError(f"{token[:80]!r} is not a subject token of fluxcap.")
    if token == _EMPTY:
        return ""
    try:
        text = _ESCAPE.sub(lambda hexed: bytes([int(hexed[1], 16)]), token.encode()).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise CodecError(f"{token[:80]!r} is not a subject token of fluxcap.") from None
    if escape(text) != token:
        raise CodecError(f"{token[:80]!r} is not a subject token of fluxcap.")
    return text


@lru_cache(maxsize=100_000)
def _tokens(key: StreamKey) -> str:
    return f"{escape(key.source_id)}.{escape(key.symbol)}.{escape(key.interval)}"


def subject(key: StreamKey) -> str:
    """Return the subject of a stream's batches and revisions: ``flux.candles.POCKETOPTION.EURUSD_otc.1m``."""
    return f"{ROOT}.{_tokens(key)}"


def status_subject(key: StreamKey) -> str:
    """Return the subject of a stream's heartbeats."""
    return f"{STATUS_ROOT}.{_tokens(key)}"


def subject_filter(
    source_id: str | None = None, symbol: str | None = None, interval: str | None = None, *, root: str = ROOT
) -> str:
    """Subjects of many streams; None stands for any: ``flux.candles.*.*.1m``. ``root``: ROOT or STATUS_ROOT."""
    parts = ("*" if part is None else escape(part) for part in (source_id, symbol, interval))
    return ".".join((root, *parts))


@lru_cache(maxsize=100_000)
def parse_subject(name: str, *, root: str = ROOT) -> StreamKey:
    """The key whose subject this is. Raises CodecError for any other subject."""
    tokens = name.removeprefix(f"{root}.").split(".")
    if not name.startswith(f"{root}.") or len(tokens) != 3:
        raise CodecError(f"{name[:200]!r} is not a subject of fluxcap.")
    return StreamKey(*(unescape(token) for token in tokens))


def message_id(store_id: str, key: StreamKey, sequence: int) -> str:
    """Id of the batch that begins with ``sequence``: ``store_id/source.symbol.interval/sequence``."""
    return f"{store_id}/{_tokens(key)}/{sequence}"


def revision_id(store_id: str, key: StreamKey, revision: int) -> str:
    """Id of the revisions that begin with ``revision``; never that of a batch."""
    return f"{store_id}/{_tokens(key)}/r{revision}"


class Position(msgspec.Struct, frozen=True):
    """A stream's position in JetStream: that of a message and all before it on its subject.

    ``first_sequence``: the lowest of this store there, 0 while none is. All 0 and "" where nothing is.
    """

    store_id: str = ""
    latest_sequence: int = 0
    latest_ts_ms: int = 0
    latest_revision: int = 0
    first_sequence: int = 0


_NUMBERS = (LATEST_SEQUENCE, LATEST_TS_MS, LATEST_REVISION, FIRST_SEQUENCE)
"""The headers of a position's numbers, in the order of its fields."""


def position_headers(position: Position) -> dict[str, str]:
    """Return the headers with a message's position; ``position`` includes the message."""
    store_id, *numbers = msgspec.structs.astuple(position)
    return {STORE_ID: store_id, **dict(zip(_NUMBERS, map(str, numbers), strict=True))}


def position_of(headers: Mapping[str, str] | None) -> Position:
    """The position that a message's headers tell. Raises CodecError when they are not those of a forwarder."""
    given = headers or {}
    store_id = given.get(STORE_ID, "")
    numbers = [given.get(header, "") for header in _NUMBERS]
    if not store_id or not all(text.isascii() and text.isdecimal() and len(text) < 20 for text in numbers):
        raise CodecError("A message in JetStream has no position; it was not written by fluxcap.")
    return Position(store_id, *map(int, numbers))


MAX_FILTERS = 16


def covering_filters(keys: Iterable[StreamKey], *, root: str = ROOT, most: int = MAX_FILTERS) -> frozenset[str]:
    """At most ``most`` (at least 1) filters; no subject passes two of them."""
    wanted = list(keys)
    shapes = (
        {subject_filter(key.source_id, key.symbol, key.interval, root=root) for key in wanted},
        {subject_filter(key.source_id, None, key.interval, root=root) for key in wanted},
        {subject_filter(None, None, key.interval, root=root) for key in wanted},
    )
    fitting = (frozenset(shape) for shape in shapes if len(shape) <= most)
    return next(fitting, frozenset((subject_filter(root=root),)))


def keys_of_topic(topic: bytes) -> tuple[str, list[StreamKey]]:
    """The kind of a wire topic, and the streams that it may be of: parts may hold dots, where one cannot tell.

    ``b"candles.SIM.EURUSD.1m"`` → ``("candles", [StreamKey("SIM", "EURUSD", "1m")])``.
    """
    kind, *parts = topic.decode("utf-8", "replace").split(".")
    splits = range(1, len(parts) - 1)
    keys = [StreamKey(".".join(parts[:n]), ".".join(parts[n:-1]), parts[-1]) for n in splits]
    return kind, keys
