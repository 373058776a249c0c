"""The options by which a command is given a plan."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated

import typer

from datapipe.cli.completing import among, plan_files
from datapipe.cli.plans import PlanOptions, pipeline_of, pipeline_or_job
from datapipe.errors import PlanError

if TYPE_CHECKING:
    from datapipe.notebooks.job import NotebookJob
    from datapipe.pipeline import Pipeline

_PLAN = "A plan: YAML, JSON, or a Python file with a variable plan"
File = Annotated[str | None, typer.Argument(metavar="FILE", help=f"{_PLAN}.", autocompletion=plan_files)]
FileOrNotebook = Annotated[
    str | None, typer.Argument(metavar="FILE", help=f"{_PLAN}; or a notebook.", autocompletion=plan_files)
]
PlanFile = Annotated[str, typer.Argument(metavar="PLAN", help=f"{_PLAN}.", autocompletion=plan_files)]
PlanOrNotebook = Annotated[
    str, typer.Argument(metavar="FILE", help=f"{_PLAN}; or a notebook.", autocompletion=plan_files)
]
Config = Annotated[str | None, typer.Option("--config", help="The same as FILE.", autocompletion=plan_files)]
Query = Annotated[str | None, typer.Option(help="The query to read.")]
SourceUrl = Annotated[
    str | None, typer.Option(help="The source database, or a connection's name; SOURCE_DB_URL if left out.")
]
TYPES = among("sql", "code", "config")  # of a single stage
_STEPS = among("sql", "code", "config", "validate")
TransformType = Annotated[str | None, typer.Option(help="sql, code, config or validate.", autocompletion=_STEPS)]
TransformConfig = Annotated[
    str | None, typer.Option(help='JSON such as {"sql_query": "SELECT …"}, or a YAML or JSON file.')
]
TableName = Annotated[str | None, typer.Option(help="The table to write.")]
STRATEGIES = among("append", "insert", "upsert", "replace")
Strategy = Annotated[str | None, typer.Option(help="append, insert, upsert or replace.", autocompletion=STRATEGIES)]
Keys = Annotated[
    list[str] | None,
    typer.Option("--upsert-keys", metavar="COLUMNS", help="Key columns: id,day, or repeat the option."),
]
DestUrl = Annotated[
    str | None, typer.Option(help="The destination database, or a connection's name; DEST_DB_URL if left out.")
]
Params = Annotated[
    list[str] | None, typer.Option("--param", "-p", metavar="NAME=VALUE", help="For the plan's :name; repeat for more.")
]
AnyParams = Annotated[
    list[str] | None,
    typer.Option("--param", "-p", metavar="NAME=VALUE", help="For the plan's :name, or the notebook's; repeat it."),
]
Memory = Annotated[
    str | None, typer.Option(help="What the run may use, 512MB if left out; of a notebook, what its kernel may have.")
]
Key = Annotated[str | None, typer.Option(help="Runs with one key take effect once.")]


class IfRunning(enum.StrEnum):
    """What a run does while another one has its key."""

    wait = "wait"
    fail = "fail"
    skip = "skip"


Running = Annotated[IfRunning, typer.Option(help="What to do while another run has the key.")]
MEMORY = "512MB"


def given_pipeline(file: str | None, config: str | None, options: PlanOptions, params: list[str] | None) -> Pipeline:
    return pipeline_of(_one(file, config), options, params or ())


def given(file: str | None, config: str | None, options: PlanOptions) -> Pipeline | NotebookJob:
    return pipeline_or_job(_one(file, config), options)


def _one(file: str | None, config: str | None) -> str | None:
    if file and config:
        raise PlanError("both FILE and --config are given", hint="Give one of them")
    return file or config
