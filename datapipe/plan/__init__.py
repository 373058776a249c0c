"""What is to be done: plans as frozen values and as documents."""

from datapipe.plan.binding import bind, check_bound, check_runnable
from datapipe.plan.contract import CheckSpec, ColumnRule, Contract
from datapipe.plan.document import build, load, loads, parse, read_file, to_dict, to_json, to_yaml
from datapipe.plan.functions import FrameKind, FunctionRef, frame_kind
from datapipe.plan.incremental import Incremental
from datapipe.plan.model import QUEUE_NAME, Plan, parameter_names
from datapipe.plan.rewrite import functions, with_functions
from datapipe.plan.sources import (
    FileSource,
    FrameSource,
    QuerySource,
    Source,
    TableSource,
    incremental_of,
    is_incremental,
)
from datapipe.plan.steps import (
    CodeConfig,
    CodeStep,
    ConfigStep,
    Feed,
    SqlConfig,
    SqlStep,
    Step,
    ValidateConfig,
    ValidateStep,
)
from datapipe.plan.stored import StoredTable
from datapipe.plan.targets import FileTarget, SchemaMode, TableTarget, Target, WriteStrategy
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
    "FrameKind",
    "FrameSource",
    "FunctionRef",
    "Incremental",
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
    "check_runnable",
    "frame_kind",
    "functions",
    "incremental_of",
    "is_incremental",
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
