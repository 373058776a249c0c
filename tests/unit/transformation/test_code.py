from __future__ import annotations

import linecache
import pickle
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from datapipe.data.memory import free_memory, gathered
from datapipe.data.stream import Stream, Workspace
from datapipe.data.types import tag, tagged
from datapipe.errors import DataError, PlanError, RunCancelled
from datapipe.plan import CodeConfig
from datapipe.transformation.code import CodeTransformer, run_code

PEOPLE = pa.table({"id": pa.array([1, 2, None, 4, 5]), "name": [" Ann", "Bob ", None, "Dee", "Eve"]})


def stream_of(table: pa.Table, *, rows: int = 2) -> Stream:
    return Stream(table.schema, iter(table.to_batches(max_chunksize=rows)), table.num_rows)


def ran(function: Any, table: pa.Table = PEOPLE, *, per_batch: bool = False, **work: Any) -> pa.Table:
    config = CodeConfig(function=function, per_batch=per_batch)
    with run_code(config, stream_of(table), Workspace(**work)) as made:
        return pa.Table.from_batches(list(made.batches), schema=made.schema)


def trimmed(frame: pd.DataFrame) -> pd.DataFrame:
    frame["name"] = frame["name"].str.strip()
    return frame


def test_the_function_sees_the_whole_table_as_one_frame() -> None:
    seen: list[pd.DataFrame] = []

    def centred(frame: pd.DataFrame) -> pd.DataFrame:
        seen.append(frame)
        frame["rank"] = frame["id"].rank().astype("Int64")
        return frame

    made = ran(centred)
    assert [len(frame) for frame in seen] == [5]
    assert made["rank"].to_pylist() == [1, 2, None, 3, 4]
    assert made.schema.field("id").type == pa.int64()


def test_columns_changed_in_place_leave_the_source_alone() -> None:
    before = PEOPLE.to_pylist()
    assert ran(trimmed)["name"].to_pylist() == ["Ann", "Bob", None, "Dee", "Eve"]
    assert PEOPLE.to_pylist() == before


def test_the_schema_is_known_on_entering_and_the_rows_counted() -> None:
    with run_code(CodeConfig(function=trimmed), stream_of(PEOPLE), Workspace()) as made:
        assert (made.schema, made.total) == (PEOPLE.schema, 5)


@pytest.mark.parametrize("per_batch", [False, True])
def test_an_empty_stream_calls_the_function_once_to_learn_the_schema(per_batch: bool) -> None:
    calls: list[int] = []

    def counted(frame: pd.DataFrame) -> pd.DataFrame:
        calls.append(len(frame))
        return frame.assign(size=frame["name"].str.len())

    made = ran(counted, PEOPLE.slice(0, 0), per_batch=per_batch)
    assert calls == [0]
    assert made.schema.names == ["id", "name", "size"]
    assert made.schema.field("size").type == pa.int64()
    assert made.num_rows == 0


def test_per_batch_gives_batches_of_exactly_the_asked_size() -> None:
    sizes: list[int] = []

    def noted(frame: pd.DataFrame) -> pd.DataFrame:
        sizes.append(len(frame))
        return trimmed(frame)

    assert ran(noted, per_batch=True, batch_rows=3) == ran(trimmed)
    assert sizes == [3, 2]


def test_per_batch_is_lazy_after_the_first() -> None:
    calls: list[int] = []

    def noted(frame: pd.DataFrame) -> pd.DataFrame:
        calls.append(len(frame))
        return frame

    with run_code(CodeConfig(function=noted, per_batch=True), stream_of(PEOPLE), Workspace(batch_rows=1)):
        assert calls == [1]


def test_per_batch_keeps_the_types_of_the_first_batch() -> None:
    def sized(frame: pd.DataFrame) -> pd.DataFrame:
        # numpy gives float64 where a value is missing, int64 elsewhere
        return frame.assign(size=np.array([len(n) if isinstance(n, str) else np.nan for n in frame["name"]]))

    made = ran(sized, per_batch=True, batch_rows=2)
    assert made["size"].to_pylist() == [4, 4, None, 3, 3]


def test_per_batch_refuses_a_later_batch_of_other_columns_and_names_it() -> None:
    def unsteady(frame: pd.DataFrame) -> pd.DataFrame:
        return frame if frame["id"].notna().all() else frame.rename(columns={"name": "nom"})

    with pytest.raises(DataError, match=r"batch 2 \(rows 3 to 4\).*'name' is missing") as caught:
        ran(unsteady, per_batch=True, batch_rows=2)
    assert "unsteady" in str(caught.value)


def test_per_batch_refuses_a_later_batch_of_another_kind() -> None:
    def unsteady(frame: pd.DataFrame) -> pd.DataFrame:
        return frame if frame["id"].notna().all() else frame.assign(id=frame["id"].astype("string"))

    with pytest.raises(DataError, match="'id' was bigint at first and is now text"):
        ran(unsteady, per_batch=True, batch_rows=2)


