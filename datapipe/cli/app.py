"""The commands."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from datapipe import __version__
from datapipe.cli import api as rest
from datapipe.cli import notebook, queue, schema, stages, workers
from datapipe.cli.cleanup import cleanup_json, cleanup_lines, old_notebooks
from datapipe.cli.jobs import How, completed, run_job
from datapipe.cli.options import (
    MEMORY,
    AnyParams,
    Config,
    DestUrl,
    File,
    FileOrNotebook,
    IfRunning,
    Key,
    Keys,
    Memory,
    Params,
    Query,
    Running,
    SourceUrl,
    Strategy,
    TableName,
    TransformConfig,
    TransformType,
    given,
    given_pipeline,
)
from datapipe.cli.plans import PlanOptions, with_values
from datapipe.cli.reporting import CANCELLED, Debug, Json, code_of, goes_on, reported
from datapipe.display import run_card_text
from datapipe.history import attach
from datapipe.listing import STATES, latest
from datapipe.notebooks.job import NotebookJob
from datapipe.plan import DatabaseUrl
from datapipe.settings import settings
from datapipe.store import RunRow

app = typer.Typer(
    no_args_is_help=True,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
out = Console(soft_wrap=True, highlight=False, emoji=False)


@app.callback()
def program(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)] = False,
) -> None:
    """Build, look at and run data pipelines.

    \b
    datapipe explain recipes/users.yaml
    datapipe preview recipes/users.yaml --rows 5
    datapipe run recipes/users.yaml --param day=2024-01-01
    """
    if version:
        typer.echo(f"datapipe {__version__}")
        raise typer.Exit


@app.command()
def run(
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
    wait: Annotated[bool, typer.Option("--wait", help="Accepted: run always waits.")] = False,  # noqa: ARG001  # the specification has it
    idempotency_key: Key = None,
    if_running: Running = IfRunning.wait,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Run a plan here, and wait. Exit code 0: done, 1: the run failed, 2: the plan is wrong, 130: Ctrl-C.

    A notebook runs as by datapipe notebook run, which has more options and exit codes.

    \b
    datapipe run recipes/users.yaml --param day=2024-01-01
    datapipe run --query "SELECT * FROM users" --source-db-url sqlite:///crm.db \\
        --transform-type sql --transform-config '{"sql_query": "SELECT id, upper(name) AS name FROM input_data"}' \\
        --table-name users --strategy upsert --upsert-keys id --dest-db-url postgresql://localhost/mart
    """
    options = PlanOptions(
        query, source_db_url, transform_type, transform_config, table_name, strategy, upsert_keys or (), dest_db_url
    )
    with reported(debug=debug, as_json=as_json):
        with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
            found = given(file, config, options)
        if isinstance(found, NotebookJob):
            how = How(idempotency_key, if_running, as_json=as_json, debug=debug)
            run_job(lambda: completed(found, param, {"memory": memory}), how)
            return
        with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
            result = with_values(found, param or ()).run(
                memory or MEMORY, idempotency_key=idempotency_key, if_running=if_running.value
            )
        typer.echo(json.dumps(result.to_dict(), indent=2) if as_json else str(result))


@app.command()
def preview(
    file: File = None,
    config: Config = None,
    query: Query = None,
    source_db_url: SourceUrl = None,
    transform_type: TransformType = None,
    transform_config: TransformConfig = None,
    param: Params = None,
    rows: Annotated[int, typer.Option("--rows", "-n", help="Rows to show.")] = 20,
    step: Annotated[int | None, typer.Option(help="0: the source, 1: the first transformation, …")] = None,
    debug: Debug = False,
) -> None:
    """Show the first rows of a plan, from a sample; nothing is written.

    \b
    datapipe preview recipes/users.yaml --rows 5 --step 0
    datapipe preview --query "SELECT * FROM users" --source-db-url sqlite:///crm.db
    """
    options = PlanOptions(query, source_db_url, transform_type, transform_config)
    with reported(debug=debug):
        typer.echo(str(given_pipeline(file, config, options, param).preview(rows, step)))


@app.command()
def explain(
    file: File = None,
    config: Config = None,
    query: Query = None,
    source_db_url: SourceUrl = None,
    transform_type: TransformType = None,
    transform_config: TransformConfig = None,
    table_name: TableName = None,
    strategy: Strategy = None,
    upsert_keys: Keys = None,
    dest_db_url: DestUrl = None,
    param: Params = None,
    debug: Debug = False,
) -> None:
    """Show what a plan would do: the SQL, the columns, the statements of the write.

    \b
    datapipe explain recipes/users.yaml
    """
    options = PlanOptions(
        query, source_db_url, transform_type, transform_config, table_name, strategy, upsert_keys or (), dest_db_url
    )
    with reported(debug=debug):
        typer.echo(str(given_pipeline(file, config, options, param).explain()))


