"""Runs a command of fluxcap that may write no file of more than a few bytes, as on a full disk, until that is lifted.

Its log is a pipe or a file that was opened before: so much it may write to it.
"""

from __future__ import annotations

import resource
import signal

from fluxcap.capture.cli.app import main

LOG_BYTES = 8_000

if __name__ == "__main__":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LOG_BYTES, resource.RLIM_INFINITY))
    main()
