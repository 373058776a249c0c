"""Previews: types and NULL above the rows, samples marked as such, cells that harm nothing."""

import re
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import datapipe
from datapipe.data.types import tagged
from datapipe.display.grid import cell_text, grid_html, grid_of, grid_text
from datapipe.errors import PlanError


def previewed(table, **kwargs):
    return datapipe.read(table).preview(**kwargs)


def test_a_sample_is_marked_and_so_are_aggregates_over_it():
    plan = datapipe.read(pd.DataFrame({"a": range(20_000)})).sql("SELECT COUNT(*) AS n FROM input_data")
    shown = plan.preview()
    assert shown.sampled and shown.frame["n"].tolist() == [10_000] and shown.rows == 1
    for text in (str(shown), shown._repr_html_(), shown.note):
        assert "1 row after step 1 (sql)" in text and "a sample: the first 10,000 source rows" in text
        assert "aggregates, windows and DISTINCT are those of the sample" in text and "nothing is written" in text


def test_any_step_and_any_number_of_rows():
    plan = datapipe.read(pd.DataFrame({"a": range(8_123)})).sql("SELECT a FROM input_data WHERE a >= 100")
    source = plan.preview(3, step=0)
    assert source.frame["a"].tolist() == [0, 1, 2] and source.step == "ingestion" and len(source) == 3
    assert source.note.startswith("3 of 8,123 source rows · ")
    part = plan.preview(10)
    assert part.note.startswith("10 of 8,023 rows after step 1 (sql) · all 8,123 source rows · ")
    assert re.search(r" · [\d.]+ m?s · nothing is written$", part.note) and "sample" not in part.note
    assert previewed(pd.DataFrame({"a": [1]})).note.startswith("all 1 source row · ")
    sample = datapipe.read(pd.DataFrame({"a": range(20_000)})).preview(2)
    assert sample.note.startswith("2 of 10,000 rows · a sample: the first 10,000 source rows · ")
    assert "aggregates" not in sample.note
    with pytest.raises(PlanError, match="no step 5"):
        plan.preview(step=5)


def test_no_rows_shows_the_columns():
    shown = previewed(pa.table({"id": [1, None], "name": ["a", "b"]}), n=0)
    assert str(shown).splitlines()[:2] == ["       id  name", "   bigint  text"] and len(shown) == 0
    assert "<th" in shown._repr_html_() and "<td" not in shown._repr_html_() and "50 % NULL" in str(shown)
    assert "NULL" not in str(previewed(pa.table({"id": pa.array([], pa.int64())}))).splitlines()[0]


def test_text_has_types_and_the_share_of_null():
    table = pa.table(
        {
            "id": pa.array([1, 20], pa.int32()),
            "price": pa.array([Decimal("1.50"), None], pa.decimal128(8, 2)),
            "name": ["ann", "日本"],
        }
    )
    assert str(previewed(table)).splitlines()[:5] == [
        "     id         price  name",
        "integer  numeric(8,2)  text",
        "            50 % NULL",
        "      1          1.50  ann",
        "     20          NULL  日本",
    ]


def test_html_has_name_type_and_share_above_and_numbers_to_the_right():
    html = previewed(pa.table({"price": [1.5, None], "name": ["a", "NULL"]}))._repr_html_()
    assert "price<br>" in html and ">double precision</span>" in html
    assert ">50 % NULL</span>" in html and ">0 % NULL</span>" in html
    whole = previewed(pa.table({"price": [1.5]}))._repr_html_()
    assert "double precision" in whole and "% NULL" not in whole, "a line only if there is something in it"
    assert html.count("text-align:right") == 3 and html.count("text-align:left") == 3
    assert html.count("NULL</i>") == 1 and ">NULL</td>" in html  # a text that says so is no NULL
    assert "nan" not in html and "None" not in html


def test_null_and_nan_are_two_things():
    text = str(previewed(pa.table({"x": [np.nan, None]})))
    assert text.splitlines()[3:5] == ["             nan", "            NULL"]


def test_everything_is_escaped():
    name, value = "<b>x</b>", "<script>alert('1')</script>"
    html = previewed(pa.table({name: [value, value * 5]}))._repr_html_()
    assert "<b>" not in html and "<script" not in html and "&lt;b&gt;x&lt;/b&gt;" in html
    assert html.count("title=") == 1


def test_long_cells_are_cut_and_whole_in_the_title():
    html = previewed(pa.table({"t": ["x" * 200, "y" * 5_000]}))._repr_html_()
    assert f'title="{"x" * 200}">{"x" * 79}…<' in html
    assert f'title="{"y" * 999}…"' in html and "y" * 1_000 not in html
    assert max(map(len, str(previewed(pa.table({"t": ["x" * 200]}))).splitlines()[:3])) == 80


def test_all_titles_together_are_bounded():
    html = previewed(pa.table({"t": ["x" * 5_000] * 200}), n=200)._repr_html_()
    assert len(html) < 100_000


def test_wide_tables_scroll_and_end():
    wide = previewed(pa.table({f"c{n}": [n] for n in range(72)}))
    html = wide._repr_html_()
    assert html.count("<th ") == 60 and "and 12 columns more" in html and "overflow-x:auto" in html
    assert "and 12 columns more" in str(wide) and len(wide.frame.columns) == 72


def test_what_moves_a_cursor_is_shown_as_text():
    text = str(previewed(pa.table({"t": ["a\nb", "\x1b[2J", "\u202egnp"]})))
    assert "a\\nb" in text and "\\x1b[2J" in text and "\\u202egnp" in text and "\x1b" not in text


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (pa.array([10_957 * 1_000], pa.int32()).cast(pa.date32()), "31969-"),
        (pa.array([b"\x00\xff"]), "0x00ff"),
        (pa.array([[1, None]]), "[1, null]"),
        (pa.array([{"a": "<"}]), '{"a": "<"}'),
        (pa.array([2**63], pa.uint64()), str(2**63)),
        (pa.array([True]), "True"),
    ],
)
def test_values_of_every_kind(values, shown):
    assert shown in grid_text(grid_of(pa.table({"v": values})))


def test_a_tagged_numeric_is_a_number():
    schema = pa.schema([tagged("n", "numeric"), tagged("j", "jsonb")])
    grid = grid_of(pa.table([["1.5"], ["{}"]], schema=schema))
    assert [(c.type, c.number) for c in grid.columns] == [("numeric", True), ("jsonb", False)]
    assert cell_text(None) == "None" and "text-align:right" in grid_html(grid)
