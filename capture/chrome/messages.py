"""The parts of CDP messages that fluxcap reads; everything else in a message is skipped undecoded.

Cookies, request bodies and headers have no field here, so that they never become Python objects: of a response's
headers only its date, its age and what caches mark are read, and of no other host than the platform's. Messages whose
method is not in ``EVENTS`` are dropped by their first bytes. Pure: bytes in, values out.

Chrome writes ``{"method":"…","params":…,"sessionId":"…"}`` in this order; a message in another order takes the slower
way through ``Head`` and means the same.
"""

from __future__ import annotations

import email.utils
from typing import Any, Final

import msgspec

FRAME_RECEIVED: Final = b'{"method":"Network.webSocketFrameReceived",'
FRAME_SENT: Final = b'{"method":"Network.webSocketFrameSent",'
_METHOD_START: Final = b'{"method":"'

NOT_CDP = (msgspec.DecodeError, UnicodeError, RecursionError)
"""What decoding garbage may raise."""


class _Camel(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """Base: field names in CDP's camel case."""


class FrameBody(_Camel, frozen=True, gc=False):
    opcode: int
    payload_data: str


class FrameParams(_Camel, frozen=True, gc=False):
    request_id: str
    response: FrameBody


class FrameMessage(_Camel, frozen=True, gc=False):
    params: FrameParams
    session_id: str = ""


class Head(_Camel, frozen=True):
    """The outside of any message: an answer has ``id``, an event ``method``."""

    id: int | None = None
    method: str = ""
    params: msgspec.Raw = msgspec.Raw(b"{}")
    session_id: str = ""
    error: msgspec.Raw = msgspec.Raw(b"")
    result: msgspec.Raw = msgspec.Raw(b"{}")


class ErrorBody(_Camel, frozen=True):
    code: int = 0
    message: str = ""


class AttachResult(_Camel, frozen=True):
    session_id: str


class VersionResult(_Camel, frozen=True):
    product: str = ""


class WorldResult(_Camel, frozen=True):
    execution_context_id: int


class TextValue(_Camel, frozen=True):
    value: str = ""


class EvaluateResult(_Camel, frozen=True):
    result: TextValue


class TargetInfo(_Camel, frozen=True):
    target_id: str
    type: str
    url: str = ""
    title: str = ""
    parent_id: str = ""
    """The target that holds this frame; ``""`` for pages, and from browsers that do not say."""


class TargetInfoParams(_Camel, frozen=True):
    target_info: TargetInfo


class AttachedParams(_Camel, frozen=True):
    session_id: str
    target_info: TargetInfo


class DetachedParams(_Camel, frozen=True):
    session_id: str


class TargetParams(_Camel, frozen=True):
    target_id: str


class NoParams(_Camel, frozen=True):
    pass


class SocketCreatedParams(_Camel, frozen=True):
    request_id: str
    url: str = ""


class SocketParams(_Camel, frozen=True):
    request_id: str


class HandshakeResponse(_Camel, frozen=True):
    headers: msgspec.Raw = msgspec.Raw(b"{}")


class HandshakeParams(_Camel, frozen=True):
    request_id: str
    response: HandshakeResponse = HandshakeResponse()


class Response(_Camel, frozen=True):
    """``headers`` stay undecoded until the address is known to be the platform's."""

    url: str = ""
    headers: msgspec.Raw = msgspec.Raw(b"{}")
    from_disk_cache: bool = False
    from_service_worker: bool = False
    from_prefetch_cache: bool = False

    @property
    def is_cached(self) -> bool:
        """Return whether the browser did not ask the server for it."""
        return self.from_disk_cache or self.from_service_worker or self.from_prefetch_cache


class ResponseParams(_Camel, frozen=True):
    response: Response = Response()
    type: str = ""


class DateHeaders(msgspec.Struct, frozen=True):
    """All that is read of a response's headers: HTTP/1 writes their names in capitals, HTTP/2 small."""

    date_1: str = msgspec.field(name="Date", default="")
    date_2: str = msgspec.field(name="date", default="")
    age_1: str = msgspec.field(name="Age", default="")
    age_2: str = msgspec.field(name="age", default="")
    cache_1: str = msgspec.field(name="X-Cache", default="")
    cache_2: str = msgspec.field(name="x-cache", default="")
    cloudflare_1: str = msgspec.field(name="CF-Cache-Status", default="")
    cloudflare_2: str = msgspec.field(name="cf-cache-status", default="")

    @property
    def is_cached(self) -> bool:
        """Return whether a cache on the way gave the response, so that its date may be an old one."""
        marks = f"{self.cache_1} {self.cache_2} {self.cloudflare_1} {self.cloudflare_2}".lower()
        return bool(self.age_1 or self.age_2) or any(mark in marks for mark in _CACHE_MARKS)

    @property
    def date_ms(self) -> int | None:
        """UTC milliseconds; None for none, or for what is no date."""
        told = self.date_1 or self.date_2
        if not told.endswith("GMT"):
            return None
        try:
            date_ms = round(email.utils.parsedate_to_datetime(told).timestamp()) * 1_000
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
        return date_ms if 0 < date_ms < _DATE_MAX_MS else None


_CACHE_MARKS = ("hit", "stale", "updating", "revalidated")
_DATE_MAX_MS = 32_503_680_000_000
"""The year 3000."""


class SocketErrorParams(_Camel, frozen=True):
    request_id: str
    error_message: str = ""


class Frame(_Camel, frozen=True):
    id: str
    url: str = ""
    parent_id: str = ""


class NavigatedParams(_Camel, frozen=True):
    frame: Frame
    type: str = "Navigation"


decode_head = msgspec.json.Decoder(Head).decode
decode_frame = msgspec.json.Decoder(FrameMessage).decode
decode_error = msgspec.json.Decoder(ErrorBody).decode
decode_world = msgspec.json.Decoder(WorldResult).decode
decode_evaluated = msgspec.json.Decoder(EvaluateResult).decode
decode_date_headers = msgspec.json.Decoder(DateHeaders).decode
decode_version = msgspec.json.Decoder(VersionResult).decode
decode_attach_result = msgspec.json.Decoder(AttachResult).decode

EVENTS: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    method: msgspec.json.Decoder(params)
    for method, params in (
        ("Network.webSocketFrameReceived", FrameParams),
        ("Network.webSocketFrameSent", FrameParams),
        ("Network.webSocketCreated", SocketCreatedParams),
        ("Network.webSocketHandshakeResponseReceived", HandshakeParams),
        ("Network.responseReceived", ResponseParams),
        ("Network.webSocketClosed", SocketParams),
        ("Network.webSocketFrameError", SocketErrorParams),
        ("Target.targetCreated", TargetInfoParams),
        ("Target.targetInfoChanged", TargetInfoParams),
        ("Target.targetDestroyed", TargetParams),
        ("Target.targetCrashed", TargetParams),
        ("Target.attachedToTarget", AttachedParams),
        ("Target.detachedFromTarget", DetachedParams),
        ("Inspector.targetCrashed", NoParams),
        ("Inspector.targetReloadedAfterCrash", NoParams),
        ("Page.frameNavigated", NavigatedParams),
    )
}
"""The events that are read, each with the decoder of its params."""

_WANTED = frozenset(method.encode() for method in EVENTS)


def is_unread_event(message: bytes) -> bool:
    """True for an event that nobody reads, recognised by its first bytes alone."""
    if not message.startswith(_METHOD_START):
        return False
    end = message.find(b'"', len(_METHOD_START))
    return end > 0 and message[len(_METHOD_START) : end] not in _WANTED


def encode_command(command_id: int, method: str, params: dict[str, Any], session_id: str) -> str:
    """A command as Chrome takes it; ``session_id`` ``""`` speaks to the browser itself."""
    command: dict[str, Any] = {"id": command_id, "method": method, "params": params}
    if session_id:
        command["sessionId"] = session_id
    return msgspec.json.encode(command).decode()
