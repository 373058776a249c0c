"""What a run says of its memory: what each step has held at most, and the process."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import datapipe
from datapipe.data.resident import Resident
from datapipe.display import run_card_text
from datapipe.engine import RunResult, StepResult, view_of_result
from datapipe.engine.shares import shares

MIB = 1 << 20
NUMBERS = pa.table({"id": np.random.default_rng(1).permutation(1_000_000), "v": np.arange(1_000_000) * 0.5})  # 15 MiB


def peaks(plan: datapipe.Pipeline) -> dict[str, int]:
    return {step.name: step.peak_bytes for step in plan.run(memory="128MB").steps}


def test_a_step_that_sorts_has_held_the_table_and_one_that_filters_has_not(tmp_path) -> None:
    read = datapipe.read(NUMBERS)
    sorts = peaks(read.sql("SELECT * FROM input_data ORDER BY id").write(tmp_path / "a.parquet"))
    filters = peaks(read.sql("SELECT * FROM input_data WHERE id >= 0").write(tmp_path / "b.parquet"))
    assert sorts["transformation step 1 (sql)"] >= NUMBERS.nbytes
    assert filters["transformation step 1 (sql)"] < 2 * NUMBERS.nbytes / 3  # two batches, and what waits
    assert 0 < sorts["ingestion"] < NUMBERS.nbytes and sorts["persistence"] > 0


def test_a_further_table_counts_as_its_steps(tmp_path) -> None:
    further = datapipe.read(NUMBERS).sql("SELECT * FROM input_data ORDER BY id")
    one = datapipe.read(pa.table({"id": [1]}))
    plan = one.sql("SELECT a.id FROM input_data AS a JOIN other AS b USING (id)", other=further)
    assert peaks(plan.write(tmp_path / "a.parquet"))["transformation step 1 (sql)"] >= NUMBERS.nbytes


def test_a_function_has_held_its_table_and_its_result(tmp_path) -> None:
    result = datapipe.read(NUMBERS).apply(lambda frame: frame).write(tmp_path / "a.parquet").run(memory="128MB")
    assert result.steps[1].peak_bytes >= 2 * NUMBERS.nbytes
    assert not result.notices


def test_a_function_that_takes_more_than_the_memory_of_the_run_says_so_and_runs(tmp_path) -> None:
    many = pa.concat_tables([NUMBERS] * 5)
    result = datapipe.read(many).apply(lambda frame: frame.head(1)).write(tmp_path / "a.parquet").run(memory="64MB")
    assert [note for note in result.notices if "about 76 MiB" in note and "5,000,000 rows of about 16 bytes" in note]


def test_a_validation_has_held_what_it_compares(tmp_path) -> None:
    contract = {"columns": {"id": {"type": "int", "unique": True}}}
    held = peaks(datapipe.read(NUMBERS).validate(contract).write(tmp_path / "a.parquet"))
    assert held["transformation step 1 (validate)"] > MIB


def test_the_peak_of_the_process_is_that_of_the_run() -> None:
    resident = Resident()
    if resident.peak() is None:
        pytest.skip("this system does not tell")
    before = resident.peak()
    block = np.ones(100 * MIB, np.uint8)
    resident.look()
    del block
    peak = resident.peak()
    assert before is not None and peak is not None and peak >= before + 90 * MIB


def test_records_of_other_versions_are_read(tmp_path) -> None:
    result = datapipe.read(NUMBERS).write(tmp_path / "a.parquet").run()
    assert result.peak_memory is None or result.peak_memory > 50 * MIB
    assert RunResult.from_dict(result.to_dict()) == result
    record = result.to_dict()
    del record["peak_memory"], record["steps"][0]["peak_bytes"]
    record["steps"][1]["added_later"] = 1
    read = RunResult.from_dict(record)
    assert (read.peak_memory, read.steps[0].peak_bytes) == (None, 0)


def test_a_card_shows_the_memory_of_steps_that_held_much() -> None:
    steps = (StepResult("ingestion", 0, 9, peak_bytes=MIB), StepResult("persistence", 9, 9, peak_bytes=300 * MIB))
    result = RunResult("r", "c", "f", "succeeded", "a", "b", steps=steps)
    assert "300.0 MB" in result._repr_html_() and "1.0 MB" not in result._repr_html_()
    assert "memory" not in run_card_text(view_of_result(RunResult("r", "c", "f", "succeeded", "a", "b")))


SORT = {"type": "sql", "config": {"sql_query": "SELECT * FROM input_data ORDER BY id"}}
ROWS = {"type": "sql", "config": {"sql_query": "SELECT id + 1 AS id FROM input_data"}}
FEED = {"ingestion": {"table": "b"}, "transformation": [SORT, SORT, ROWS]}
JOIN = {"type": "sql", "config": {"sql_query": "SELECT * FROM input_data JOIN b USING (id)", "tables": {"b": FEED}}}
GROUPS = {"type": "config", "config": {"group_by": ["id"], "aggregations": {"n": "count(*)"}}}
RENAMES = {"type": "config", "config": {"rename": {"id": "key"}}}
CHECKS = {"type": "validate", "config": {"checks": ["id > 0"]}}
DUCKDB = {"table_name": "t", "dest_db_url": "duckdb:///a.duckdb"}


@pytest.mark.parametrize(
    ("steps", "target", "parts"),
    [
        ([], None, 1),
        ([SORT], None, 1),
        ([ROWS, RENAMES], None, 1),
        ([SORT, GROUPS, CHECKS, ROWS], None, 3),
        ([JOIN], None, 3),
        ([JOIN, SORT], DUCKDB, 5),
        ([SORT], {"path": "a.jsonl"}, 2),
        ([SORT], {"path": "a.parquet"}, 1),
    ],
)
def test_memory_is_shared_by_what_holds_rows(steps, target, parts) -> None:
    given = {"ingestion": {"table": "a", "source_db_url": "sqlite:///a.db"}, "transformation": steps}
    assert shares(datapipe.Plan.model_validate(given | ({"persistence": target} if target else {}))) == parts
