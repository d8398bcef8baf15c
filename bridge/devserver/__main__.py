"""``python -m bridge.devserver``: see ``bridge.devserver.process``."""

import sys

from bridge.devserver.process import main

sys.exit(main(sys.argv[1:]))
