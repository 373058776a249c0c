"""The commands."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from datapipe import __version__
from datapipe.cli import api as rest
from datapipe.cli import backfill, init, local, notebook, queue, runs, schema, stages, watermark, workers
from datapipe.cli import config as configuration
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
from datapipe.cli.reporting import Debug, Json, only_json, reported, stoppable

app = typer.Typer(
    no_args_is_help=True,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def program(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)] = False,
) -> None:
    """Build, look at and run data pipelines.

    \b
    datapipe explain recipes/upsert_users.yaml
    datapipe preview recipes/upsert_users.yaml --rows 5
    datapipe run recipes/upsert_users.yaml --param since=2024-01-01
    """
    if version:
        typer.echo(f"datapipe {__version__}")
        raise typer.Exit
    if context.obj is not None:  # how the program starts; not where the commands are called by others
        context.obj(context.invoked_subcommand)


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
    datapipe run recipes/upsert_users.yaml --param since=2024-01-01
    datapipe run --query "SELECT * FROM users" --source-db-url sqlite:///crm.db \\
        --transform-type sql --transform-config '{"sql_query": "SELECT id, upper(name) AS name FROM input_data"}' \\
        --table-name users --strategy upsert --upsert-keys id --dest-db-url postgresql://localhost/mart
    """
    options = PlanOptions(
        query, source_db_url, transform_type, transform_config, table_name, strategy, upsert_keys or (), dest_db_url
    )
    with stoppable(), reported(debug=debug, as_json=as_json):
        from datapipe.cli.starting import RUN, settle

        settle(RUN)
        from datapipe.pipeline import Pipeline

        with only_json(as_json=as_json):
            found = given(file, config, options)
        if not isinstance(found, Pipeline):
            how = How(idempotency_key, if_running, as_json=as_json, debug=debug)
            run_job(lambda: completed(found, param, {"memory": memory}), how)
            return
        with only_json(as_json=as_json):
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
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show the first rows of a plan, from a sample; nothing is written.

    \b
    datapipe preview recipes/upsert_users.yaml --rows 5 --step 0
    datapipe preview --query "SELECT * FROM users" --source-db-url sqlite:///crm.db
    """
    options = PlanOptions(query, source_db_url, transform_type, transform_config)
    with reported(debug=debug, as_json=as_json):
        with only_json(as_json=as_json):
            found = given_pipeline(file, config, options, param).preview(rows, step)
        typer.echo(json.dumps(found.to_dict(), indent=2) if as_json else str(found))


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
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show what a plan would do: the SQL, the columns, the statements of the write.

    \b
    datapipe explain recipes/upsert_users.yaml
    """
    options = PlanOptions(
        query, source_db_url, transform_type, transform_config, table_name, strategy, upsert_keys or (), dest_db_url
    )
    with reported(debug=debug, as_json=as_json):
        with only_json(as_json=as_json):
            found = given_pipeline(file, config, options, param).explain()
        typer.echo(json.dumps(found.to_dict(), indent=2) if as_json else str(found))


@app.command()
def cleanup(
    to: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A database to look in, or a connection's name; DEST_DB_URL if left out."),
    ] = None,
    runs_older_than: Annotated[
        float | None,
        typer.Option(metavar="DAYS", min=0, help="Also remove runs from the record that ended so many days ago."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be removed.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Remove what runs that were killed left behind, and what notebooks left long ago; what a live run uses stays.

    \b
    datapipe cleanup --dry-run
    datapipe cleanup --to postgresql://localhost/mart
    datapipe cleanup --runs-older-than 90
    """
    with reported(debug=debug, as_json=as_json):
        from datapipe.cli.cleanup import cleanup_json, cleanup_lines, old_notebooks, old_records
        from datapipe.history import store_of_runs
        from datapipe.persistence import Leftover, drop_stages, remove_leftovers
        from datapipe.settings import settings
        from datapipe.workers.spool import sweep_spool  # needs no further library for a folder

        # What is elsewhere first: where it cannot be asked, nothing is removed.
        if runs_older_than is not None:
            store_of_runs()
        tables: tuple[Leftover, ...] = ()
        if to or settings().dest_db_url:
            tables = drop_stages(to, dry_run=dry_run)
        records = () if runs_older_than is None else old_records(runs_older_than, dry_run=dry_run)
        notebooks = old_notebooks(dry_run=dry_run)
        found = (*remove_leftovers(dry_run=dry_run), *sweep_spool(dry_run=dry_run), *tables, *notebooks, *records)
        lines = cleanup_lines(found, dry_run=dry_run)
        typer.echo(cleanup_json(found, dry_run=dry_run) if as_json else "\n".join(lines))


runs.add_to(app)  # runs, status, watch, cancel, retry
workers.add_to(app)  # workers, health, metrics
schema.add_to(app)  # schema list, show, history, diff, check
watermark.add_to(app)  # watermark show, set, reset
backfill.add_to(app)  # backfill
stages.add_to(app)  # ingest, transform, persist
queue.add_to(app)  # submit, worker
local.add_to(app)  # demo, up, lab
init.add_to(app)  # init
configuration.add_to(app)  # config show
notebook.add_to(app)  # notebook run, params, check, submit, history
rest.add_to(app)  # api, keys create, list, revoke
