"""What plans of requests may name, and that nothing else gets past."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from datapipe.errors import PlanError
from datapipe.plan import FileSource, FileTarget, QuerySource, TableTarget, parse
from datapipe.rest.vetting import Rules, admitted, listed, rules

CRM = "postgresql://crm:hunter2@db.example:5432/crm?sslmode=require"
WAYS = st.lists(
    st.sampled_from(["..", ".", "a", "link", "b.csv", "*", "**", "~", "/etc", "", "[a]", "in", "out", "*.csv", "?"]),
    min_size=1,
    max_size=5,
).map("/".join)


def plan(**ingestion: Any) -> Any:
    return parse({"ingestion": {"query": "SELECT 1", **ingestion}})


def files(pattern: str) -> Any:
    return parse({"ingestion": {"files": pattern, "format": "csv"}})


def allowed(**values: Any) -> Rules:
    return Rules(**{"connections": (make_url(CRM),), "databases": frozenset({"etl.example", "b.example:7"}), **values})


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that is allowed, beside one that is not, with links from the one into the other."""
    root = tmp_path_factory.mktemp("tree").resolve()
    for folder in ("in/a", "in/c", "out"):
        (root / folder).mkdir(parents=True)
    for file in ("in/b.csv", "in/a/b.csv", "out/b.csv", "out/secret.csv"):
        (root / file).write_text("id\n1\n")
    (root / "in" / "link").symlink_to(root / "out")
    (root / "in" / "c" / "linked.csv").symlink_to(root / "out" / "secret.csv")
    (root / "in" / "loop").symlink_to(root / "in" / "loop")
    return root / "in"


def url_of(given: str, **values: Any) -> str:
    source = admitted(plan(source_db_url=given), allowed(**values)).ingestion
    assert isinstance(source, QuerySource)
    return str(source.source_db_url)


def refused(given: Any, **values: Any) -> str:
    with pytest.raises(PlanError) as caught:
        admitted(given if not isinstance(given, str) else plan(source_db_url=given), allowed(**values))
    assert caught.value.step == "ingestion" and caught.value.hint
    assert "hunter2" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        "postgresql://crm@db.example/crm",
        "postgresql://crm:anything@DB.example:5432/crm",
        "postgresql+psycopg2://crm@db.example/crm",
        "postgresql://crm@db.example/crm?sslmode=require",
    ],
)
def test_a_url_of_our_own_connection_becomes_it(given: str) -> None:
    source = admitted(plan(source_db_url=given), allowed()).ingestion
    assert isinstance(source, QuerySource) and source.source_db_url is not None
    found = make_url(source.source_db_url.full)
    assert found == make_url(CRM)._replace(password=None), "and no password but the one that completes it"


@pytest.mark.parametrize(
    "given",
    [
        "postgresql://crm@db.example/crm?sslmode=disable",
        "postgresql://crm@db.example/crm?host=169.254.169.254",
        "postgresql://crm@db.example/crm?options=-csearch_path%3Devil",
    ],
)
def test_our_own_connection_keeps_its_options(given: str) -> None:
    assert "the options of a URL are not taken" in refused(given)


@pytest.mark.parametrize(
    "given",
    [
        "postgresql://crm@db.example/other",
        "postgresql://root@db.example/crm",
        "postgresql://crm@db.example:5433/crm",
        "mysql://crm@db.example/crm",
    ],
)
def test_another_place_on_its_server_is_not_it(given: str) -> None:
    assert "no connection of this server leads to" in refused(given)


def test_a_server_that_was_opened_is_reached_without_options() -> None:
    assert url_of("mysql://u@etl.example:3307/x") == "mysql://u@etl.example:3307/x"
    assert url_of("postgresql://u@b.example:7/x")
    assert "no connection" in refused("postgresql://u@b.example/x")
    assert "options" in refused("mysql://u@etl.example/x?local_infile=1")
    assert "do not know the password" in refused("mysql://u:hunter2@etl.example/x")


def test_a_name_of_a_connection_is_left_to_the_worker() -> None:
    assert admitted(plan(source="crm"), Rules()) == plan(source="crm")


def test_nothing_is_allowed_that_was_not_opened() -> None:
    none = Rules()
    for found in (plan(source_db_url=CRM), files("a.csv"), plan(source_db_url="sqlite:///a.db")):
        with pytest.raises(PlanError):
            admitted(found, none)


