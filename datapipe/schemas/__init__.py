"""Schemas: contracts and their validation, differences and evolution, the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datapipe.lazily import lazily
from datapipe.plan import Contract

if TYPE_CHECKING:
    from datapipe.schemas.changes import MODES, Mode, SchemaChange, SchemaDiff, diff
    from datapipe.schemas.columns import ColumnSpec, columns_of, version_of
    from datapipe.schemas.failures import Failure
    from datapipe.schemas.inference import infer
    from datapipe.schemas.pandera_form import contract_lines, contract_of, is_pandera, portable_schema, row_wise
    from datapipe.schemas.registry import Compatibility, SchemaRegistry, SchemaVersion
    from datapipe.schemas.targets import diff_target, landed
    from datapipe.schemas.validation import judges_across_rows, run_validate
    from datapipe.schemas.validator import SchemaValidator
else:
    __getattr__ = lazily(
        __name__,
        {
            "changes": "MODES Mode SchemaChange SchemaDiff diff",
            "columns": "ColumnSpec columns_of version_of",
            "failures": "Failure",
            "inference": "infer",
            "pandera_form": "contract_lines contract_of is_pandera portable_schema row_wise",
            "registry": "Compatibility SchemaRegistry SchemaVersion",
            "targets": "diff_target landed",
            "validation": "judges_across_rows run_validate",
            "validator": "SchemaValidator",
        },
    )

__all__ = [
    "MODES",
    "ColumnSpec",
    "Compatibility",
    "Contract",
    "Failure",
    "Mode",
    "SchemaChange",
    "SchemaDiff",
    "SchemaRegistry",
    "SchemaValidator",
    "SchemaVersion",
    "columns_of",
    "contract_lines",
    "contract_of",
    "diff",
    "diff_target",
    "infer",
    "is_pandera",
    "judges_across_rows",
    "landed",
    "portable_schema",
    "row_wise",
    "run_validate",
    "version_of",
]
