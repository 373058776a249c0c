"""Schemas: contracts and their validation, differences and evolution, the registry."""

from __future__ import annotations

from datapipe.schemas.changes import SchemaChange, SchemaDiff, diff
from datapipe.schemas.columns import ColumnSpec, columns_of, version_of

__all__ = ["ColumnSpec", "SchemaChange", "SchemaDiff", "columns_of", "diff", "version_of"]
