"""Bodies of requests and answers, as the OpenAPI document has them."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from datapipe.plan import QUEUE_NAME

State = Literal["queued", "running", "succeeded", "failed", "cancelled", "skipped", "lost"]
# Checked by the plan's own parser, whose errors name step and field; the OpenAPI document puts the plan's schema here.
PlanDocument = dict[str, Any]
Values = dict[str, JsonValue]
Queue = Annotated[str, Field(pattern=QUEUE_NAME)]
Name = Annotated[str, Field(min_length=1, max_length=128)]
IfRunning = Literal["wait", "fail", "skip"]

EXAMPLE: dict[str, JsonValue] = {
    "ingestion": {
        "query": "SELECT * FROM users WHERE created_at > :start_date",
        "source": "crm",
        "parameters": {"start_date": "2024-01-01"},
    },
    "transformation": {
        "type": "sql",
        "config": {"sql_query": "SELECT id, UPPER(name) AS name_upper FROM input_data"},
    },
    "persistence": {"table_name": "users_staging", "strategy": "upsert", "upsert_keys": ["id"]},
}


class Body(BaseModel):
    """What a request says; a field that is not known is refused."""

    model_config = ConfigDict(extra="forbid")


class _Asked(Body):
    pipeline_id: Name | None = Field(default=None, description="Your name for the run; its id if left out.")
    queue: Queue | None = Field(default=None, description="The queue; the plan's, or the default one, if left out.")
    idempotency_key: Name | None = Field(default=None, description="Runs with one key take effect once.")
    if_running: IfRunning = Field(default="wait", description="What to do while another run has the key.")


class PipelineRequest(_Asked):
    """A plan to run."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"pipeline_config": EXAMPLE}]})

    pipeline_config: PlanDocument
    parameters: Values = Field(default_factory=dict, description="Other values for the plan's named parameters.")
    memory: str | int = Field(default="512MB", description="What the run may use.")


class NotebookRequest(_Asked):
    """A notebook to run."""

    parameters: Values = Field(default_factory=dict, description="Values of its parameters.")
    name: Name | None = Field(default=None, description="What the job is called; the notebook's name if left out.")
    timeout: float | None = Field(default=None, gt=0, description="Seconds that it may take.")
    cell_timeout: float | None = Field(default=None, gt=0, description="Seconds that any one cell may take.")
    memory: str | None = Field(default=None, description="What its kernel may have in memory.")
    retries: int | None = Field(default=None, ge=0, le=20, description="Further attempts after an error that may pass.")


class Filters(Body):
    """Which runs a list has."""

    state: State | None = None
    kind: Literal["plan", "notebook", "ingest", "transform", "persist"] | None = None
    name: str | None = Field(default=None, max_length=128)
    pipeline_id: str | None = Field(default=None, max_length=128)
    correlation_id: str | None = Field(default=None, max_length=128)
    parent_run_id: str | None = Field(default=None, max_length=128)
    owner: str | None = Field(default=None, max_length=128)
    queue: str | None = Field(default=None, max_length=64)
    via: str | None = Field(default=None, max_length=20, description="rest, cli, notebook or script.")
    since: dt.datetime | None = Field(default=None, description="Only runs recorded from then on.")
    until: dt.datetime | None = Field(default=None, description="Only runs recorded before.")
    limit: int = Field(default=50, ge=1, le=500)
    after: str | None = Field(default=None, max_length=512, description="next of the page before.")


class PlanRequest(Body):
    """A plan to look at."""

    pipeline_config: PlanDocument
    parameters: Values = Field(default_factory=dict, description="Other values for the plan's named parameters.")


class Ingest(Body):
    """Rows to read: the fields of a plan's ``ingestion``."""

    model_config = ConfigDict(extra="allow")

    query: str | None = Field(default=None, description="The query to read; or table, or files.")
    source_db_url: str | None = None
    source: str | None = None
    parameters: Values | None = None


class _Further(Body):
    model_config = ConfigDict(extra="allow")

    task_id: str | None = Field(default=None, description="The task that has left the rows: ingest or transform.")
    previous_result: dict[str, JsonValue] | None = Field(default=None, description="Its result, in place of its id.")
    rows: list[dict[str, JsonValue]] | None = Field(
        default=None, max_length=100_000, description="The rows themselves, in place of a task that has left some."
    )
    keep: bool = Field(default=False, description="Whether the rows stay there for other tasks, too.")


class Transform(_Further):
    """A step, and the rows it works on."""

    type: Literal["sql", "code", "config", "validate"] = "sql"
    config: dict[str, Any]


class Persist(_Further):
    """Rows to write, and the fields of a plan's ``persistence``."""

    table_name: str
    strategy: Literal["append", "insert", "upsert", "replace"] | None = None
    upsert_keys: list[str] | None = None
    dest_db_url: str | None = None
    destination: str | None = None


class Accepted(BaseModel):
    """A run that was recorded and queued."""

    pipeline_id: str
    task_id: str
    run_id: str
    state: Literal["queued"]


class Failure(BaseModel):
    """Why a run failed."""

    model_config = ConfigDict(extra="allow")

    type: str | None = None
    message: str | None = None
    step: str | None = None
    hint: str | None = None


class RunSummary(BaseModel):
    """A run as a list has it. Times are ISO 8601 in UTC."""

    run_id: str
    task_id: str
    pipeline_id: str
    kind: str
    name: str | None
    state: State
    reason: str | None
    source: str | None
    target: str | None
    owner: str | None
    via: str | None
    worker: str | None
    queue: str | None
    correlation_id: str | None
    parent_run_id: str | None
    created: str
    queued: str | None
    started: str | None
    ended: str | None
    attempts: int
    rows_read: int
    rows_written: int
    error: Failure | None


class Step(BaseModel):
    """How far a step is."""

    model_config = ConfigDict(extra="allow")

    number: int
    name: str
    rows_in: int
    rows_out: int
    total: int | None
    rejected: int
    seconds: float | None


class RunDetail(RunSummary):
    """A run with its steps and what came of it."""

    seconds: float | None = Field(description="How long it took, or takes so far.")
    cancel_requested: str | None
    steps: list[Step]
    result: dict[str, JsonValue] | None
    links: dict[str, str]


class RunList(BaseModel):
    """A page of runs, the newest first."""

    runs: list[RunSummary]
    next: str | None = Field(description="What to give as after for the next page; null on the last one.")


class LogLine(BaseModel):
    """Something that a run had to say."""

    id: int
    time: str
    kind: str
    step: str | None
    message: str


class Log(BaseModel):
    """The lines of a run's log."""

    lines: list[LogLine]


class Asked(BaseModel):
    """What came of asking a run to stop."""

    run_id: str
    state: State
    cancel_requested: bool
