"""Which subjects to listen to for some streams: few filters that together let all of them through. Pure.

Every filter is a reader of its own at the server, and one reader takes one filter. So few streams are listened to one
by one; many by what they share, and what comes in addition is dropped here.
"""

from __future__ import annotations

from collections.abc import Iterable

from bridge.jetstream.subjects import ROOT, subject_filter
from schemas.types import StreamKey

MOST_FILTERS = 16


def covering(keys: Iterable[StreamKey], *, root: str = ROOT, most: int = MOST_FILTERS) -> frozenset[str]:
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
