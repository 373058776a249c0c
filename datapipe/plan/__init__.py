"""What is to be done: plans as frozen values and as documents."""

from datapipe.plan.binding import bind, check_bound
from datapipe.plan.contract import CheckSpec, ColumnRule, Contract
from datapipe.plan.document import build, load, loads, parse, read_file, to_dict, to_json, to_yaml
from datapipe.plan.functions import FunctionRef
from datapipe.plan.model import (
    QUEUE_NAME,
    CodeConfig,
    CodeStep,
    ConfigStep,
    Feed,
    FileSource,
    FileTarget,
    FrameSource,
    Plan,
    QuerySource,
    SchemaMode,
    Source,
    SqlConfig,
    SqlStep,
    Step,
    TableSource,
    TableTarget,
    Target,
    ValidateConfig,
    ValidateStep,
    WriteStrategy,
    parameter_names,
)
from datapipe.plan.rewrite import functions, with_functions
from datapipe.plan.stored import StoredTable
from datapipe.plan.transform import TransformConfig
from datapipe.plan.urls import DatabaseUrl

__all__ = [
    "QUEUE_NAME",
    "CheckSpec",
    "CodeConfig",
    "CodeStep",
    "ColumnRule",
    "ConfigStep",
    "Contract",
    "DatabaseUrl",
    "Feed",
    "FileSource",
    "FileTarget",
    "FrameSource",
    "FunctionRef",
    "Plan",
    "QuerySource",
    "SchemaMode",
    "Source",
    "SqlConfig",
    "SqlStep",
    "Step",
    "StoredTable",
    "TableSource",
    "TableTarget",
    "Target",
    "TransformConfig",
    "ValidateConfig",
    "ValidateStep",
    "WriteStrategy",
    "bind",
    "build",
    "check_bound",
    "functions",
    "load",
    "loads",
    "parameter_names",
    "parse",
    "read_file",
    "to_dict",
    "to_json",
    "to_yaml",
    "with_functions",
]
