"""Schemas: contracts and their validation, differences and evolution, the registry."""

from __future__ import annotations

from datapipe.plan import Contract
from datapipe.schemas.changes import SchemaChange, SchemaDiff, diff
from datapipe.schemas.columns import ColumnSpec, columns_of, version_of
from datapipe.schemas.failures import Failure
from datapipe.schemas.infer import infer
from datapipe.schemas.pandera_form import contract_lines, contract_of, is_pandera, row_wise
from datapipe.schemas.validation import run_validate
from datapipe.schemas.validator import SchemaValidator

__all__ = [
    "ColumnSpec",
    "Contract",
    "Failure",
    "SchemaChange",
    "SchemaDiff",
    "SchemaValidator",
    "columns_of",
    "contract_lines",
    "contract_of",
    "diff",
    "infer",
    "is_pandera",
    "row_wise",
    "run_validate",
    "version_of",
]
