"""A simulated trading site for the demo and the tests: a page and a real Socket.IO server, with faults and the truth.

It speaks what the real platform was measured to speak, down to the framing and the rhythm of the ticks, and writes
every tick of its market to a ground-truth file. See site.py for how to run it, truth.py for reading the truth,
faults.py for what can be made to go wrong.

Under the platform's own host names
-----------------------------------
Chrome can be told to find the platform's names here, so that URL filters see what they will see in reality::

    chromium --host-resolver-rules="MAP pocketoption.com 127.0.0.1:PORT, MAP *.po.market 127.0.0.1:PORT, \\
        MAP chat-po.site 127.0.0.1:PORT"  http://pocketoption.com/

``platform_flags(port)`` returns these flags. The page then opens its sockets at ``ws://demo-api-eu.po.market/…`` and
``ws://chat-po.site/…``.
"""

from capture.simulator.config import Secrets, SiteConfig
from capture.simulator.faults import Fault
from capture.simulator.site import SimulatedSite, run_site
from capture.simulator.truth import Truth, read_truth

__all__ = ["Fault", "Secrets", "SimulatedSite", "SiteConfig", "Truth", "read_truth", "run_site"]
