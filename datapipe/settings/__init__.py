"""What the environment says: settings, and connections by name."""

from __future__ import annotations

from datapipe.settings.connections import (
    PoolOptions,
    connect,
    connection,
    connection_names,
    named_connections,
    pool_options,
)
from datapipe.settings.current import data_home, settings
from datapipe.settings.environ import environment, expand, variable
from datapipe.settings.model import Settings

__all__ = [
    "PoolOptions",
    "Settings",
    "connect",
    "connection",
    "connection_names",
    "data_home",
    "environment",
    "expand",
    "named_connections",
    "pool_options",
    "settings",
    "variable",
]
