"""Folders and files of the user's own, where every system keeps them; ``./data`` and ``./fluxcap.toml`` go before them.

So an installed fluxcap has one store and one settings file, whatever folder it is started in, and a checkout, which has
a folder ``data``, keeps to its own.
"""

from __future__ import annotations

import os
from pathlib import Path

from fluxcap.bridge.system.folders import APP

CONFIG_FILE = "fluxcap.toml"
LOG_FOLDER = "logs"


def own_profile() -> Path:
    """Return the folder of the Chrome profile that is fluxcap's own."""
    from platformdirs import user_data_path

    return user_data_path(APP, appauthor=False) / "chrome"


def own_config_file() -> Path:
    """Return the user's own settings file, absolute, whether or not it is there."""
    from platformdirs import user_config_path

    return user_config_path(APP, appauthor=False) / CONFIG_FILE


def state_dir() -> Path:
    """Return the folder of what must not lie in the data folder: ``FLUXCAP_STATE_DIR``, or the user's own."""
    chosen = os.environ.get("FLUXCAP_STATE_DIR")
    if chosen:
        return Path(chosen)
    from platformdirs import user_state_path

    return user_state_path(APP, appauthor=False)
