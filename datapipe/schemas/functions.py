"""Checks that are functions, run by Pandera in the thread that called ``run()``."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from datapipe.data.stream import Workspace
from datapipe.errors import DataError, DatapipeError
from datapipe.plan.contract import CheckSpec

if TYPE_CHECKING:
    import pandas as pd


def judged(spec: CheckSpec, data: pd.Series[Any] | pd.DataFrame, work: Workspace) -> pa.Array | None:
    """What a function says of each row of a column or a frame: False for the rows that do not keep its check.

    Returns
    -------
    pyarrow.BooleanArray or None
        One value a row; of length 0 if it says no of the whole; None if every row, or the whole, keeps it.

    Raises
    ------
    DataError
        If the function fails.
    """
    import pandas as pd

    passed = work.call(lambda: _call(spec, data))
    if isinstance(passed, (bool, np.bool_)) or passed is pd.NA:
        if spec.row_wise:
            hint = "Return a Series with a boolean for each row, or declare it without row_wise"
            raise DataError(f"the check {spec.label} is row-wise and returned one boolean", hint=hint)
        return None if passed is pd.NA or passed else pa.array([], pa.bool_())
    if isinstance(passed, pd.DataFrame):
        passed = passed.all(axis=1)
    if not isinstance(passed, pd.Series):
        raise DataError(
            f"the check {spec.label} returned a {type(passed).__name__}",
            hint="Return one boolean, or a Series of booleans",
        )
    # Pandera leaves out the NULLs that a check ignores; they keep their place here.
    if not passed.index.is_unique or not passed.index.isin(data.index).all():
        raise DataError(
            f"the check {spec.label} returned other rows than it got", hint="Keep the index of what comes in"
        )
    found = passed.reindex(data.index)
    kept = found.isna() if spec.ignore_na else pd.Series(data=False, index=found.index)
    verdict = (found.fillna(value=False).astype(bool) | kept).to_numpy()
    return None if verdict.all() else pa.array(verdict)


def _call(spec: CheckSpec, data: pd.Series[Any] | pd.DataFrame) -> Any:
    from pandera.pandas import Check  # slow to import

    function: Any = spec.function.resolve() if spec.function else None
    check = Check(
        function, element_wise=spec.element_wise, ignore_na=spec.ignore_na, name=spec.name, **dict(spec.arguments)
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of Pandera's own use of pandas
            return check(data).check_output
    except DatapipeError:
        raise
    except Exception as error:
        raise DataError(
            f"the check {spec.label} failed: {type(error).__name__}: {error}", hint="Correct its function"
        ) from error
