"""Faults of the trading site: its sockets, its ticks, its clock, and the server as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from fluxcap.capture.simulator import Fault as SiteFault
from tests.soak.storm.fault import PAGE, SILENT, Make, StormFault, feed, logged
from tests.soak.storm.rig import StormRig
from tests.support.daemon.fault_rig import FOCUS


def on_site(fault: SiteFault, **settings: object) -> Make:
    @contextmanager
    def make(rig: StormRig, _draw: Random) -> Iterator[None]:
        rig.site.inject(fault, **settings)
        yield
        rig.site.end(fault)

    return make


@contextmanager
def one_asset_quiet(rig: StormRig, draw: Random) -> Iterator[None]:
    rig.site.inject(SiteFault.QUIET_MARKET, symbols=(draw.choice(FOCUS),))
    yield
    rig.site.end(SiteFault.QUIET_MARKET)


@contextmanager
def refused(rig: StormRig, _draw: Random) -> Iterator[None]:
    rig.site.inject(SiteFault.REFUSE)
    rig.site.inject(SiteFault.CLOSE_SOCKETS)
    yield
    rig.site.end(SiteFault.REFUSE)


@contextmanager
def site_down(rig: StormRig, _draw: Random) -> Iterator[None]:
    rig.site.stop()
    yield
    rig.site.start()


CLOSED = ("socket closed", "socket broken")
CLOSE_TOLD = logged("socket.closed", "closed", "frame_error")
"""On a busy machine Chrome may meet the broken connection before it hears of the close."""

SILENCE_S = (22.0, 26.0)
"""A thin or quiet market before makes sockets patient, by up to 20 s here: a shorter silence could stay unseen."""

SITE_FAULTS = (
    StormFault(
        "socket closed by the server",
        PAGE,
        on_site(SiteFault.CLOSE_SOCKETS),
        CLOSED,
        CLOSE_TOLD,
    ),
    StormFault(
        "socket closed without a word",
        PAGE,
        on_site(SiteFault.CLOSE_SOCKETS, abrupt=True),
        CLOSED,
        CLOSE_TOLD,
    ),
    StormFault("socket silent", PAGE, on_site(SiteFault.SILENCE, pings=True), (SILENT,), feed("stalled"), SILENCE_S),
    StormFault("socket silent but for pings", PAGE, on_site(SiteFault.SILENCE), (SILENT,), feed("stalled"), SILENCE_S),
    StormFault("sockets refused", PAGE, refused, CLOSED, CLOSE_TOLD, (2, 6)),
    StormFault("site down", PAGE, site_down, CLOSED, CLOSE_TOLD, (2, 6)),
    StormFault("ticks held back, then a burst", PAGE, on_site(SiteFault.BACKLOG), (SILENT,), None, (2, 8)),
    StormFault("ticks with jitter", PAGE, on_site(SiteFault.JITTER, extra_ms=600), (), None, (2, 6)),
    StormFault("ticks twice", PAGE, on_site(SiteFault.DUPLICATES, share=0.5), (), None, (2, 6)),
    StormFault("ticks late and out of order", PAGE, on_site(SiteFault.LATE_TICKS), (), None, (2, 6), alone=True),
    StormFault("garbage", PAGE, on_site(SiteFault.GARBAGE, seconds=3.0), (), None, (3, 4)),
    StormFault("quiet market, one asset", PAGE, one_asset_quiet, (), None, (2, 8)),
    StormFault("thin market", PAGE, on_site(SiteFault.THIN_MARKET, mean_s=8.0), (SILENT,), None, (8, 14)),
    StormFault("trades of one millisecond", PAGE, on_site(SiteFault.BUNCHED_MARKET), (), None, (5, 9)),
    StormFault("quiet market", PAGE, on_site(SiteFault.QUIET_MARKET), (SILENT,), None, (2, 8)),
    StormFault(
        "platform's clock steps",
        PAGE,
        on_site(SiteFault.CLOCK_STEP, offset_s=3_600),
        ("platform clock changed", SILENT),
        None,
        (14, 16),
        alone=True,
    ),
)
