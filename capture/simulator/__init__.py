"""A simulated trading site for the demo and the tests: a page and a real Socket.IO server, with faults and the truth.

It speaks what the real platform was measured to speak, down to the framing and the rhythm of the ticks, and writes
every tick of its market to a ground-truth file. See site.py for how to run it, truth.py for reading the truth,
faults.py for what can be made to go wrong.

Under the platform's own host names: start Chrome with ``platform_flags(site.port)`` and open ``PAGE_URL``; the page is
then at ``http://pocketoption.com/`` and its sockets at ``ws://demo-api-eu.po.market/…`` and ``ws://chat-po.site/…``.
"""

from fluxcap.capture.simulator.config import PAGE_URL, Secrets, SiteConfig, platform_flags
from fluxcap.capture.simulator.server.faults import Fault
from fluxcap.capture.simulator.site import SimulatedSite, run_site
from fluxcap.capture.simulator.truth import Truth, read_truth

__all__ = [
    "PAGE_URL",
    "Fault",
    "Secrets",
    "SimulatedSite",
    "SiteConfig",
    "Truth",
    "platform_flags",
    "read_truth",
    "run_site",
]
