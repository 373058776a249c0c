"""Plan -> document -> plan gives the same plan, whatever it holds."""

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from datapipe.plan import Plan, loads, parse, to_json, to_yaml

names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12).filter(str.strip)
columns = st.lists(names, min_size=1, max_size=3, unique=True)
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.binary(max_size=8),
    st.dates(),
    st.times(),
    st.datetimes(timezones=st.sampled_from([None, dt.UTC])),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.uuids(),
)
parameters = st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), values, max_size=3)
urls = st.sampled_from(
    ["sqlite:///a.db", "postgresql://ann@db:5432/crm", "${SOURCE_DB_URL}", "mysql+pymysql://db/x?charset=utf8"]
)
connections = st.one_of(
    st.just({}),
    urls.map(lambda url: {"source_db_url": url}),
    st.from_regex(r"[a-z_]\w{0,8}", fullmatch=True).filter(str.isidentifier).map(lambda name: {"source": name}),
)


def query(given):
    return "SELECT " + (", ".join(f":{name}" for name in given) or "1")


sources = st.one_of(
    st.builds(lambda p, c: {"query": query(p), "parameters": p, **c}, parameters, connections),
    st.builds(lambda t, s, c: {"table": t, "schema": s, **c}, names, st.none() | names, connections),
    st.builds(lambda f: {"files": f, "format": "csv", "columns": {"a": "BIGINT"}}, names),
)
sql_steps = st.builds(
    lambda p, feed: {"type": "sql", "config": {"sql_query": query(p), "parameters": p, "tables": feed}},
    parameters,
    st.dictionaries(
        st.from_regex(r"[a-z]{3}", fullmatch=True), st.builds(lambda s: {"ingestion": s}, sources), max_size=1
    ),
)
code_steps = st.booleans().map(
    lambda per_batch: {"type": "code", "config": {"function": "textwrap:dedent", "per_batch": per_batch}}
)
config_steps = st.builds(
    lambda s, r, f, n: {"type": "config", "config": {"select": s, "rename": r, "filter": f, "limit": n}},
    columns,
    st.dictionaries(names, names, max_size=2),
    st.one_of(
        st.none(),
        names,
        st.dictionaries(names, st.one_of(st.integers(), st.lists(st.integers(), max_size=2)), max_size=2),
    ),
    st.none() | st.integers(0, 9),
)
targets = st.one_of(
    st.none(),
    st.builds(lambda t, k: {"table_name": t, "strategy": "upsert", "upsert_keys": k}, names, columns),
    st.builds(lambda t, s: {"table_name": t, "schema": s, "strategy": "replace"}, names, st.none() | names),
    st.just({"path": "out/a.parquet", "strategy": "append"}),
)
plans = st.builds(
    lambda i, t, p, n: parse({"ingestion": i, "transformation": t, "persistence": p, "name": n}),
    sources,
    st.lists(st.one_of(sql_steps, code_steps, config_steps), max_size=3),
    targets,
    st.none() | names,
)


@given(plans)
def test_yaml_and_json_give_the_plan_back(plan: Plan):
    for text in (to_yaml(plan), to_json(plan)):
        again = loads(text)
        assert again == plan
        assert again.fingerprint == plan.fingerprint


@given(plans, plans)
def test_plans_are_equal_when_their_fingerprints_are(first: Plan, second: Plan):
    assert (first == second) == (first.fingerprint == second.fingerprint)


@given(parameters)
def test_parameters_keep_value_and_type(given_values):
    plan = parse({"ingestion": {"query": query(given_values), "parameters": given_values}})
    found = loads(to_json(plan)).ingestion.parameters
    assert found == given_values
    assert {name: type(value) for name, value in found.items()} == {
        name: type(value) for name, value in given_values.items()
    }
