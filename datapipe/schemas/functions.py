"""Checks that are functions, run by Pandera in the thread that called ``run()``."""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from datapipe.data.stream import Workspace
from datapipe.errors import DataError, DatapipeError
from datapipe.plan.contract import CheckSpec
from datapipe.secrets import redactor

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Answer:
    """What a function says.

    Parameters
    ----------
    kept : bool
        Whether its check is kept, by every row or as a whole.
    failed : numpy.ndarray, optional
        Which rows do not keep it; None if it judges them as a whole.
    """

    kept: bool
    failed: npt.NDArray[np.bool_] | None = None


def judged(spec: CheckSpec, data: pd.Series[Any] | pd.DataFrame, work: Workspace) -> Answer:
    """What a function says of a column or a frame.

    Raises
    ------
    DataError
        If the function fails, or does not answer for exactly the rows it is given.
    """
    import pandas as pd

    passed = work.call(lambda: _call(spec, data))
    if isinstance(passed, (bool, np.bool_)) or passed is pd.NA:
        if spec.row_wise or (spec.element_wise and len(data)):
            hint = "Return a Series with a boolean for each row, or declare it without row_wise"
            raise DataError(f"the check {spec.label} is row-wise and returned one boolean", hint=hint)
        return Answer(kept=passed is pd.NA or bool(passed))
    if isinstance(passed, pd.DataFrame):
        passed = passed.all(axis=1)
    if not isinstance(passed, pd.Series):
        raise DataError(
            f"the check {spec.label} returned a {type(passed).__name__}",
            hint="Return one boolean, or a Series of booleans",
        )
    # Pandera leaves out the NULLs of a column that a check ignores; they keep their place here.
    given = data.dropna() if spec.ignore_na and isinstance(data, pd.Series) else data
    if len(passed) != len(given) or not passed.index.is_unique or not passed.index.isin(given.index).all():
        raise DataError(
            f"the check {spec.label} returned other rows than it got",
            hint="Return a boolean for each row that comes in, with the index that comes in",
        )
    found = passed.reindex(data.index)
    passes = found.isna() if spec.ignore_na else pd.Series(data=False, index=found.index)
    failed = ~(found.fillna(value=False).astype(bool) | passes).to_numpy(bool)
    return Answer(not failed.any(), failed)


def _call(spec: CheckSpec, data: pd.Series[Any] | pd.DataFrame) -> Any:
    from pandera.pandas import Check  # slow to import

    function: Any = spec.function.resolve() if spec.function else None
    if spec.arguments:  # given to Check, one called name or groups would be taken for its own
        function = functools.partial(function, **spec.arguments)
    check = Check(function, element_wise=spec.element_wise, ignore_na=spec.ignore_na, name=spec.name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of Pandera's own use of pandas
            return check(data).check_output
    except DatapipeError:
        raise
    except Exception as error:
        if isinstance(error, NotImplementedError) and not str(error):  # Pandera's own, for what is no answer
            hint = "Return one boolean, or a Series of booleans"
            raise DataError(f"the check {spec.label} returned neither a boolean nor a Series", hint=hint) from error
        said = redactor().text(f"{type(error).__name__}: {error}")
        failed = DataError(f"the check {spec.label} failed: {said}", hint="Correct its function")
        failed.outside = said
        raise failed from error
