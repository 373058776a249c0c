"""SchemaValidator: a contract put to one frame."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from datapipe.data.stream import Stream, Workspace, scratch_directory
from datapipe.errors import DatapipeError, PlanError
from datapipe.plan import ColumnRule, Contract, ValidateConfig, build
from datapipe.plan.given import schema_of
from datapipe.plan.values import freeze
from datapipe.schemas.inference import of_table
from datapipe.schemas.pandera_form import contract_of, held_to
from datapipe.schemas.validation import run_validate


class SchemaValidator:
    """Holds frames to a schema, converts them to it, and lets it grow with them.

    Parameters
    ----------
    schema : pandera.DataFrameSchema, subclass of pandera.DataFrameModel, Contract, mapping, str or Path
        As ``.validate()`` of a pipeline takes it.
    on_error : {"raise", "drop", "warn"}
        What becomes of rows that break it; ``warn`` gives a UserWarning.
    max_failures : int, optional
        More rows than this raise, whatever ``on_error`` says.
    checks : sequence of str
        Further checks in SQL.

    Attributes
    ----------
    contract : Contract

    Examples
    --------
    >>> import pandas as pd
    >>> validator = SchemaValidator({"columns": {"id": {"type": "int", "coerce": True}, "name": "str"}})
    >>> validator.validate(pd.DataFrame({"id": ["1", "2"], "name": ["Ann", "Bob"]}))["id"].tolist()
    [1, 2]
    >>> grown = validator.evolve(pd.DataFrame({"id": [1], "name": ["Ann"], "age": [30]}))
    >>> list(grown.contract.columns)
    ['id', 'name', 'age']
    """

    def __init__(
        self, schema: Any = None, *, on_error: str = "raise", max_failures: int | None = None, checks: Any = ()
    ) -> None:
        if on_error == "quarantine":
            raise PlanError("a frame has no quarantine", hint="Use on_error='drop', or .validate() of a pipeline")
        given = schema_of(schema)
        known = given is None or isinstance(given, (Contract, str))
        form = {"schema": given if known else contract_of(given), "checks": checks}
        self._config = build(ValidateConfig, {**form, "on_error": on_error, "max_failures": max_failures})

    @property
    def contract(self) -> Contract:
        """What frames are held to."""
        return held_to(self._config)

    def validate(self, data: Any) -> Any:
        """The data, if they keep the contract, in its types.

        Parameters
        ----------
        data : pandas.DataFrame, polars.DataFrame or pyarrow.Table

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or pyarrow.Table
            The same kind as ``data``: converted where the contract says coerce; without the rows that break it, with
            ``on_error="drop"``.

        Raises
        ------
        SchemaError
            If columns or types are not the contract's.
        DataError
            If rows, or the whole, break it; its ``failures`` say how.
        """
        return self._run(data, self._config)

    def convert(self, data: Any) -> Any:
        """The data in the contract's types, each value exactly; its checks are not looked at.

        Raises
        ------
        SchemaError
            If columns are missing, or a type has no counterpart.
        DataError
            If a value has no exact counterpart.
        """
        columns = {
            name: ColumnRule(type=rule.type, nullable=True, required=rule.required, coerce=True, regex=rule.regex)
            for name, rule in self.contract.columns.items()
        }
        return self._run(data, ValidateConfig(schema=Contract(columns=freeze(columns))))

    def evolve(self, data: Any) -> SchemaValidator:
        """A validator that also takes the columns these data have more, each of them nullable and not required.

        Raises
        ------
        SchemaError
            If a known column's type is another one now.
        """
        table = _table(data)
        contract = self.contract
        with self._streaming(table, self._config.model_copy(update={"schema_": _open(contract), "checks": ()})):
            pass  # known columns still fit
        found = of_table(table.slice(0, 0)).columns
        new = {
            name: rule.model_copy(update={"nullable": True, "required": False})
            for name, rule in found.items()
            if name not in contract.columns
        }
        grown = contract.model_copy(update={"columns": freeze({**contract.columns, **new})})
        return SchemaValidator(grown, on_error=self._config.on_error, max_failures=self._config.max_failures)

    def _run(self, data: Any, config: ValidateConfig) -> Any:
        from datapipe.data.frames import as_given  # loads pandas

        with self._streaming(_table(data), config) as stream:
            return as_given(pa.Table.from_batches(list(stream.batches), schema=stream.schema), data)

    @contextmanager
    def _streaming(self, table: pa.Table, config: ValidateConfig) -> Iterator[Stream]:
        with scratch_directory() as scratch:
            stream = Stream(table.schema, iter(table.to_batches()), table.num_rows)
            try:
                with run_validate(config, stream, Workspace(scratch=scratch, tell=_warn)) as made:
                    yield made
            except DatapipeError as error:
                raise error.at("validation") from error.__cause__


def _open(contract: Contract) -> Contract:
    """The contract for columns alone, of which none has to be there and others may."""
    columns = {
        n: ColumnRule(type=r.type, nullable=True, required=False, coerce=r.coerce) for n, r in contract.columns.items()
    }
    return Contract(columns=freeze(columns), coerce=contract.coerce)


def _warn(note: str, **_: Any) -> None:
    if "left out" not in note:  # to drop rows is what was asked for
        warnings.warn(note, UserWarning, stacklevel=2)


def _table(data: Any) -> pa.Table:
    from datapipe.data.frames import from_frame  # loads pandas

    return from_frame(data)
