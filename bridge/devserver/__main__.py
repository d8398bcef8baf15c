"""``python -m fluxcap.bridge.devserver``: see ``fluxcap.bridge.devserver.process``."""

import sys

from fluxcap.bridge.devserver.process import main

sys.exit(main(sys.argv[1:]))
