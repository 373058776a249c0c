"""Files as an incremental source, into every database: each is loaded once, whatever happens to it and to the run."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from contracts.sinks import Sink, errors_at_once, on_two
from typer.testing import CliRunner

import datapipe
from datapipe.cli.app import app
from datapipe.errors import DataError, InProgress, PlanError, TransientError
from datapipe.ingestion import newfiles
from datapipe.pipeline import Pipeline


class Inbox:
    """A folder that files come into, and the table that they are loaded into."""

    def __init__(self, folder: Path, sink: Sink) -> None:
        self.folder, self.sink = folder, sink
        folder.mkdir()

    def put(self, name: str, *rows: tuple[int, str], age: float = 60) -> Path:
        """A file of these rows, last changed so many seconds ago."""
        path = self.folder / name
        path.write_text("id,what\n" + "".join(f"{id_},{what}\n" for id_, what in rows))
        moment = time.time() - age
        os.utime(path, (moment, moment))
        return path

    def plan(self, strategy: str = "append", pattern: str = "*.csv", table: str = "events") -> Pipeline:
        """The plan that loads them."""
        keys = {"keys": ["id"]} if strategy in {"upsert", "insert"} else {}
        read = datapipe.read(str(self.folder / pattern), incremental=True)
        return read.write(table, to=self.sink.url, strategy=strategy, **keys)

    def rows(self, table: str = "events") -> list[tuple[Any, ...]]:
        """What has arrived."""
        return sorted(self.sink.sql(f"SELECT id, what FROM {table}"))


@pytest.fixture
def inbox(sink: Sink, tmp_path: Path) -> Inbox:
    """Two files of a row each."""
    made = Inbox(tmp_path / "inbox", sink)
    made.put("a.csv", (1, "one"))
    made.put("b.csv", (2, "two"))
    return made


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files whose content was looked at, in order."""
    seen: list[str] = []
    digest = newfiles.NewFiles._digest

    def look(self: Any, path: str, work: Any) -> bytes:
        seen.append(path)
        return digest(self, path, work)

    monkeypatch.setattr(newfiles.NewFiles, "_digest", look)
    return seen


STRATEGIES = ("append", "insert", "upsert")


@on_two
def test_a_file_without_rows_changes_no_column(inbox: Inbox) -> None:
    inbox.plan().run()
    inbox.put("c.csv")
    result = inbox.plan().run()
    assert (result.rows_written, result.watermark["files"]) == (0, 1)
    inbox.put("d.csv", (4, "four"))
    assert inbox.plan().run().rows_written == 1


def test_each_file_is_loaded_once(inbox: Inbox) -> None:
    plans = [(inbox.plan(strategy, table=f"by_{strategy}"), f"by_{strategy}") for strategy in STRATEGIES]
    for plan, _ in plans:
        result = plan.run()
        assert (result.rows_written, result.watermark) == (2, {"files": 2, "known": 2, "last": "b.csv"})
    inbox.put("c.csv", (3, "three"))
    for plan, table in plans:
        result = plan.run()
        assert (result.rows_read, result.watermark) == (1, {"files": 1, "known": 3, "last": "c.csv"})
        result = plan.run()
        assert (result.rows_read, result.watermark) == (0, {"files": 0, "known": 3})
        assert inbox.rows(table) == [(1, "one"), (2, "two"), (3, "three")]


def test_a_changed_file_is_loaded_again_by_an_upsert(inbox: Inbox) -> None:
    plan = inbox.plan("upsert")
    plan.run()
    inbox.put("b.csv", (2, "TWO"), (4, "four"), age=30)
    assert plan.run().watermark == {"files": 1, "known": 2, "last": "b.csv"}
    assert inbox.rows() == [(1, "one"), (2, "TWO"), (4, "four")]
    inbox.put("b.csv", (2, "two"), age=20)  # what it once was
    assert plan.run().rows_read == 1
    assert inbox.rows() == [(1, "one"), (2, "two"), (4, "four")]


def test_a_changed_file_is_refused_where_its_rows_would_be_doubled(inbox: Inbox) -> None:
    runs = {strategy: inbox.plan(strategy, table=f"by_{strategy}").run().run_id for strategy in ("append", "insert")}
    inbox.put("b.csv", (2, "TWO"))
    inbox.put("c.csv", (3, "three"))
    for strategy, run in runs.items():
        with pytest.raises(DataError, match=rf"b\.csv has changed since run {run} loaded it.*upsert.*new name.*reset"):
            inbox.plan(strategy, table=f"by_{strategy}").run()
        assert inbox.rows(f"by_{strategy}") == [(1, "one"), (2, "two")]


