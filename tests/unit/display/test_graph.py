"""A plan's picture: well-formed, small, safe on light and dark pages, and told in words."""

import re
from base64 import b64decode
from xml.etree import ElementTree

import pandas as pd
import pytest

import datapipe
from datapipe.display.graph import plan_alt, plan_image, plan_svg

SVG = "{http://www.w3.org/2000/svg}"


def chain(steps, **tables):
    plan = datapipe.read("users", source="crm")
    for _ in range(steps):
        plan = plan.sql("SELECT * FROM input_data", **tables)
    return plan.write("users_staging", to="warehouse", strategy="upsert", keys="id")


def drawn(plan):
    return ElementTree.fromstring(plan_svg(plan.plan))


def clean(frame):
    return frame


def test_the_words_name_every_step():
    plan = (
        datapipe.read("users", source="crm")
        .sql("SELECT 1 AS a", airlines=pd.DataFrame({"a": [1]}))
        .apply(clean)
        .transform({"rename": {"a": "b"}})
        .validate({"columns": {"b": {}}})
        .write("users_staging", to="warehouse", strategy="upsert", keys="b")
    )
    assert plan_alt(plan.plan) == (
        "Plan: read table users from crm, 1 sql with airlines, 2 apply clean, 3 transform rename, 4 validate, "
        "write upsert into users_staging"
    )
    assert plan_alt(datapipe.read(pd.DataFrame({"a": [1]})).plan) == "Plan: read a pandas DataFrame in memory"
    assert plan_alt(datapipe.read("a/b.csv").write("c/d.parquet").plan) == (
        "Plan: read files a/b.csv, write replace into d.parquet"
    )


@pytest.mark.parametrize("steps", [0, 1, 4, 5, 11, 12, 300])
def test_boxes_stay_within_the_picture_and_apart(steps):
    root = drawn(chain(steps, airlines=pd.DataFrame({"a": [1]})))
    wide, high = (float(root.get(name)) for name in ("width", "height"))
    rects = [[float(rect.get(n)) for n in ("x", "y", "width", "height")] for rect in root.iter(f"{SVG}rect")]
    assert all(x >= 0 and y >= 0 and x + w <= wide and y + h <= high for x, y, w, h in rects)
    for place, (x, y, w, h) in enumerate(rects):
        for ox, oy, ow, oh in rects[place + 1 :]:
            assert x + w <= ox or ox + ow <= x or y + h <= oy or oy + oh <= y
    assert wide < 960 and len(rects) <= 48


def test_a_long_plan_shows_its_ends():
    alt = plan_alt(chain(300).plan)
    assert "278 further steps" not in alt.split(",")[0] and re.search(r"\d+ further steps", alt)
    assert alt.endswith("300 sql, write upsert into users_staging")


def test_it_is_small_and_an_address():
    five = chain(3)
    image = plan_image(five.plan)
    assert len(image) < 6_000 and image.startswith("data:image/svg+xml;base64,")
    assert b64decode(image.partition(",")[2]).decode() == plan_svg(five.plan)
    assert len(plan_image(chain(300).plan)) < 12_000


def test_every_box_is_light_with_dark_text():
    plan = datapipe.read("users").sql("SELECT 1 AS a").apply(clean).transform({"limit": 1}).validate(checks=["a > 0"])
    svg = plan_svg(plan.write("t").plan)
    fills = re.findall(r'<rect[^>]* fill="#(\w{6})"', svg)
    assert len(fills) == 6 and all(min(bytes.fromhex(fill)) > 0xC0 for fill in fills)
    assert "fill:#1b1b1b" in svg and "stroke:#888" in svg


def test_names_are_escaped_and_shortened():
    svg = plan_svg(datapipe.read("<b>&x", source="crm").write("t" * 500 + "\x00\x1b", to="w").plan)
    ElementTree.fromstring(svg)
    assert "&lt;b&gt;&amp;x" in svg and "t" * 20 not in svg


def test_further_tables_join_from_below():
    few = drawn(chain(1, a=pd.DataFrame({"a": [1]})))
    texts = [text.text for text in few.iter(f"{SVG}text")]
    assert texts.index("a") > texts.index("1 sql")
    many = plan_svg(chain(1, **{f"t{n}": pd.DataFrame({"a": [1]}) for n in range(9)}).plan)
    assert "6 more" in many and "t3" not in many
