"""The commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

from datapipe import __version__
from datapipe.cli.plans import PlanOptions, pipeline_of
from datapipe.errors import DatapipeError, PlanError
from datapipe.pipeline import Pipeline

app = typer.Typer(
    no_args_is_help=True,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
out, err = Console(soft_wrap=True, highlight=False), Console(stderr=True, soft_wrap=True, highlight=False)

File = Annotated[str | None, typer.Argument(help="A plan: YAML, JSON, or a Python file with a variable plan.")]
Config = Annotated[str | None, typer.Option("--config", help="The same as FILE.")]
Query = Annotated[str | None, typer.Option(help="The query to read.")]
SourceUrl = Annotated[str | None, typer.Option(help="The source database; SOURCE_DB_URL if left out.")]
TransformType = Annotated[str | None, typer.Option(help="sql, code or config.")]
TransformConfig = Annotated[str | None, typer.Option(help='JSON, for example {"sql_query": "SELECT …"}.')]
TableName = Annotated[str | None, typer.Option(help="The table to write.")]
Strategy = Annotated[str | None, typer.Option(help="append, insert, upsert or replace.")]
Keys = Annotated[list[str] | None, typer.Option("--upsert-keys", help="Key columns: id,day, or repeat the option.")]
DestUrl = Annotated[str | None, typer.Option(help="The destination database; DEST_DB_URL if left out.")]
Params = Annotated[list[str] | None, typer.Option("--param", "-p", help="name=value, overriding the plan's.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@app.callback()
def program(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)] = False,
) -> None:
    """Build, look at and run data pipelines."""
    if version:
        out.print(f"datapipe {__version__}")
        raise typer.Exit


@app.command()
def run(
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
    memory: Annotated[str, typer.Option(help="What the run may use.")] = "512MB",
    wait: Annotated[bool, typer.Option("--wait", help="Accepted: run always waits.")] = False,  # noqa: ARG001  # the specification has it
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Run a plan here, and wait.

    datapipe run recipes/users.yaml --param day=2024-01-01
    """
    options = PlanOptions(
        query, source_db_url, transform_type, transform_config, table_name, strategy, upsert_keys or (), dest_db_url
    )
    with reported(debug=debug, as_json=as_json):
        result = _pipeline(file, config, options, param).run(memory)
        out.print(json.dumps(result.to_dict(), indent=2) if as_json else str(result), markup=False)


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
    """Show the first rows of a plan, from a sample; nothing is written."""
    options = PlanOptions(query, source_db_url, transform_type, transform_config)
    with reported(debug=debug):
        out.print(str(_pipeline(file, config, options, param).preview(rows, step)), markup=False)


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
    """Show what a plan would do: the SQL, the columns, the statements of the write."""
    options = PlanOptions(
        query, source_db_url, transform_type, transform_config, table_name, strategy, upsert_keys or (), dest_db_url
    )
    with reported(debug=debug):
        out.print(str(_pipeline(file, config, options, param).explain()), markup=False)


@app.command()
def demo(debug: Debug = False) -> None:
    """Load 336,776 flights into an embedded PostgreSQL, run a pipeline over them, and run it again."""
    with reported(debug=debug):
        from datapipe.local.demo import demo as show  # needs the extra "local"

        raise typer.Exit(show(out))


@app.command()
def up(debug: Debug = False) -> None:
    """Keep the embedded PostgreSQL running until Ctrl-C, and print the environment to paste."""
    with reported(debug=debug):
        from datapipe.local.demo import up as keep  # needs the extra "local"

        keep(out)


def _pipeline(file: str | None, config: str | None, options: PlanOptions, params: list[str] | None) -> Pipeline:
    if file and config:
        raise PlanError("both FILE and --config are given", hint="Give one of them")
    return pipeline_of(file or config, options, params or ())


@contextmanager
def reported(*, debug: bool = False, as_json: bool = False) -> Iterator[None]:
    """Errors as one sentence and an exit code; with ``debug``, with their traceback."""
    try:
        yield
    except DatapipeError as error:
        if debug:
            err.print_exception()
        if as_json and error.result is not None:
            out.print(json.dumps(error.result.to_dict(), indent=2), markup=False)
        err.print(f"error: {error}", markup=False)
        raise typer.Exit(2 if isinstance(error, PlanError) else 1) from None
    except KeyboardInterrupt:
        err.print("cancelled: the target is unchanged", markup=False)
        sys.exit(130)
