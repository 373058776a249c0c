"""Plans, explanations and previews as text and HTML."""

import pandas as pd
import pytest

import datapipe
from datapipe.display import plan_html, plan_text
from datapipe.errors import PlanError

PLAN = (
    datapipe.read("SELECT * FROM users", source="postgresql://ann:s3cret@db.example:5432/crm")
    .sql("SELECT *\nFROM input_data JOIN names USING (id)", names=pd.DataFrame({"id": [1]}))
    .apply("textwrap:dedent", per_batch=True)
    .transform({"rename": {"a": "<b>"}})
    .write("mart.users", to="sqlite:///crm.db", strategy="upsert", keys=["id"])
    .named("users_daily")
)


def test_text_names_places_and_steps_and_no_password():
    text = plan_text(PLAN.plan)
    for part in (
        "Plan users_daily",
        "a query on db.example:5432/crm",
        "SELECT * FROM input_data JOIN names USING (id)  [with names]",
        "textwrap:dedent per batch",
        "upsert by id into table mart.users on sqlite crm.db",
    ):
        assert part in text
    assert "s3cret" not in text and repr(PLAN) == text


def test_html_is_escaped_and_has_no_script():
    html = plan_html(PLAN.plan)
    assert "&lt;b&gt;" in html and "<b>" not in html and "<script" not in html and "s3cret" not in html


def test_preview_marks_a_sample():
    plan = datapipe.read(pd.DataFrame({"a": range(20_000)})).sql("SELECT COUNT(*) AS n FROM input_data")
    shown = plan.preview()
    assert shown.sampled and shown.frame["n"].tolist() == [10_000]
    assert "sample of 10,000 source rows" in str(shown) and "sample" in shown._repr_html_()
    source = plan.preview(3, step=0)
    assert source.frame["a"].tolist() == [0, 1, 2] and source.step == "ingestion" and len(source) == 3
    small = datapipe.read(pd.DataFrame({"a": [1]})).preview()
    assert not small.sampled and "all 1 source rows" in str(small)
    with pytest.raises(PlanError, match="no step 5"):
        plan.preview(step=5)


def test_explain_shows_sql_columns_and_the_statements_of_the_write(sqlite_url):
    plan = (
        datapipe.read(pd.DataFrame({"a": [1], "b": ["x"]}))
        .sql("SELECT a, b FROM input_data")
        .transform({"rename": {"b": "c"}})
        .write("t", to=sqlite_url, strategy="upsert", keys="a")
    )
    explained = plan.explain()
    text = str(explained)
    assert [section.title for section in explained.sections] == [
        "ingestion",
        "transformation step 1 (sql)",
        "transformation step 2 (config)",
        "persistence",
    ]
    for part in ("a bigint, b text", "a bigint, c text", 'CREATE TABLE "t"', "ON CONFLICT", 'AS "c"'):
        assert part in text
    assert "<pre>" in explained._repr_html_()
    with pytest.raises(PlanError, match="t"):
        datapipe.read("t", source=sqlite_url).explain()
