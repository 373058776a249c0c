"""The commands for single stages: each queues a task and prints its id, which is what the next one is given."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from datapipe.cli.completing import run_ids
from datapipe.cli.options import TYPES, Strategy
from datapipe.cli.plans import columns, config_of, named_values
from datapipe.cli.reporting import Debug, Json, reported
from datapipe.errors import PlanError
from datapipe.hosts import part

Previous = Annotated[
    str, typer.Argument(metavar="ID", help="The task whose rows it reads: ingest or transform.", autocompletion=run_ids)
]
_GOES_ON = {"queued", "running"}
_POLL = 0.25  # seconds
Keep = Annotated[bool, typer.Option("--keep", help="Leave the rows it reads to other tasks, too.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the task before and for this one; print its result.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    for command in (ingest, transform, persist):
        app.command()(command)


def ingest(
    query: Annotated[str, typer.Option(help="The query to read.")],
    source_db_url: Annotated[str | None, typer.Option(help="The source database; SOURCE_DB_URL if left out.")] = None,
    param: Annotated[list[str] | None, typer.Option("--param", "-p", metavar="NAME=VALUE", help="For :name.")] = None,
    wait: Wait = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Have a worker read rows, and leave them for another task. Prints the task's id.

    \b
    datapipe ingest --query "SELECT * FROM users WHERE id > :low" --param low=10 --wait
    """
    _queue(
        "ingest",
        None,
        How(wait, as_json, debug),
        query=query,
        source_db_url=source_db_url,
        parameters=param or (),
    )


def transform(
    previous: Previous,
    transform_config: Annotated[str, typer.Option(help='JSON such as {"sql_query": "SELECT …"}, or a file.')],
    transform_type: Annotated[str, typer.Option(help="sql, code or config.", autocompletion=TYPES)] = "sql",
    keep: Keep = False,
    wait: Wait = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Have a worker transform the rows of a task, and leave them for another one. Prints the task's id.

    \b
    datapipe transform $ID --transform-config '{"sql_query": "SELECT id, upper(name) AS name FROM input_data"}'
    """
    _queue("transform", previous, How(wait, as_json, debug), type=transform_type, config=transform_config, keep=keep)


def persist(
    previous: Previous,
    table_name: Annotated[str, typer.Option(help="The table to write.")],
    strategy: Strategy = None,
    upsert_keys: Annotated[list[str] | None, typer.Option(metavar="COLUMNS", help="Key columns: id,day.")] = None,
    dest_db_url: Annotated[str | None, typer.Option(help="The destination database; DEST_DB_URL if left out.")] = None,
    keep: Keep = False,
    wait: Wait = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Have a worker write the rows of a task into a table. Prints the task's id.

    \b
    datapipe persist $ID --table-name users --strategy upsert --upsert-keys id --wait
    """
    given = {"table_name": table_name, "strategy": strategy, "dest_db_url": dest_db_url, "keep": keep}
    _queue("persist", previous, How(wait, as_json, debug), **given, upsert_keys=columns(upsert_keys or ()) or None)


@dataclass(frozen=True)
class How:
    """What the commands have in common."""

    wait: bool
    as_json: bool
    debug: bool


def _queue(stage: str, previous: str | None, how: How, **fields: Any) -> None:
    """Queue a task, and wait for it if that is wanted."""
    with reported(debug=how.debug, as_json=how.as_json):
        stages = part("datapipe.workers.stages", "workers")
        if stage == "transform":
            fields["config"] = config_of(fields["config"])
        if stage == "ingest":
            fields["parameters"] = named_values(fields["parameters"])
        try:
            if previous is not None and how.wait and stages.task_status(previous)["state"] in _GOES_ON:
                _show(stages, previous)
            before = () if previous is None else (stages.task_result(previous, wait=how.wait),)
        except KeyboardInterrupt:
            typer.echo("nothing was queued", err=True)
            raise typer.Exit(130) from None
        task_id = getattr(stages, stage).apply_async(before, fields).id
        result: Mapping[str, Any] = {"task_id": task_id}
        if how.wait:
            result = _waited(stages, task_id)
        typer.echo(json.dumps(dict(result), indent=2) if how.as_json else task_id)


def _show(stages: Any, task_id: str, *, known: bool = False) -> None:
    """Show how a task goes until it ends, if somebody looks: once a worker has begun it, it is on record.

    Parameters
    ----------
    known : bool
        Whether there is such a task for sure, which was just queued and may be known nowhere yet.

    Raises
    ------
    KeyboardInterrupt
        If it does not go on being shown.
    """
    from datapipe.history import attach
    from datapipe.showing import form

    while form() != "off":
        try:
            run = attach(task_id)
        except PlanError:  # it is not on record yet, or nothing is
            state = stages.task_status(task_id, search=not known)["state"]
            if state not in _GOES_ON and not (known and state == "unknown"):
                return
            time.sleep(_POLL)
            continue
        if run.watch() in _GOES_ON:
            raise KeyboardInterrupt
        return


def _waited(stages: Any, task_id: str) -> Mapping[str, Any]:
    try:
        _show(stages, task_id, known=True)
        result: Mapping[str, Any] = stages.task_result(task_id, wait=True, known=True)
    except KeyboardInterrupt:
        typer.echo(f"the task goes on; datapipe status {task_id} tells how it ends", err=True)
        raise typer.Exit(130) from None
    if "rows_written" in result:
        typer.echo(f"{result['rows_written']:,} rows written to {result['target']}", err=True)
    else:
        types = ", ".join(f"{name} {type_}" for name, type_ in result["columns"].items())
        typer.echo(f"{result['row_count']:,} rows: {types}", err=True)
    return result
