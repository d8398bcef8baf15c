"""Keeps secrets out of the log: the last line of defence, behind code that does not hand them to it. Pure.

A session token, cookie, password or login frame that finds its way into a message, a field, an exception's text or a
URL is replaced by ``[redacted]``. What looks like a token is treated as one: 24 and more letters and digits in a row
with both among them. Stream names, paths, addresses and process numbers do not look so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

REDACTED = "[redacted]"
_NAME = r"(?:session|ssid|token|cookie|auth|password|passwd|secret|api[_-]?key|balance)"
_SECRET_FIELD = re.compile(rf"(?i).*{_NAME}.*|[su]id")
_QUOTES = r"[\\\"']*"
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # The login frame, to its end: 42["auth",{"session":…}]
    (re.compile(r"(\[\s*\\*\"auth\\*\").*", re.DOTALL), rf"\1,{REDACTED}"),
    (re.compile(r"(?i)\b((?:set-)?cookie:\s*)[^\r\n]*"), rf"\1{REDACTED}"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), rf"\1 {REDACTED}"),
    # PHP's serialisation, as the platform's session is: s:10:"session_id";s:32:"…"
    (re.compile(rf"(?i)({_NAME}\w*\\*\";s:\d+:\\*\")[^\"\\]*"), rf"\1{REDACTED}"),
    (
        re.compile(
            rf"(?i)((?:\b|_){_NAME}\w*{_QUOTES}\s*[:=]\s*|\b[su]id{_QUOTES}\s*[:=]\s*)({_QUOTES})[^\s,;&\"'\\}}]+"
        ),
        rf"\1\2{REDACTED}",
    ),
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*"), REDACTED),
    # Of addresses only what says where: no user, no query, no fragment.
    (re.compile(r"(\b\w+://)[^/\s@\"']+@"), r"\1"),
    (re.compile(r"(\b(?:https?|wss?)://[^\s?#\"'<>]*)[?#][^\s\"'<>]*"), r"\1"),
    (
        re.compile(r"(?<![A-Za-z0-9])(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9]{24,}(?![A-Za-z0-9])"),
        REDACTED,
    ),
)


def redact(text: str) -> str:
    """The text without what looks like a secret."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def redact_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of an event, by name and by value, at any depth. Numbers under harmless names stay numbers."""
    return {name: REDACTED if _SECRET_FIELD.fullmatch(name) else redact_value(value) for name, value in fields.items()}


def redact_value(value: Any) -> Any:
    """As ``redact_fields``, for one value."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return redact_fields({str(name): item for name, item in value.items()})
    if isinstance(value, list | tuple | set | frozenset):
        return [redact_value(item) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return redact(bytes(value).decode(errors="replace"))
    return redact(str(value))
