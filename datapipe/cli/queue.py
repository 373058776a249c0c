"""The commands that send plans to workers, and the worker itself."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from datapipe.cli.jobs import How, completed, submit_job
from datapipe.cli.options import (
    MEMORY,
    AnyParams,
    Config,
    DestUrl,
    FileOrNotebook,
    IfRunning,
    Key,
    Keys,
    Memory,
    Query,
    Running,
    SourceUrl,
    Strategy,
    TableName,
    TransformConfig,
    TransformType,
    given,
)
from datapipe.cli.plans import PlanOptions, with_values
from datapipe.cli.reporting import CANCELLED, Debug, Json, ReadyJson, goes_on, only_json, ready_line, reported
from datapipe.hosts import part


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    for command in (submit, worker):
        app.command()(command)


def submit(
    file: FileOrNotebook = None,
    config: Config = None,
    query: Query = None,
    source_db_url: SourceUrl = None,
    transform_type: TransformType = None,
    transform_config: TransformConfig = None,
    table_name: TableName = None,
    strategy: Strategy = None,
    upsert_keys: Keys = None,
    dest_db_url: DestUrl = None,
    param: AnyParams = None,
    memory: Memory = None,
    queue: Annotated[str | None, typer.Option(help="The queue; the plan's, or DATAPIPE_QUEUE, if left out.")] = None,
    pipeline_id: Annotated[str | None, typer.Option(help="Your name for the run.")] = None,
    idempotency_key: Key = None,
    if_running: Running = IfRunning.wait,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; exit code as for run.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Send a plan, or a notebook, to the workers, and print the run's id.

    \b
    datapipe submit recipes/upsert_users.yaml --param since=2024-01-01 --wait
    """
    options = PlanOptions(
        query, source_db_url, transform_type, transform_config, table_name, strategy, upsert_keys or (), dest_db_url
    )
    with reported(debug=debug, as_json=as_json):
        from datapipe.notebooks.job import NotebookJob

        with only_json(as_json=as_json):
            found = given(file, config, options)
        if isinstance(found, NotebookJob):
            how = How(idempotency_key, if_running, as_json=as_json, debug=debug)
            load = lambda: completed(found, param, {"memory": memory})  # noqa: E731  # it fails where errors are told
            submit_job(load, how, queue=queue, pipeline_id=pipeline_id, wait=wait)
            return
        run = with_values(found, param or ()).submit(
            memory or MEMORY,
            queue=queue,
            pipeline_id=pipeline_id,
            idempotency_key=idempotency_key,
            if_running=if_running.value,
        )
        if not wait:
            typer.echo(json.dumps({"run_id": run.id, "state": "queued"}) if as_json else run.id)
            return
        typer.echo(run.id, err=True)
        if run.watch() in {"queued", "running"}:  # Ctrl-C
            typer.echo(goes_on(run.id), err=True)
            raise typer.Exit(CANCELLED)
        result = run.result()
        typer.echo(json.dumps(result.to_dict(), indent=2) if as_json else str(result))


def worker(
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", "-c", min=1, help="Runs at a time; WORKER_CONCURRENCY if left out.")
    ] = None,
    queues: Annotated[
        str | None, typer.Option("--queues", "-Q", help="Queues, with commas between them; DATAPIPE_QUEUE if left out.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", "-n", help="Its name, unique on this machine.")] = None,
    as_json: ReadyJson = False,
    debug: Debug = False,
) -> None:
    """Run plans that are submitted, until Ctrl-C or SIGTERM; what does not end in time is queued again.

    \b
    datapipe worker --concurrency 4 --queues datapipe,heavy
    """
    with reported(debug=debug, as_json=as_json):
        part("datapipe.workers.app", "workers")  # Celery is there, or it is said what to install
        run = part("datapipe.workers.run_worker", "workers").run_worker
        raise typer.Exit(run(concurrency, queues, name, ready=_ready if as_json else None))


def _ready(told: Mapping[str, Any]) -> None:
    """Say so on standard output, which is for nothing else from then on: Celery says there that it stops."""
    with os.fdopen(os.dup(1), "w") as own:
        os.dup2(2, 1)  # first: whoever reads the line may end the worker at once
        ready_line(told, own)
