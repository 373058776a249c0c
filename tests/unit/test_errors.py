"""Every error keeps its fields on the way between processes, and says what to do."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from datapipe import errors
from datapipe.errors import DatapipeError, PlanError, did_you_mean

ERRORS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, DatapipeError)]


def test_the_tree_is_whole() -> None:
    assert {kind.__name__ for kind in ERRORS} >= {
        "DatapipeError",
        "PlanError",
        "NotPortableError",
        "DataError",
        "SchemaError",
        "TransientError",
        "FatalError",
        "RunCancelled",
    }


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_keeps_type_text_and_fields(kind: type[DatapipeError], protocol: int) -> None:
    error = kind("it broke", step="step 2 (sql)", hint="Mend it", column="price", row=7)
    error.result = {"run_id": "r1"}
    error.add_note("seen on a worker")
    twin = pickle.loads(pickle.dumps(error, protocol))
    assert type(twin) is kind
    assert str(twin) == str(error) == "step 2 (sql): it broke. Mend it"
    assert (twin.message, twin.step, twin.hint, twin.column, twin.row) == (
        "it broke",
        "step 2 (sql)",
        "Mend it",
        "price",
        7,
    )
    assert twin.result == {"run_id": "r1"}
    assert twin.__notes__ == ["seen on a worker"]
    assert str(copy.copy(error)) == str(error)


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_works_without_arguments(kind: type[DatapipeError]) -> None:
    assert str(pickle.loads(pickle.dumps(kind()))) == ""


def test_text_has_one_full_stop_between_message_and_hint() -> None:
    assert str(DatapipeError("it broke.", hint="Mend it")) == "it broke. Mend it"
    assert str(DatapipeError("it broke")) == "it broke"


def test_the_first_step_named_stays() -> None:
    assert PlanError("wrong").at("ingestion").at("persistence").step == "ingestion"


def test_plan_errors_are_value_errors() -> None:
    with pytest.raises(ValueError, match="wrong"):
        raise PlanError("wrong")


def test_did_you_mean_names_the_nearest() -> None:
    assert did_you_mean("UPSRT", ["append", "Upsert"]) == "Did you mean 'Upsert'? known: Upsert, append"
    assert did_you_mean("xyz", ["append"]) == "known: append"
    assert did_you_mean("xyz", []) == ""


def test_did_you_mean_keeps_long_lists_short() -> None:
    hint = did_you_mean("zzz", [f"table{number:02}" for number in range(40)])
    assert hint.endswith("table19, …")
