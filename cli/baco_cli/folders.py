"""Where baco keeps what belongs to the user; opens nothing and makes nothing."""

from __future__ import annotations

from pathlib import Path

import platformdirs

__all__ = ["cache_dir", "config_dir", "data_dir", "pairs_file"]


def config_dir() -> Path:
    """Return the folder of settings."""
    return platformdirs.user_config_path("baco", appauthor=False)


def data_dir() -> Path:
    """Return the folder of chats."""
    return platformdirs.user_data_path("baco", appauthor=False)


def cache_dir() -> Path:
    """Return the folder of what can be made again: calibrations."""
    return platformdirs.user_cache_path("baco", appauthor=False)


def pairs_file() -> Path:
    """Return the user's own list of pairs."""
    return config_dir() / "pairs.toml"
