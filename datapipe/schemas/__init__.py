"""Schemas: contracts and their validation, differences and evolution, the registry."""

from __future__ import annotations

from datapipe.schemas.changes import MODES, Mode, SchemaChange, SchemaDiff, diff
from datapipe.schemas.columns import ColumnSpec, columns_of, version_of
from datapipe.schemas.registry import Compatibility, SchemaRegistry, SchemaVersion
from datapipe.schemas.targets import diff_target, landed

__all__ = [
    "MODES",
    "ColumnSpec",
    "Compatibility",
    "Mode",
    "SchemaChange",
    "SchemaDiff",
    "SchemaRegistry",
    "SchemaVersion",
    "columns_of",
    "diff",
    "diff_target",
    "landed",
    "version_of",
]
