"""Explanations as text and HTML."""

import pandas as pd
import pytest

import datapipe
from datapipe.errors import PlanError


def test_explain_shows_sql_columns_and_the_statements_of_the_write(sqlite_url):
    plan = (
        datapipe.read(pd.DataFrame({"a": [1], "b": ["x"]}))
        .sql("SELECT a, b FROM input_data WHERE b <> '<i>'")
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
    html = explained._repr_html_()
    assert html.count("<pre") == 4 and html.count("<details>") == 3
    assert "&lt;i&gt;" in html and "<i>" not in html and "nothing is written" in html
    with pytest.raises(PlanError, match="t"):
        datapipe.read("t", source=sqlite_url).explain()
