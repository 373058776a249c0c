"""The keys of all rows that a source has, to tell which are no longer there."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa

from datapipe.data.asking import Ask
from datapipe.data.names import find_name
from datapipe.data.stream import Stream, Workspace
from datapipe.errors import PlanError, did_you_mean
from datapipe.ingestion.readers import STEP, open_source
from datapipe.plan import QuerySource, TableSource


@contextmanager
def open_keys(source: QuerySource | TableSource, keys: Sequence[str], work: Workspace) -> Iterator[Stream]:
    """The key columns of all rows that the source has now, in the order of ``keys``.

    Raises
    ------
    PlanError
        If one is not a column of the source.

    Examples
    --------
    >>> source = QuerySource(query="SELECT 1 AS id, 'x' AS name", source_db_url="sqlite://")
    >>> with open_keys(source, ["ID"], Workspace()) as stream:
    ...     [batch.to_pydict() for batch in stream.batches]
    [{'id': [1]}]
    """
    names: list[str] = []

    def choose(schema: pa.Schema) -> Ask:
        names[:] = _found(keys, schema)
        return Ask(columns=tuple(name for name in schema.names if name in names))

    with open_source(source.model_copy(update={"incremental": None}), work, choose) as stream:
        names = names or _found(keys, stream.schema)  # not every reader asks what is needed
        schema = pa.schema([stream.schema.field(name) for name in names])
        yield dataclasses.replace(stream, schema=schema, batches=(batch.select(names) for batch in stream.batches))


def _found(keys: Sequence[str], schema: pa.Schema) -> list[str]:
    found = []
    for key in keys:
        name = find_name(key, schema.names)
        if name is None:
            hint = did_you_mean(key, schema.names, what="columns")
            raise PlanError(f"key {key!r} is not a column of the source", step=STEP, hint=hint)
        found.append(name)
    return found
