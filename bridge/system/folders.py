"""The data folder: ``./data`` where that folder is there, else one of the user's own, where every system keeps them."""

from __future__ import annotations

from pathlib import Path

APP = "fluxcap"
"""The name of the folders of the user's own."""
DATA_HERE = Path("data")
STORE_FILE = "fluxcap.duckdb"
"""The store in the data folder."""


def default_data_dir() -> Path:
    """Return ``./data`` where that folder exists, else the user's own data folder."""
    return DATA_HERE if DATA_HERE.is_dir() else own_data_dir()


def own_data_dir() -> Path:
    """Return the user's own data folder, absolute, whether or not it is there."""
    from platformdirs import user_data_path

    return user_data_path(APP, appauthor=False) / "data"