@on_two
def test_a_file_that_was_only_touched_is_looked_at_once(inbox: Inbox, hashed: list[str]) -> None:
    plan = inbox.plan()
    first = plan.run().run_id
    assert hashed == ["a.csv", "b.csv"]
    inbox.put("b.csv", (2, "two"), age=30)
    assert [plan.run().rows_read, plan.run().rows_read] == [0, 0]
    assert hashed == ["a.csv", "b.csv", "b.csv"]
    assert {mark.run_id for mark in plan.watermark.files.values()} == {first}


@on_two
def test_the_time_of_a_file_that_has_just_been_written_is_not_trusted(inbox: Inbox) -> None:
    path = inbox.put("c.csv", (3, "old"), age=0)
    before = path.stat()
    plan = inbox.plan("upsert")
    plan.run()
    path.write_text("id,what\n3,new\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a clock with coarse ticks has it
    assert plan.run().rows_read == 1
    assert inbox.rows()[-1] == (3, "new")


@on_two
def test_another_path_is_another_file_and_a_vanished_one_stays_known(inbox: Inbox) -> None:
    plan = inbox.plan()
    plan.run()
    (inbox.folder / "b.csv").rename(inbox.folder / "c.csv")
    assert plan.run().rows_read == 1
    inbox.put("b.csv", (2, "two"))
    assert plan.run().rows_read == 0
    assert inbox.rows() == [(1, "one"), (2, "two"), (2, "two")]


@on_two
def test_a_file_that_changes_while_it_is_read_is_read_again(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_RETRIES", "1")
    monkeypatch.setenv("RETRY_BACKOFF_BASE", "0.01")

    def change_once(frame: Any) -> Any:
        if not calls:
            inbox.put("b.csv", (2, "whole"), (3, "three"))
        calls.append(len(frame))
        return frame

    calls: list[int] = []
    read = datapipe.read(str(inbox.folder / "*.csv"), incremental=True)
    result = read.apply(change_once).write("events", to=inbox.sink.url).run()
    assert (calls, result.attempts) == ([2, 3], 2)
    assert inbox.rows() == [(1, "one"), (2, "whole"), (3, "three")]
    assert inbox.plan().run().rows_read == 0


@pytest.mark.parametrize("end", ["changed", "gone"])
@on_two
def test_a_file_that_never_holds_still_is_not_loaded(inbox: Inbox, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(frame: Any) -> Any:
        calls.append(len(frame))
        if end == "gone":
            (inbox.folder / "b.csv").unlink()
        else:
            inbox.put("b.csv", *((10 + place, "x") for place in range(len(calls))))
        return frame

    calls: list[int] = []
    monkeypatch.setenv("MAX_RETRIES", "0")
    read = datapipe.read(str(inbox.folder / "*.csv"), incremental=True)
    with pytest.raises(TransientError, match=r"ingestion: .*b\.csv (is gone|has changed) while it was read"):
        read.apply(change).write("events", to=inbox.sink.url).run()
    assert "events" not in inbox.sink.tables()


@on_two
def test_what_is_torn_is_not_taken_for_bad_data(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = newfiles.NewFiles._digest

    def tear(self: Any, path: str, work: Any) -> bytes:
        found = digest(self, path, work)
        (inbox.folder / path).write_text('id,what\n2,"tw')
        return found

    monkeypatch.setattr(newfiles.NewFiles, "_digest", tear)
    with pytest.raises(TransientError, match=r"a\.csv has changed while it was read.*rename them"):
        inbox.plan().run()


@on_two
def test_a_reset_has_all_files_loaded_again(inbox: Inbox) -> None:
    plan = inbox.plan("upsert")
    assert str(plan.watermark) == "no file loaded yet; the next run loads all"
    run = plan.run().run_id
    shown = f"2 files loaded, the last ones first:\n  b.csv, 14 bytes, by run {run[:8]}\n  a.csv, 14 bytes, by run {run[:8]}"
    assert str(plan.watermark) == shown
    assert (list(plan.watermark.files), plan.watermark.values, plan.watermark.run_id) == (["a.csv", "b.csv"], None, run)
    assert plan.watermark.to_dict()["last"][0] == {"path": "b.csv", "size": 14, "run_id": run}
    assert str(plan.watermark.reset()) == "no file loaded yet; the next run loads all"
    assert [plan.run().rows_read, plan.run().rows_read] == [2, 0]
    with pytest.raises(PlanError, match="no cursor that could be set"):
        plan.watermark.set("2024-01-01")


def test_a_table_that_is_gone_is_loaded_anew(inbox: Inbox) -> None:
    plan = inbox.plan()
    plan.run()
    inbox.sink.sql("DROP TABLE events")
    (inbox.folder / "a.csv").rename(inbox.folder.parent / "a.csv")
    result = plan.run()
    assert (result.rows_read, any("the table is gone" in note for note in result.notices)) == (1, True)
    (inbox.folder.parent / "a.csv").rename(inbox.folder / "a.csv")  # whose rows went with the table
    assert plan.run().rows_read == 1
    assert inbox.rows() == [(1, "one"), (2, "two")]


@on_two
def test_nothing_new_is_a_success_that_is_recorded(inbox: Inbox) -> None:
    with pytest.raises(PlanError, match="no file matches"):
        inbox.plan(pattern="*.tsv").run()
    read = datapipe.read(str(inbox.folder / "*.csv"), incremental=True)
    plan = read.sql("SELECT what, id FROM input_data WHERE id > 0").write("events", to=inbox.sink.url)
    plan.run()
    for path in inbox.folder.iterdir():
        path.unlink()
    result = plan.run()
    assert (result.state, result.rows_written, plan.run(idempotency_key="night").rows_written) == ("succeeded", 0, 0)
    assert plan.run(idempotency_key="night").replayed
    with pytest.raises(PlanError, match="no file matches"):  # a pattern that has never led to a file
        inbox.plan(pattern="*.cvs").run()
    inbox.put("c.csv", (3, "three"))
    assert plan.run().rows_read == 1
    inbox.folder.rename(inbox.folder.parent / "away")
    with pytest.raises(PlanError, match="no file matches"):
        plan.run()


@on_two
def test_patterns_in_one_folder_know_each_others_files(inbox: Inbox) -> None:
    inbox.plan(pattern="a*.csv").run()
    assert inbox.plan(pattern="*.csv").run().rows_read == 1
    assert inbox.plan(pattern=".").run().rows_read == 0
    assert inbox.plan(pattern="b.csv").run().rows_read == 0
    assert inbox.plan(pattern="b.csv", table="others").run().rows_read == 1
    (inbox.folder / "deep").mkdir()
    inbox.put("deep/c.csv", (3, "three"))
    assert inbox.plan(pattern="**/*.csv").run().rows_read == 1
    assert list(inbox.plan().watermark.files) == ["a.csv", "b.csv", "deep/c.csv"]


@on_two
def test_patterns_of_other_columns_in_one_folder(inbox: Inbox) -> None:
    (inbox.folder / "users.jsonl").write_text('{"name": "ann", "number": 7}\n')
    names = datapipe.read(str(inbox.folder / "*.jsonl"), incremental=True)
    plan = names.sql("SELECT number AS id, name AS what FROM input_data").write("events", to=inbox.sink.url)
    plan.run()
    inbox.plan().run()
    assert (plan.run().rows_read, inbox.plan().run().rows_read) == (0, 0)
    assert inbox.rows() == [(1, "one"), (2, "two"), (7, "ann")]


@on_two
def test_the_folder_is_the_same_however_it_is_spelled(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox.plan().run()
    (inbox.folder.parent / "link").symlink_to(inbox.folder)
    monkeypatch.chdir(inbox.folder.parent)
    for spelled in ("inbox/*.csv", "./link/../inbox/*.csv", "link/", "inbox/b.csv"):
        plan = datapipe.read(spelled, incremental=True).write("events", to=inbox.sink.url)
        assert plan.run().rows_read == 0


@on_two
def test_parquet_and_what_the_first_step_needs(inbox: Inbox) -> None:
    pq.write_table(pa.table({"id": [5], "what": ["five"], "more": [1.5]}), inbox.folder / "a.parquet")
    read = datapipe.read(str(inbox.folder / "*.parquet"), incremental=True)
    plan = read.sql("SELECT id, what FROM input_data").write("events", to=inbox.sink.url)
    assert (plan.run().rows_read, plan.run().rows_read) == (1, 0)
    further = read.sql("SELECT id, what, more FROM input_data").write("events", to=inbox.sink.url)
    assert further.run().rows_read == 0  # though nobody asked for this column before


@on_two
def test_runs_at_once_load_each_file_once(inbox: Inbox) -> None:
    errors = errors_at_once(inbox.plan().run)
    assert (errors, inbox.rows()) == ([], [(1, "one"), (2, "two")])


@on_two
def test_a_run_may_leave_it_to_the_other(inbox: Inbox) -> None:
    def run_again(frame: Any) -> Any:
        if inbox.sink.kind != "sqlite":  # whose file is locked as a whole
            outcomes.append(inbox.plan().run(if_running="skip").state)
            with pytest.raises(InProgress, match="has the increment"):
                inbox.plan().run(if_running="fail")
        return frame

    outcomes: list[str] = []
    read = datapipe.read(str(inbox.folder / "*.csv"), incremental=True)
    assert read.apply(run_again).write("events", to=inbox.sink.url).run().rows_written == 2
    assert outcomes in (["skipped"], [])


@on_two
def test_explain_says_which_files_are_new(inbox: Inbox) -> None:
    with pytest.raises(PlanError, match="ingestion: no file matches"):
        inbox.plan(pattern="*.tsv").explain()
    plan = inbox.plan()
    assert "files: 2 of 2 files are new: a.csv, b.csv" in str(plan.explain())
    plan.run()
    assert "files: 0 of 2 files are new" in str(plan.explain())
    for name in "cdefg":
        inbox.put(f"{name}.csv", (3, "x"))
    inbox.put("a.csv", (1, "ONE"), age=5)
    told = "files: 5 of 7 files are new: c.csv, d.csv, e.csv and 2 more; 1 to be looked at again: a.csv"
    assert told in str(plan.explain())
    assert inbox.rows() == [(1, "one"), (2, "two")]


@on_two
def test_looking_reads_all_files(inbox: Inbox) -> None:
    plan = inbox.plan()
    plan.run()
    assert (len(plan.collect()), plan.preview(5).rows) == (2, 2)


@on_two
def test_without_a_ledger_no_file_could_be_known(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIPE_LEDGER", "off")
    with pytest.raises(PlanError, match="no place for a watermark"):
        inbox.plan().run()


@on_two
def test_a_failed_run_knows_no_file(inbox: Inbox) -> None:
    def fail(_: Any) -> Any:
        raise ValueError

    read = datapipe.read(str(inbox.folder / "*.csv"), incremental=True)
    with pytest.raises(DataError):
        read.apply(fail).write("events", to=inbox.sink.url).run()
    assert not inbox.plan().watermark.files
    assert inbox.plan().run().rows_read == 2


@on_two
def test_files_are_loaded_in_parts_where_they_are_many(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newfiles, "_MOST", 1)
    with pytest.raises(DataError, match="2 files are new, and one load takes at most 1"):
        inbox.plan().run()
    assert [inbox.plan(pattern=name).run().rows_read for name in ("a*", "*")] == [1, 1]


@pytest.mark.parametrize("sink", ["sqlite"], indirect=True)
def test_the_commands_show_and_reset(inbox: Inbox, tmp_path: Path) -> None:
    def command(*words: str) -> Any:
        return CliRunner().invoke(app, ["watermark", *words])

    plan, file = inbox.plan("upsert"), str(tmp_path / "events.yaml")
    Path(file).write_text(plan.to_yaml())
    assert "incremental: true" in plan.to_yaml() and datapipe.load(file).plan == plan.plan
    run = datapipe.load(file).run().run_id
    assert f"  b.csv, 14 bytes, by run {run[:8]}" in command("show", file).stdout
    shown = json.loads(command("show", file, "--json").stdout)
    assert (shown["files"], shown["run_id"], shown["last"][-1]["path"]) == (2, run, "a.csv")
    refused = command("set", file, "2024-01-01")
    assert (refused.exit_code, "files have no cursor that could be set" in refused.stderr) == (2, True)
    assert command("reset", file).stdout == "no file loaded yet; the next run loads all\n"
    assert plan.run().rows_read == 2