class Suffix:
    def __init__(self, suffix: str = "!") -> None:
        self.suffix = suffix

    def transform(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(name=frame["name"] + self.suffix)


class NeedsMore:
    def __init__(self, suffix: str) -> None:
        self.suffix = suffix

    def transform(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame


class NoTransform:
    pass


def test_a_class_or_an_object_with_transform_is_a_function_too() -> None:
    assert ran(Suffix)["name"].to_pylist()[0] == " Ann!"
    assert ran(Suffix("?"))["name"].to_pylist()[0] == " Ann?"


def test_a_class_that_cannot_be_used_is_a_plan_error() -> None:
    with pytest.raises(PlanError, match=r"NoTransform.*no method transform"):
        ran(NoTransform)
    with pytest.raises(PlanError, match=r"NeedsMore.*without arguments.*suffix"):
        ran(NeedsMore)


def from_polars(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col("name").str.strip_chars())


def from_arrow(table: pa.Table) -> pa.Table:
    assert isinstance(table, pa.Table)
    return table.slice(1, 2)


def by_alias(frame: "pl.DataFrame") -> "pl.DataFrame":  # noqa: UP037  # a text annotation is what is tested
    return frame.head(1)


def test_the_annotation_decides_the_frame() -> None:
    assert ran(from_polars)["name"].to_pylist() == ["Ann", "Bob", None, "Dee", "Eve"]
    assert ran(from_polars).schema == PEOPLE.schema
    assert ran(from_arrow)["name"].to_pylist() == ["Bob ", None]
    assert ran(by_alias).num_rows == 1


def test_an_annotation_that_only_a_type_checker_imports_works() -> None:
    namespace: dict[str, Any] = {}
    exec("def first(frame: 'pl.DataFrame') -> 'pl.DataFrame':\n    return frame.head(1)\n", namespace)
    assert "pl" not in namespace
    assert ran(namespace["first"]).num_rows == 1


def test_a_function_may_return_another_kind_of_table() -> None:
    assert ran(lambda frame: pa.table({"n": [len(frame)]})).to_pydict() == {"n": [5]}
    assert ran(lambda frame: pl.DataFrame({"n": [len(frame)]})).to_pydict() == {"n": [5]}


def returns_nothing(frame: pd.DataFrame) -> None:
    frame["x"] = 1


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (returns_nothing, "'.*returns_nothing' returned nothing"),
        (lambda frame: frame["name"], "a table was expected, not pandas.*Series"),
        (lambda frame: frame.assign(name=[1, "a", 2.5, None, b""]), "'name': it mixes"),
        (lambda frame: frame[["id", "id"]], "two columns called 'id'"),
    ],
)
def test_a_result_that_is_no_table_is_refused(function: Callable[..., Any], message: str) -> None:
    for per_batch in (False, True):
        with pytest.raises(DataError, match=message):
            ran(function, per_batch=per_batch)


def helper(frame: pd.DataFrame) -> Any:
    return frame["emial"]  # the line to be named


def uses_helper(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(x=helper(frame))


def test_a_failing_function_is_told_with_its_name_line_and_message() -> None:
    with pytest.raises(DataError) as caught:
        ran(uses_helper)
    text = str(caught.value)
    line = helper.__code__.co_firstlineno + 1
    assert "uses_helper" in text
    assert "KeyError: 'emial'" in text
    assert f'/test_code.py:{line}: return frame["emial"]' in text
    assert isinstance(caught.value.__cause__, KeyError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == text


def test_a_failure_per_batch_names_the_batch_and_its_rows() -> None:
    def picky(frame: pd.DataFrame) -> pd.DataFrame:
        if frame["id"].isna().any():
            raise ValueError("an id is missing")
        return frame

    with pytest.raises(DataError, match=r"batch 2 \(rows 3 to 4\): ValueError: an id is missing"):
        ran(picky, per_batch=True, batch_rows=2)


def test_the_line_of_a_notebook_cell_is_named() -> None:
    cell, source = "/tmp/ipykernel_7/123.py", "def broken(frame):\n    return frame.no_such_thing\n"
    linecache.cache[cell] = (len(source), None, source.splitlines(keepends=True), cell)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, cell, "exec"), namespace)
    with pytest.raises(DataError) as caught:
        ran(namespace["broken"])
    assert "(a notebook cell:2: return frame.no_such_thing)" in str(caught.value)
    assert caught.value.excerpt is not None and caught.value.excerpt.lines[1] == (2, "    return frame.no_such_thing")


def test_a_function_written_in_c_fails_without_a_line() -> None:
    with pytest.raises(DataError, match="'builtins:sum' failed: TypeError"):
        ran(sum)


def test_an_interrupt_is_no_data_error() -> None:
    def stopped(frame: pd.DataFrame) -> pd.DataFrame:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ran(stopped)


