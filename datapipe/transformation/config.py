"""Declarative steps: a mapping that runs as one SELECT."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from datapipe.data.stream import Stream, Workspace, scratch_directory
from datapipe.errors import DatapipeError
from datapipe.plan import TransformConfig, build, read_file
from datapipe.transformation.compiler import compile_config
from datapipe.transformation.sql import run_sql
from datapipe.transformation.versions import content_version

__all__ = ["ConfigTransformer", "compile_config", "run_config"]


@contextmanager
def run_config(config: TransformConfig, stream: Stream, work: Workspace) -> Iterator[Stream]:
    """The rows a declarative step makes of the stream's.

    Raises
    ------
    PlanError
        If the step names a column that is not there, or an expression is wrong.
    DataError
        If a value cannot be computed or cast exactly.
    """
    query = compile_config(config, stream.schema.names)
    with run_sql(query, {}, {"input_data": stream}, work) as made:
        yield made


class ConfigTransformer:
    """Transforms a frame by a declarative configuration.

    Parameters
    ----------
    config : mapping, str or pathlib.Path
        The configuration, or a YAML or JSON file with it.

    Raises
    ------
    PlanError
        If the file cannot be read or a field is wrong.

    Examples
    --------
    >>> import pandas as pd
    >>> transformer = ConfigTransformer({"rename": {"name": "full_name"}, "filter": {"status": "active"}})
    >>> data = pd.DataFrame({"name": ["Ann", "Bob"], "status": ["active", "gone"]})
    >>> transformer.transform(data).to_dict("list")
    {'full_name': ['Ann'], 'status': ['active']}
    """

    def __init__(self, config: Mapping[str, Any] | TransformConfig | str | Path) -> None:
        given = read_file(config) if isinstance(config, (str, Path)) else config
        step = str(config) if isinstance(config, (str, Path)) else "config"
        self.config = build(TransformConfig, given, step=step)

    @property
    def version(self) -> str:
        """A hash of the configuration: equal for equal configurations."""
        return content_version(self.config.model_dump(mode="json", exclude_defaults=True))

    def sql(self, columns: Sequence[str]) -> str:
        """The SELECT over ``input_data`` that runs, for an input with these columns.

        Raises
        ------
        PlanError
            If the configuration names a column that is not there.
        """
        return compile_config(self.config, columns)

    def transform(self, data: Any) -> Any:
        """The transformed data. The data given stay as they are.

        Parameters
        ----------
        data : pandas.DataFrame, polars.DataFrame or pyarrow.Table

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or pyarrow.Table
            The same kind as ``data``.

        Raises
        ------
        PlanError, DataError
        """
        from datapipe.data.frames import as_given, from_frame  # loads pandas

        table = from_frame(data)
        stream = Stream(table.schema, iter(table.to_batches()), table.num_rows)
        try:
            with (
                scratch_directory() as scratch,
                run_config(self.config, stream, Workspace(scratch=scratch)) as made,
            ):
                return as_given(pa.Table.from_batches(list(made.batches), schema=made.schema), data)
        except DatapipeError as error:
            raise error.at("config") from error.__cause__