@app.command()
def runs(
    limit: Annotated[int, typer.Option("--limit", "-n", help="Runs to show.")] = 20,
    state: Annotated[str | None, typer.Option(help="Only those in this state.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List the latest runs.

    \b
    datapipe runs --state failed
    """
    with reported(debug=debug):
        found = latest(limit, state=state)
        if as_json:
            typer.echo(json.dumps([dataclasses.asdict(row) for row in found], indent=2))
        elif not found:
            typer.echo("no runs yet")
        for row in () if as_json else found:
            typer.echo(_line(row))


def _line(row: RunRow) -> str:
    """A run in a line; a notebook's has no rows and no target of its own."""
    is_notebook = row.kind == "notebook"
    what = f"{'notebook':>17}" if is_notebook else f"{row.rows_written:>12,} rows"
    return f"{row.created[:19]}  {row.state:<9}  {what}  {row.id}  {row.source if is_notebook else row.target}"


@app.command()
def status(
    run_id: Annotated[str, typer.Argument(metavar="ID", help="A run.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show one run. Exit code 0: it goes on or has succeeded, 1: it failed, was cancelled or is lost.

    Of a notebook's run that did not succeed, the exit code is that of datapipe notebook run.

    \b
    datapipe status 7d7d5f5c-8a5f-4a1c-9d0a-1f0e6a2f3b11
    """
    with reported(debug=debug):
        run_ = attach(run_id)
        row = run_.row
        typer.echo(json.dumps(dataclasses.asdict(row), indent=2) if as_json else run_card_text(run_.view))
        raise typer.Exit(code_of(row))


@app.command()
def watch(
    run_id: Annotated[str, typer.Argument(metavar="ID", help="A run.")],
    debug: Debug = False,
) -> None:
    """Show the progress of a run until it ends. Exit code as for status.

    \b
    datapipe watch 7d7d5f5c-8a5f-4a1c-9d0a-1f0e6a2f3b11
    """
    with reported(debug=debug):
        run_ = attach(run_id)
        state = run_.watch()
        if state not in STATES - {"queued", "running"}:  # Ctrl-C
            typer.echo(goes_on(run_id), err=True)
            raise typer.Exit(CANCELLED)
        typer.echo(repr(run_))
        raise typer.Exit(code_of(run_.row))


@app.command()
def demo(
    workers: Annotated[
        bool, typer.Option("--workers", help="On a worker, which is killed in the middle of a load.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Load 336,776 flights into an embedded PostgreSQL, run a pipeline over them, and run it again."""
    with reported(debug=debug):
        if workers:
            from datapipe.local.workers_demo import workers_demo as show  # needs the extra "local"
        else:
            from datapipe.local.demo import demo as show
        raise typer.Exit(show(out))


@app.command()
def up(
    env_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the environment there, too; other lines of it stay.")
    ] = None,
    api: Annotated[bool, typer.Option("--api", help="Start the REST interface and the web page, and Flower.")] = False,
    flower: Annotated[bool, typer.Option("--flower", help="Start Flower, too, with a password.")] = False,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Runs at a time in the worker.")] = None,
    debug: Debug = False,
) -> None:
    """Keep an embedded PostgreSQL, an embedded Valkey and a worker running until Ctrl-C.

    The environment to paste is printed.

    \b
    datapipe up --env-file .env
    datapipe up --api
    """
    with reported(debug=debug):
        from datapipe.local.up import up as keep  # needs the extra "local"

        keep(out, env_file=env_file, api=api, flower=flower, concurrency=concurrency)


@app.command()
def lab(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="What to open; ./notebooks, or the current folder.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="JupyterLab's port on 127.0.0.1; a free one if left out.")] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
    debug: Debug = False,
) -> None:
    """Open JupyterLab beside an embedded PostgreSQL, an embedded Valkey and a worker, until Ctrl-C.

    Its notebooks have the connections already.

    \b
    datapipe lab
    datapipe lab ~/notebooks --no-browser
    """
    with reported(debug=debug):
        from datapipe.local.lab import lab as keep  # needs the extra "local"

        keep(out, folder, port=port, browser=not no_browser)


@app.command()
def cleanup(
    to: Annotated[
        str | None, typer.Option(metavar="URL", help="A database to look in; DEST_DB_URL if left out.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be removed.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Remove what runs that were killed left behind, and what notebooks left long ago; what a live run uses stays.

    \b
    datapipe cleanup --dry-run
    datapipe cleanup --to postgresql://localhost/mart
    """
    with reported(debug=debug, as_json=as_json):
        from datapipe.persistence import Leftover, drop_stages, remove_leftovers  # loads pyarrow
        from datapipe.workers.spool import sweep_spool  # needs no further library for a folder

        # What is elsewhere first: where it cannot be asked, nothing is removed.
        tables: tuple[Leftover, ...] = ()
        if to or settings().dest_db_url:
            tables = drop_stages(DatabaseUrl.parse(to) if to else None, dry_run=dry_run)
        notebooks = old_notebooks(dry_run=dry_run)
        found = (*remove_leftovers(dry_run=dry_run), *sweep_spool(dry_run=dry_run), *tables, *notebooks)
        lines = cleanup_lines(found, dry_run=dry_run)
        typer.echo(cleanup_json(found, dry_run=dry_run) if as_json else "\n".join(lines))


workers.add_to(app)  # workers, health, metrics
schema.add_to(app)  # schema list, show, history, diff, check
stages.add_to(app)  # ingest, transform, persist
queue.add_to(app)  # submit, cancel, retry, worker
notebook.add_to(app)  # notebook run, params, check, submit, history
rest.add_to(app)  # api, keys create, list, revoke
