"""The chart page: a client of the wire like any other, in the browser of whoever looks.

``app.mount_dashboard`` adds it to a FastAPI application (the daemon's), ``app.run_dashboard`` serves it alone. Candles
come over the wire (``fluxcap.bridge.client``); assets, focus, files and the collect mode over the REST API of a daemon,
of which it knows nothing but the address. Pure: ``rows``, ``stream_buffer``, ``view_state``.
Everything it shows is served from here; nothing is fetched from outside.
"""

import os
import tempfile
from pathlib import Path

# Before NiceGUI is imported: should it ever keep anything, then in no folder of the user's.
os.environ.setdefault("NICEGUI_STORAGE_PATH", str(Path(tempfile.gettempdir()) / "fluxcap-nicegui"))