def test_sources_of_further_tables_are_vetted_too(tree: Path) -> None:
    inner = {"ingestion": {"files": "../out/secret.csv", "format": "csv"}}
    step = {"type": "sql", "config": {"sql_query": "SELECT 1", "tables": {"t": inner}}}
    deeper = {
        "ingestion": {"query": "SELECT 1"},
        "transformation": {"type": "sql", "config": {"sql_query": "SELECT 1", "tables": {"u": {**inner}}}},
    }
    nested = {"type": "sql", "config": {"sql_query": "SELECT 1", "tables": {"t": {**deeper}}}}
    for found in (step, nested):
        with pytest.raises(PlanError, match="may not read this file"):
            admitted(parse({"ingestion": {"query": "SELECT 1"}, "transformation": found}), allowed(folders=(tree,)))


def test_functions_of_further_tables_are_vetted_too() -> None:
    inner = {
        "ingestion": {"query": "SELECT 1"},
        "transformation": {"type": "code", "config": {"function": "os:getcwd"}},
    }
    step = {"type": "sql", "config": {"sql_query": "SELECT 1", "tables": {"t": inner}}}
    with pytest.raises(PlanError, match="may not call 'os:getcwd'"):
        admitted(parse({"ingestion": {"query": "SELECT 1"}, "transformation": step}), allowed())


@given(WAYS)
def test_no_path_that_is_admitted_leads_out_of_the_folders(tree: Path, given: str) -> None:
    found = allowed(folders=(tree,))
    try:
        source = admitted(files(given), found).ingestion
    except PlanError:
        return
    assert isinstance(source, FileSource)
    matches = glob.glob(source.files, recursive=True)  # noqa: PTH207  # Path.glob takes no absolute pattern
    for file in (*Path(source.files).glob("*"), *matches):
        assert os.path.realpath(file).startswith(str(tree)), source.files


@given(WAYS)
def test_no_path_is_written_outside_of_them(tree: Path, given: str) -> None:
    document = {"ingestion": {"query": "SELECT 1"}, "persistence": {"path": f"{given}.parquet"}}
    try:
        target = admitted(parse(document), allowed(folders=(tree,))).persistence
    except PlanError:
        return
    assert isinstance(target, FileTarget) and os.path.realpath(target.path).startswith(str(tree))


@pytest.mark.parametrize("given", ["b.csv", "./b.csv", "a/*.csv", "a", "**/b.csv", "[ab].csv"])
def test_a_path_within_a_folder_is_admitted_and_absolute(given: str, tree: Path) -> None:
    if given == "**/b.csv":
        (tree / "link").unlink()
        try:
            found = admitted(files(given), allowed(folders=(tree,))).ingestion
        finally:
            (tree / "link").symlink_to(tree.parent / "out")
    else:
        found = admitted(files(given), allowed(folders=(tree,))).ingestion
    assert isinstance(found, FileSource) and found.files == str(tree / given)


@pytest.mark.parametrize(
    "given", ["c", "c/*.csv", "*/linked.csv", "link/b.csv", "l*/secret.csv", "loop/x", "**/**/b.csv"]
)
def test_a_link_out_of_a_folder_is_not_followed(given: str, tree: Path) -> None:
    assert "requests may not read this file" in refused(files(given), folders=(tree,))


def test_an_absolute_path_within_a_folder_is_admitted(tree: Path) -> None:
    found = admitted(files(str(tree / "b.csv")), allowed(folders=(tree,))).ingestion
    assert isinstance(found, FileSource) and found.files == str(tree / "b.csv")


def test_a_database_in_a_folder_is_opened_there(tree: Path) -> None:
    document = {"ingestion": {"query": "SELECT 1"}, "persistence": {"table_name": "t", "dest_db_url": "sqlite:///x.db"}}
    target = admitted(parse(document), allowed(folders=(tree,))).persistence
    assert isinstance(target, TableTarget) and str(target.dest_db_url) == f"sqlite:///{tree}/x.db"


def test_the_environment_says_what_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIPE_CONNECTION_CRM", CRM)
    monkeypatch.setenv("DATAPIPE_CONNECTION_ODD", "${NOT_SET}")
    monkeypatch.setenv("DATAPIPE_API_FOLDERS", f"{tmp_path}/a, {tmp_path}/b")
    monkeypatch.setenv("DATAPIPE_API_DATABASES", "A.example,")
    monkeypatch.setenv("DATAPIPE_FUNCTION_MODULES", "recipes")
    found = rules()
    assert make_url(CRM) in found.connections
    assert found.folders == (tmp_path / "a", tmp_path / "b")
    assert (found.databases, found.modules) == (frozenset({"a.example"}), "recipes")
    assert "hunter2" not in repr(found)


def test_a_list_is_read_without_its_blanks() -> None:
    assert listed(" a,, b ,") == ["a", "b"]
