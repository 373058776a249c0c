"""Where a target's writer is chosen, and BatchWriter, which writes one frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pyarrow as pa
import tenacity

from datapipe.data.stream import Stream, Workspace, scratch_directory
from datapipe.errors import DatapipeError, PlanError, TransientError
from datapipe.persistence import ledger
from datapipe.persistence.claims import Claim, claimed
from datapipe.persistence.deletes import Comparison
from datapipe.persistence.delivery import deliver
from datapipe.persistence.ledger import Delivery
from datapipe.persistence.load import Loaded, plan_load
from datapipe.persistence.sessions import STEP, open_session
from datapipe.persistence.stages import Staged
from datapipe.persistence.tables import Table
from datapipe.plan import DatabaseUrl, FileTarget, SchemaMode, TableTarget, Target, WriteStrategy, build
from datapipe.retries import policy


def write(target: Target, given: Stream | Staged, work: Workspace, delivery: Delivery | None = None) -> Loaded:
    """Write rows to a target: everything, or nothing; with a delivery, once.

    Raises
    ------
    PlanError, SchemaError, DataError, TransientError, FatalError
        Naming the step; the target is then unchanged.
    """
    try:
        if isinstance(target, TableTarget):
            return deliver(target, given, work, delivery)
        if isinstance(given, Staged):
            raise PlanError("rows are staged for tables only")
        from datapipe.persistence.files import write_files  # loads Parquet and CSV

        return write_files(target, given, work)
    except DatapipeError as error:
        raise error.at(STEP) from error.__cause__


@contextmanager
def begin_write(target: Target, delivery: Delivery, work: Workspace) -> Iterator[Claim]:
    """Ask the ledger before anything is read; :func:`write` takes the claim's delivery.

    Raises
    ------
    IdempotencyConflict, InProgress, PlanError, TransientError, FatalError
    """
    if isinstance(target, FileTarget):
        if delivery.idempotency_key is not None:
            hint = "Write to a database table; a file is replaced, or gets a part, at every run"
            raise PlanError("files have no ledger, so there is no idempotency_key", step=STEP, hint=hint)
        yield Claim(delivery)
        return
    with ExitStack() as stack:
        try:
            claim = stack.enter_context(claimed(target, delivery, work))
        except DatapipeError as error:
            raise error.at(STEP) from error.__cause__
        yield claim


def describe_write(target: Target, schema: pa.Schema, work: Workspace) -> tuple[str, ...]:
    """The statements a write of ``schema`` would run; nothing is changed."""
    try:
        if isinstance(target, FileTarget):
            from datapipe.persistence.files import describe_files  # loads Parquet and CSV

            return describe_files(target)
        with open_session(target, work, create=False) as session:
            session.begin()
            place = session.place(Table(target.table_name, target.schema_))
            load = plan_load(session, target, schema, lambda: ledger.has_created(session, place))
            compared = Comparison(load, target.deletes == "remove").statements(session) if target.deletes else ()
            return (*load.statements(session), *compared)
    except DatapipeError as error:
        raise error.at(STEP) from error.__cause__


class BatchWriter:
    """Writes frames into tables of one database.

    Parameters
    ----------
    database_url : str or sqlalchemy.Engine

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> writer = BatchWriter(database_url=f"sqlite:///{tempfile.mkdtemp()}/crm.db")
    >>> writer.write(pd.DataFrame({"id": [1, 2]}), "users", strategy=WriteStrategy.REPLACE)
    2
    """

    def __init__(self, database_url: Any) -> None:
        self._target = database_url

    def write(
        self,
        data: Any,
        table_name: str,
        strategy: WriteStrategy | str = WriteStrategy.APPEND,
        upsert_keys: Sequence[str] = (),
        *,
        schema: str | None = None,
        latest: str | None = None,
        schema_mode: SchemaMode | None = None,
        rename: Mapping[str, str] | None = None,
    ) -> int:
        """Write a pandas or polars DataFrame or an Arrow table, in one transaction.

        A failure that may pass, such as a lost connection, is followed by further attempts, as in a run: MAX_RETRIES.

        Returns
        -------
        int
            The rows written: inserted or updated.

        Raises
        ------
        PlanError, SchemaError, DataError, TransientError, FatalError
            Naming what is wrong; the table is then unchanged.
        OutcomeUnknown
            If the connection broke at COMMIT, which is not tried again: there is no ledger to ask. A plan has one.
        """
        from datapipe.data.frames import from_frame  # loads pandas

        url = self._target if isinstance(self._target, str) else DatabaseUrl(str(self._target.url), engine=self._target)
        form: dict[str, Any] = {"table_name": table_name, "schema": schema, "strategy": strategy}
        form |= {"upsert_keys": list(upsert_keys), "latest": latest, "schema_mode": schema_mode}
        form |= {"rename": dict(rename or {}), "dest_db_url": url}
        target = build(TableTarget, form, step=STEP)
        table = from_frame(data, None)
        return tenacity.Retrying(**policy(on=(TransientError,)))(_write_table, target, table)


def _write_table(target: TableTarget, table: pa.Table) -> int:
    with scratch_directory() as scratch:
        stream = Stream(table.schema, iter(table.to_batches()), table.num_rows)
        return write(target, stream, Workspace(scratch=scratch)).rows
