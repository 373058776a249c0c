"""Every public name, option, setting, error and field has its place in docs/, and every link leads somewhere."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pydantic
import pytest
import typer.main

import datapipe
from datapipe import engine, errors, ingestion, persistence, plan, schemas, transformation, workers
from datapipe.cli.app import app
from datapipe.data.types import CARRIERS, Carrier
from datapipe.engine import CellResult, FrameOutput, NotebookResult
from datapipe.notebooks.job import NotebookJob
from datapipe.notebooks.kinds import KNOWN
from datapipe.notebooks.model import NotebookPlan, NotebookSpec
from datapipe.rest import create_app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")), ROOT / "recipes/README.md", ROOT / "tests/README.md"]
ERRORS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.DatapipeError)]
MODELS = [getattr(plan, name) for name in plan.__all__ if inspect.isclass(getattr(plan, name))]
FIELDS = {
    f"{model.__name__}.{info.alias or name}": info.alias or name
    for model in MODELS
    if issubclass(model, pydantic.BaseModel)
    for name, info in model.model_fields.items()
    if model is not plan.FrameSource  # no document holds one
}
REFERENCE = "\n".join(page.read_text(encoding="utf-8") for page in ROOT.glob("docs/reference/*.md"))
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def reference(name: str) -> str:
    return (ROOT / "docs" / "reference" / f"{name}.md").read_text(encoding="utf-8")


def commands() -> Iterator[tuple[str, str]]:
    """Each command with its heading, each option as it is typed."""
    program: Any = typer.main.get_command(app)
    for name, command in program.commands.items():
        yield name, f"## {name}"
        parts = getattr(command, "commands", {})
        yield from ((f"{name} {part}", f"### {name} {part}") for part in parts)
        for parameter in (one for part in (command, *parts.values()) for one in part.params):
            if parameter.param_type_name == "option":
                yield from ((f"{name} {option}", option) for option in parameter.opts)


def settings() -> list[str]:
    fields = datapipe.Settings.model_fields
    variables = [str(info.validation_alias or name.upper()) for name, info in fields.items()]
    return [*fields, *variables, "DATAPIPE_CONNECTION_", "DATAPIPE_HOME"]


@pytest.mark.parametrize("name", datapipe.__all__)
def test_public_names(name: str) -> None:
    assert re.search(rf"^#+ .*\b{name}\b", reference("pipeline"), re.M)


@pytest.mark.parametrize("name", [name for name in vars(datapipe.Pipeline) if not name.startswith("_")])
def test_methods_of_a_pipeline(name: str) -> None:
    assert re.search(rf"^#+ .*\.{name}\b", reference("pipeline"), re.M)


STAGES = ["BatchIngestor", "SQLTransformer", "CodeTransformer", "ConfigTransformer", "BatchWriter", "ConnectionManager"]


@pytest.mark.parametrize("name", STAGES)
def test_classes_of_the_specification(name: str) -> None:
    assert any(hasattr(folder, name) for folder in (ingestion, transformation, persistence))
    assert f"\n## {name}\n" in reference("stages")


HELD = (
    *(getattr(engine, name) for name in ("RunResult", "StepResult", "Event")),
    *(
        getattr(schemas, name)
        for name in ("SchemaValidator", "SchemaRegistry", "SchemaVersion", "SchemaDiff", "SchemaChange")
    ),
    *(getattr(workers, name) for name in ("WorkerMonitor", "IdempotencyStore")),
    *(
        getattr(folder, name)
        for folder in (ingestion, transformation, persistence)
        for name in STAGES
        if hasattr(folder, name)
    ),
    datapipe.Run,
)
ATTRIBUTES = {
    f"{kind.__name__}.{name}": name
    for kind in HELD
    for name in {*vars(kind), *getattr(kind, "__dataclass_fields__", ())}
    if not name.startswith("_")
}


@pytest.mark.parametrize("name", sorted(ATTRIBUTES))
def test_attributes_of_what_people_hold_in_their_hands(name: str) -> None:
    assert re.search(rf"`[^`\n]*\b{ATTRIBUTES[name]}\b[^`\n]*`", REFERENCE)


@pytest.mark.parametrize("task", ["run_pipeline", "run_notebook", "ingest", "transform", "persist"])
def test_tasks(task: str) -> None:
    assert f"| `{task}` |" in reference("tasks")


@pytest.mark.parametrize(("name", "text"), [pytest.param(*pair, id=pair[0]) for pair in commands()])
def test_commands_and_their_options(name: str, text: str) -> None:
    heading = f"## {name.split(maxsplit=1)[0]}"
    section = reference("cli").partition(f"{heading}\n")[2].partition("\n## ")[0]
    assert section and (text == heading or re.search(rf"{re.escape(text)}(?![\w-])", section))


@pytest.mark.parametrize("name", settings())
def test_settings(name: str) -> None:
    assert f"`{name}" in reference("settings")


@pytest.mark.parametrize("kind", ERRORS)
def test_errors(kind: type[errors.DatapipeError]) -> None:
    assert re.search(rf"^## {kind.__name__}$", reference("errors"), re.M)


@pytest.mark.parametrize("name", FIELDS)
def test_fields_of_a_plan(name: str) -> None:
    assert f"`{FIELDS[name]}`" in reference("plan-document")


JOB_FIELDS = {
    **{f"{model.__name__}.{name}": name for model in (NotebookPlan, NotebookSpec) for name in model.model_fields},
    **{
        f"{kind.__name__}.{one.name}": one.name
        for kind in (NotebookResult, CellResult, FrameOutput)
        for one in fields(kind)
    },
    **{f"NotebookJob.{name}": name for name in vars(NotebookJob) if not name.startswith("_")},
}


@pytest.mark.parametrize("name", [name for name in JOB_FIELDS if name != "NotebookResult.view"])
def test_fields_and_methods_of_a_notebook_job(name: str) -> None:
    assert re.search(rf"`{JOB_FIELDS[name]}[`(]", reference("notebook-jobs"))


@pytest.mark.parametrize("kind", [name for name in KNOWN if name not in {"Any", "Union", "Optional"}])
def test_types_of_parameters(kind: str) -> None:
    table = reference("notebook-jobs").partition("\n## Parameter types")[2].partition("\n## ")[0]
    assert re.search(rf"^\|[^|]*`{kind}\b", table, re.M)


@pytest.mark.parametrize("carrier", CARRIERS, ids=lambda carrier: str(carrier.arrow))
def test_types(carrier: Carrier) -> None:
    found = [carrier.arrow, carrier.postgresql, carrier.mysql or "-", carrier.sqlite or "-", carrier.duckdb]
    assert "| " + " | ".join(f"`{name}`" if name != "-" else name for name in map(str, found)) + " |" in reference(
        "types"
    )


def operations(document: Mapping[str, Any]) -> list[str]:
    """What an OpenAPI document offers, as the reference writes it: ``POST /pipelines``."""
    known = {"get", "post", "put", "patch", "delete"}
    return [
        f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item if method in known
    ]


def test_endpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIPE_METADATA_URL", f"sqlite:///{tmp_path}/runs.db")  # it takes no request without a record
    page = reference("rest")
    assert {operation for operation in operations(create_app().openapi()) if f"| `{operation}` |" not in page} == set()


def test_operations_of_a_document() -> None:
    found = {"paths": {"/runs": {"get": {}, "post": {}, "summary": "runs"}, "/runs/{run_id}": {"get": {}}}}
    assert set(operations(found)) == {"GET /runs", "POST /runs", "GET /runs/{run_id}"}


def quoted_messages() -> list[str]:
    """What the tables of errors in troubleshooting.md quote, piece by piece."""
    _, *tables = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8").split("\n| the error says |")
    rows = [row for table in tables for row in table.partition("\n\n")[0].splitlines()[2:]]
    return [piece for row in rows for piece in re.findall(r"`([^`]+)`", row.split(" | ")[0])]


@pytest.mark.parametrize("message", quoted_messages())
def test_troubleshooting_quotes_messages_that_exist(message: str) -> None:
    assert any(message in path.read_text(encoding="utf-8") for path in ROOT.glob("datapipe/**/*.py"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in _LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in _LINK.findall(index.read_text("utf-8"))}
    assert {
        page.relative_to(ROOT).as_posix() for page in ROOT.glob("docs/**/*.md") if page not in {*linked, index}
    } == set()


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ +(.+?)\s*$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
