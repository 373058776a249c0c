"""Python functions over frames: the whole table at once, or batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from datapipe.data.memory import checked, free_memory, gathered
from datapipe.data.stream import Stream, Workspace, resized
from datapipe.errors import DataError, DatapipeError, PlanError
from datapipe.plan import CodeConfig, FunctionRef, build
from datapipe.settings import settings
from datapipe.transformation.calls import ALL, Part, UserFunction, user_function


@contextmanager
def run_code(config: CodeConfig, stream: Stream, work: Workspace) -> Iterator[Stream]:
    """The rows a user's function makes of the stream's.

    The function runs in the thread of ``work.call``: once, over the whole table, or with ``per_batch`` over
    batches of ``work.batch_rows`` rows, of which the first fixes the columns and types.

    Raises
    ------
    DataError
        If the function fails or returns something else than a table, or the table does not fit into memory.
    PlanError
        If there is no such function.

    Examples
    --------
    >>> table = pa.table({"a": [1, 2]})
    >>> config = CodeConfig(function=lambda frame: frame.assign(b=frame["a"] * 2))
    >>> with run_code(config, Stream(table.schema, iter(table.to_batches())), Workspace()) as made:
    ...     pa.Table.from_batches(made.batches).to_pydict()
    {'a': [1, 2], 'b': [2, 4]}
    """
    function = user_function(config.function)
    yield _by_batch(function, stream, work) if config.per_batch else _at_once(function, stream, work)


def _at_once(function: UserFunction, stream: Stream, work: Workspace) -> Stream:
    made = _made(function, gathered(stream, work, free_memory() // 2), stream.schema, work)
    size = made.nbytes
    work.holds(lambda: size)
    return Stream(made.schema, checked(resized(made.to_batches(), size=work.batch_bytes), work), made.num_rows)


def _by_batch(function: UserFunction, stream: Stream, work: Workspace) -> Stream:
    batches = resized(stream.batches, rows=work.batch_rows)
    first = next(batches, None)
    given = stream.schema.empty_table() if first is None else pa.Table.from_batches([first])
    made = _made(function, given, stream.schema, work, _part(1, 1, given) if given.num_rows else ALL)
    rest = _rest(function, batches, made, given.num_rows, work) if given.num_rows else iter(())
    return Stream(made.schema, resized(rest, size=work.batch_bytes))


def _rest(
    function: UserFunction, batches: Iterator[pa.RecordBatch], made: pa.Table, rows: int, work: Workspace
) -> Iterator[pa.RecordBatch]:
    """What the first batch became, then the other batches in the same form."""
    from datapipe.data.frames import conform  # loads pandas

    yield from made.to_batches()
    schema, done = made.schema, rows
    for number, batch in enumerate(batches, 2):
        work.cancel.check()
        where = _part(number, done + 1, batch)
        done += batch.num_rows
        result = _made(function, pa.Table.from_batches([batch]), None, work, where)
        try:
            yield from conform(result, schema).to_batches()
        except DataError as error:
            raise _of_result(error, function, where) from None


def _part(number: int, first_row: int, batch: pa.RecordBatch | pa.Table) -> Part:
    text = f" in batch {number} (rows {first_row:,} to {first_row + batch.num_rows - 1:,})"
    return Part(text, first_row)


def _made(
    function: UserFunction, table: pa.Table, like: pa.Schema | None, work: Workspace, where: Part = ALL
) -> pa.Table:
    """The table the function makes of this one."""
    from datapipe.data import frames  # loads pandas

    forms: dict[str, Callable[[pa.Table], Any]]
    forms = {"pandas": frames.to_pandas, "polars": frames.to_polars, "arrow": frames.computable}
    frame = forms[function.kind](table)
    del table  # the function may need its room
    result = work.call(lambda: function(frame, where))
    if result is None:
        raise DataError(f"function {function.name!r} returned nothing{where}", hint="End it with: return frame")
    try:
        return frames.from_frame(result, like)
    except DataError as error:
        raise _of_result(error, function, where) from error.__cause__


def _of_result(error: DataError, function: UserFunction, where: Part) -> DataError:
    error.message = f"the result of function {function.name!r}{where}: {error.message}"
    return error


class CodeTransformer:
    """Runs a Python function over a frame, as a step of a plan does.

    Parameters
    ----------
    function : callable, class, object or str, optional
        A function from frame to frame, a class or object with a ``transform`` method, or ``"module:name"``.

    Examples
    --------
    >>> import pandas as pd
    >>> def clean(frame):
    ...     frame["name"] = frame["name"].str.strip()
    ...     return frame
    >>> CodeTransformer().transform(pd.DataFrame({"name": [" Ann "]}), clean)["name"].tolist()
    ['Ann']
    """

    def __init__(self, function: Any = None) -> None:
        self._function = None if function is None else FunctionRef.of(function)

    @property
    def version(self) -> str:
        """A hash of the function's code.

        Raises
        ------
        PlanError
            If no function was given.
        """
        return self._reference(None).version()

    def transform(self, data: Any, function: Any = None, per_batch: bool = False) -> Any:
        """What the function makes of the data. The data stay as they are.

        Parameters
        ----------
        data : pandas.DataFrame, polars.DataFrame or pyarrow.Table
        function : callable, class, object or str, optional
            Instead of the one given at the start.
        per_batch : bool
            Call it for BATCH_SIZE rows at a time.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or pyarrow.Table
            The same kind as ``data``.

        Raises
        ------
        DataError
            If the function fails or returns something else than a table.
        PlanError
            If there is no function.
        """
        from datapipe.data.frames import as_given, from_frame  # loads pandas

        config = build(CodeConfig, {"function": self._reference(function), "per_batch": per_batch}, step="code")
        table = from_frame(data)
        stream = Stream(table.schema, iter(table.to_batches()), table.num_rows)
        try:
            with run_code(config, stream, Workspace(batch_rows=settings().batch_size)) as made:
                return as_given(pa.Table.from_batches(list(made.batches), schema=made.schema), data)
        except DatapipeError as error:
            raise error.at("code") from error.__cause__

    def _reference(self, function: Any) -> FunctionRef:
        found = self._function if function is None else FunctionRef.of(function)
        if found is None:
            raise PlanError("there is no function", hint="Give one: CodeTransformer(function)")
        return found
