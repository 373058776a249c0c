"""What a worker opens, and what it refuses, each with its own words."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapipe.errors import NotPortableError, PlanError
from datapipe.plan import Plan, parse
from datapipe.reading import read
from datapipe.workers.envelope import VALID, opened, renewed, seal, unsigned

KEY = "k" * 32
NAMED = {"type": "code", "config": {"function": "tests_functions:clean"}}


def plan(*steps: Any) -> Plan:
    return parse(
        {"ingestion": {"table": "users"}, "transformation": list(steps), "persistence": {"table_name": "copy"}}
    )


def with_lambda() -> Plan:
    offset = 41
    return read("users").apply(lambda frame: frame.assign(a=offset + 1)).write("copy").plan


@pytest.fixture
def module(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Write the code of module ``tests_functions``, as it is installed on one side."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(body: str) -> None:
        import importlib
        import linecache
        import sys

        sys.modules.pop("tests_functions", None)
        (tmp_path / "tests_functions.py").write_text(f"def clean(frame):\n    {body}\n", encoding="utf-8")
        importlib.invalidate_caches()
        linecache.checkcache()
        for cached in (tmp_path / "__pycache__").glob("*"):
            cached.unlink()

    return install


def refusal(message: Any, run_id: str = "r1", **options: Any) -> str:
    with pytest.raises(PlanError) as caught:
        opened(message, run_id, **options)
    return str(caught.value)


def test_a_plan_travels_as_it_is() -> None:
    sent = plan({"type": "sql", "config": {"sql_query": "SELECT 1 AS a FROM input_data"}})
    assert opened(seal(sent, "r1", {}, key=KEY), "r1", key=KEY) == sent
    assert opened(seal(sent, "r1", {}, key=None), "r1", key=None) == sent


def test_a_lambda_travels_by_value_and_keeps_its_fingerprint() -> None:
    sent = with_lambda()
    received = opened(seal(sent, "r1", {}, key=KEY), "r1", key=KEY)
    assert received.fingerprint == sent.fingerprint
    import pandas as pd

    step: Any = received.transformation[0]
    assert step.config.function.resolve()(pd.DataFrame({"b": [1]}))["a"].tolist() == [42]


def test_a_lambda_does_not_travel_without_a_key() -> None:
    with pytest.raises(
        NotPortableError, match=r"'.*<lambda>' exists only in this process.*module.*DATAPIPE_SIGNING_KEY"
    ):
        seal(with_lambda(), "r1", {}, key=None)


def test_a_function_that_holds_a_lock_cannot_travel() -> None:
    import threading

    lock = threading.Lock()
    held = read("users").apply(lambda frame: frame if lock.locked() else frame.copy()).write("copy").plan
    with pytest.raises(NotPortableError, match="create that inside the function"):
        seal(held, "r1", {}, key=KEY)


def test_unsigned() -> None:
    assert "not signed" in refusal(seal(plan(), "r1", {}, key=None), key=KEY)
    assert "not signed" in refusal(unsigned({"ingestion": {"table": "users"}}, "r1", {}), key=KEY)


def test_forged() -> None:
    message = seal(plan(), "r1", {}, key=KEY)
    message["plan"]["persistence"]["table_name"] = "salaries"
    assert "signature is wrong" in refusal(message, key=KEY)
    assert "signature is wrong" in refusal(seal(plan(), "r1", {}, key="x" * 32), key=KEY)


@given(st.data())
def test_no_change_of_a_signed_message_goes_unseen(data: st.DataObject) -> None:
    message = seal(plan(), "r1", {"memory": 1 << 30}, key=KEY)
    name = data.draw(st.sampled_from(sorted(set(message) - {"signature"})))
    changed = copy.deepcopy(message) | {name: data.draw(st.none() | st.integers() | st.text())}
    if changed != message:
        assert "signature is wrong" in refusal(changed, key=KEY)


def test_replayed_for_another_run() -> None:
    assert "signed for run 'r1'" in refusal(seal(plan(), "r1", {}, key=KEY), "r2", key=KEY)


def test_expired_and_renewed() -> None:
    message = seal(plan(), "r1", {}, key=KEY, now=0.0)
    assert "was valid until 1970-01-08 00:00:00 UTC" in refusal(message, key=KEY, now=VALID + 1)
    assert opened(renewed(message, key=KEY), "r1", key=KEY) == plan()
    with pytest.raises(PlanError, match="signature is wrong"):
        renewed(message, key="x" * 32)


def test_another_python() -> None:
    message = {name: value for name, value in seal(with_lambda(), "r1", {}, key=KEY).items() if name != "signature"}
    other = renewed_by(KEY, message | {"python": "3.9"})
    assert "packed by Python 3.9, this worker has 3." in refusal(other, key=KEY)
    assert opened(renewed_by(KEY, seal(plan(), "r1", {}, key=None) | {"python": "3.9"}), "r1", key=KEY) == plan()


def renewed_by(key: str, message: dict[str, Any]) -> dict[str, Any]:
    """The message, signed by somebody who has the key."""
    from datapipe.workers.envelope import _signature

    return {**message, "signature": _signature(message, key)}


def test_a_worker_without_the_key_takes_no_function() -> None:
    message = seal(with_lambda(), "r1", {}, key=KEY)
    assert "this worker cannot check it" in refusal(message, key=None)


def test_only_listed_modules_without_a_key(module: Callable[[str], None]) -> None:
    module("return frame")
    message = seal(plan(NAMED), "r1", {}, key=None)
    told = refusal(message, key=None, modules="recipes, tests")
    assert "may not call 'tests_functions:clean'" in told
    assert "DATAPIPE_FUNCTION_MODULES=recipes,tests,tests_functions" in told
    assert opened(message, "r1", key=None, modules="tests_functions") == plan(NAMED)


def test_a_listed_package_includes_what_is_below_it_and_nothing_beside_it() -> None:
    message = unsigned(
        {"ingestion": {"table": "u"}, "transformation": {**NAMED, "config": {"function": "json.decoder:scanstring"}}},
        "r1",
        {},
    )
    assert "may not call" in refusal(message, key=None, modules="j")
    message = unsigned(
        {"ingestion": {"table": "u"}, "transformation": {**NAMED, "config": {"function": "json.decoder:JSONDecoder"}}},
        "r1",
        {},
    )
    assert opened(message, "r1", key=None, modules="json").transformation


CHECK = {"element_wise": True, "function": "PLACE"}


@pytest.mark.parametrize(
    "place", ["shutil:os.system", "shutil:os", "json.decoder:scanner.re.compile", "shutil:fnmatch.filter"]
)
@pytest.mark.parametrize("kind", ["code", "validate"])
def test_a_listed_module_does_not_lend_what_it_imports(place: str, kind: str) -> None:
    config: dict[str, Any] = {"function": place}
    if kind == "validate":
        config = {"schema": {"columns": {"a": {"checks": [{**CHECK, "function": place}]}}}}
    step = {"type": kind, "config": config}
    message = unsigned({"ingestion": {"table": "u"}, "transformation": step}, "r1", {})
    assert "has from elsewhere" in refusal(message, key=None, modules="shutil,json")


def test_a_schema_of_a_listed_module_is_taken(module: Callable[[str], None]) -> None:
    text = "return frame\nimport pandera.pandas as pa\nSCHEMA = pa.DataFrameSchema({'a': pa.Column(int)})\nFORM = {'columns': {'a': 'int'}}"
    module(text)
    for name in ("SCHEMA", "FORM"):
        step = {"type": "validate", "config": {"schema": f"tests_functions:{name}"}}
        message = unsigned({"ingestion": {"table": "u"}, "transformation": step}, "r1", {})
        assert opened(message, "r1", key=None, modules="tests_functions").transformation
        assert "may not call" in refusal(message, key=None, modules="")


def test_older_code_on_the_worker(module: Callable[[str], None]) -> None:
    module("return frame.dropna()")
    message = seal(plan(NAMED), "r1", {}, key=KEY)
    module("return frame")
    assert "this worker has other code" in refusal(message, key=KEY)


def test_a_module_that_is_not_there_is_told_where_the_plan_is_submitted() -> None:
    with pytest.raises(PlanError, match="cannot import 'nowhere'"):
        seal(plan({"type": "code", "config": {"function": "nowhere:clean"}}), "r1", {}, key=KEY)


def test_passwords_do_not_travel() -> None:
    sent = read("SELECT 1", source="postgresql://ann:c4nary@db/crm").write("t", to="mysql://bob:c4nary@db/mart").plan
    assert "c4nary" not in repr(seal(sent, "r1", {}, key=KEY))
