"""Transforming: SQL over whole streams, Python functions, declarative mappings; each has a version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datapipe.lazily import lazily

if TYPE_CHECKING:
    from datapipe.transformation.code import CodeTransformer, run_code
    from datapipe.transformation.config import ConfigTransformer, compile_config, run_config
    from datapipe.transformation.first import FirstStep, first_step
    from datapipe.transformation.rows import cells
    from datapipe.transformation.sql import run_sql
    from datapipe.transformation.transformer import SQLTransformer
    from datapipe.transformation.versions import reference_version, step_version
else:
    __getattr__ = lazily(
        __name__,
        {
            "code": "CodeTransformer run_code",
            "config": "ConfigTransformer compile_config run_config",
            "first": "FirstStep first_step",
            "rows": "cells",
            "sql": "run_sql",
            "transformer": "SQLTransformer",
            "versions": "reference_version step_version",
        },
    )

__all__ = [
    "CodeTransformer",
    "ConfigTransformer",
    "FirstStep",
    "SQLTransformer",
    "cells",
    "compile_config",
    "first_step",
    "reference_version",
    "run_code",
    "run_config",
    "run_sql",
    "step_version",
]
