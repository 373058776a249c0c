"""Where the steps of a pipeline were written: beside the plan, and no part of it."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import datapipe

HERE = Path(__file__).name


def build(code: str, name: str = "etl.py"):
    names = {"datapipe": datapipe, "pd": pd}
    exec(compile(code, name, "exec"), names)
    return names["plan"]


def test_each_line_of_a_chain_has_its_own_number():
    plan = build(
        """
def clean(frame):
    return frame
plan = (
    datapipe.read("users")

    .sql("SELECT 1 AS a")
    .apply(
        clean,
    )
    .transform({"limit": 1})
    .validate(checks=["a > 0"])
    .named("n")
    .write("t")
)
"""
    )
    assert plan.places == tuple(f"etl.py:{line}" for line in (5, 7, 8, 11, 12, 14))


def test_named_and_bind_keep_places():
    plan = build('plan = datapipe.read("SELECT :a AS a", params={"a": 1})\nplan = plan.write("t")')
    assert plan.named("n").bind(a=2).places == plan.places == ("etl.py:1", "etl.py:2")


def test_a_further_table_is_no_step():
    plan = build('other = datapipe.read("b")\nplan = datapipe.read("a").sql("SELECT 1 AS a", other=other)')
    assert plan.places == ("etl.py:2", "etl.py:2")


def test_a_file_is_the_place_of_all_it_holds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = datapipe.read("users").sql("SELECT 1 AS a").write("t")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "users.yaml").write_text(plan.to_yaml())
    loaded = datapipe.load("recipes/users.yaml")
    assert loaded.places == ("recipes/users.yaml",) * 3 and loaded == plan
    (tmp_path / "etl.py").write_text('import datapipe\nplan = (\n    datapipe.read("users")\n    .write("t")\n)\n')
    assert datapipe.load("etl.py").places == ("etl.py:3", "etl.py:4")


def test_a_plan_without_places_gets_them_for_what_is_added():
    plan = datapipe.Pipeline(datapipe.read("users").sql("SELECT 1 AS a").plan)
    assert plan.places == ()
    *unknown, own = plan.write("t").places
    assert unknown == ["", ""] and own.rpartition("/")[2].startswith(f"{HERE}:")


def test_places_are_no_part_of_the_plan():
    code = 'plan = datapipe.read("users").write("t")'
    one, other = build(code), build(f"\n\n{code}", "other.py")
    assert one.places != other.places and one == other and hash(one) == hash(other)
    assert one.plan.fingerprint == other.plan.fingerprint and one.to_json() == other.to_json()
    assert "places" not in json.loads(one.to_json())
    with pytest.raises(AttributeError, match="cannot be changed"):
        one.places = ()


def test_a_place_costs_next_to_nothing():
    from datapipe.traces import call_site

    def once() -> float:
        begun = time.perf_counter()
        for _ in range(200):
            call_site()
        return (time.perf_counter() - begun) / 200

    assert min(once() for _ in range(20)) < 20e-6


def test_building_and_showing_a_plan_loads_no_pandas():
    code = (
        "import sys, datapipe\n"
        "plan = datapipe.read('users', source='sqlite:///x.db').sql('SELECT 1 AS a').apply('m:f').write('t', to='w')\n"
        "print([name for name in ('pandas', 'pyarrow', 'duckdb', 'sqlalchemy') if name in sys.modules])\n"
        "repr(plan), plan._repr_html_()\n"
        "print([name for name in ('pandas', 'duckdb', 'polars') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]