def test_an_error_of_datapipe_passes_through_untouched() -> None:
    mine = PlanError("my own")

    def refusing(frame: pd.DataFrame) -> pd.DataFrame:
        raise mine

    with pytest.raises(PlanError) as caught:
        ran(refusing)
    assert caught.value is mine
    with pytest.raises(PlanError, match="code: my own"):
        CodeTransformer().transform(PEOPLE, refusing)


def test_the_function_is_called_through_the_workspace() -> None:
    threads: list[str] = []

    def noted(frame: pd.DataFrame) -> pd.DataFrame:
        threads.append(threading.current_thread().name)
        return frame

    def elsewhere(work: Callable[[], Any]) -> Any:
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(work()), name="caller")
        thread.start()
        thread.join()
        return found[0]

    ran(noted, call=elsewhere)
    ran(noted, per_batch=True, call=elsewhere, batch_rows=2)
    assert threads == ["caller"] * 4


@pytest.mark.parametrize("per_batch", [False, True])
def test_a_cancelled_run_raises_and_never_just_ends(per_batch: bool) -> None:
    work = Workspace(batch_rows=1, memory=1)
    with run_code(CodeConfig(function=trimmed, per_batch=per_batch), stream_of(PEOPLE), work) as made:
        work.cancel.cancel()
        with pytest.raises(RunCancelled):
            list(made.batches)


def test_gathering_stops_when_the_run_is_cancelled() -> None:
    work = Workspace()

    def endless() -> Iterator[pa.RecordBatch]:
        while True:
            work.cancel.cancel()
            yield PEOPLE.to_batches()[0]

    with (
        pytest.raises(RunCancelled),
        run_code(CodeConfig(function=trimmed), Stream(PEOPLE.schema, endless()), work),
    ):
        pass


def test_a_table_too_large_for_the_memory_is_refused_with_the_cures() -> None:
    pulled: list[int] = []

    def many() -> Iterator[pa.RecordBatch]:
        for number in range(100):
            pulled.append(number)
            yield pa.RecordBatch.from_pydict({"n": range(1000)})

    schema = pa.schema([("n", pa.int64())])
    with pytest.raises(DataError, match="half of the memory that is free") as caught:
        gathered(Stream(schema, many()), Workspace(), room=20_000)
    assert len(pulled) == 3
    assert all(cure in str(caught.value) for cure in ("per_batch=True", ".sql()", "filter"))
    assert gathered(stream_of(PEOPLE), Workspace(), room=20_000) == PEOPLE


def test_the_free_memory_is_what_the_machine_can_give() -> None:
    total = Path("/proc/meminfo")
    if not total.exists():
        pytest.skip("no /proc here")
    assert 0 <= free_memory() <= int(total.read_text().split()[1]) * 1024


def clean_data(df):  # type: ignore[no-untyped-def]  # the specification's own words
    df["name"] = df["name"].str.strip()
    df["email"] = df["email"].str.lower()
    return df


def test_the_example_of_the_specification() -> None:
    df = pd.DataFrame({"name": [" Ann "], "email": ["ANN@X.ORG"]})
    before = df.copy(deep=True)
    result = CodeTransformer().transform(df, clean_data)
    assert isinstance(result, pd.DataFrame)
    assert result.to_dict("list") == {"name": ["Ann"], "email": ["ann@x.org"]}
    pd.testing.assert_frame_equal(df, before)


def test_the_same_kind_comes_back() -> None:
    assert isinstance(CodeTransformer(from_polars).transform(PEOPLE), pa.Table)
    assert isinstance(CodeTransformer(trimmed).transform(pl.DataFrame({"name": ["a"]})), pl.DataFrame)


def test_per_batch_has_the_size_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCH_SIZE", "2")
    sizes: list[int] = []

    def noted(frame: pd.DataFrame) -> pd.DataFrame:
        sizes.append(len(frame))
        return frame

    CodeTransformer(noted).transform(PEOPLE, per_batch=True)
    assert sizes == [2, 2, 1]


def test_the_version_follows_the_code() -> None:
    assert CodeTransformer(trimmed).version == CodeTransformer(trimmed).version
    assert CodeTransformer(trimmed).version != CodeTransformer(helper).version
    with pytest.raises(PlanError, match="no function"):
        _ = CodeTransformer().version
    with pytest.raises(PlanError, match="no function"):
        CodeTransformer().transform(PEOPLE)


def test_numeric_text_is_computed_on_exactly() -> None:
    schema = pa.schema([tagged("n", "numeric")])

    def halved(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(n=[None if pd.isna(n) else n / 2 for n in frame["n"]])

    made = ran(halved, pa.table([pa.array(["0.1", None])], schema=schema))
    assert tag(made.schema.field("n")) == "numeric"
    assert [n and Decimal(n) for n in made["n"].to_pylist()] == [Decimal("0.05"), None]
