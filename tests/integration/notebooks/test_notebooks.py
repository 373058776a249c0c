"""The example notebooks: clean as they are committed, and right when they are run, which they are once for all tests."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest

import datapipe
from datapipe.notebooks.outputs import MIME as OUTPUT

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
NAMES = [path.name for path in NOTEBOOKS]
JOB = "06-daily-job.ipynb"
OTHER_DAY = {"day": "2013-02-08", "late_after": 60, "airports": ["EWR", "LGA"]}
# Another notebook of the folder has papermill run the job, and runs it as a job, since the servers are there for it.
RUN_JOB = f"""
import json
from pathlib import Path

import datapipe
import papermill

Path("reports").mkdir(exist_ok=True)
papermill.execute_notebook({str(FOLDER / JOB)!r}, "reports/job.ipynb", parameters={OTHER_DAY!r}, progress_bar=False)
result = datapipe.notebook({str(FOLDER / JOB)!r}, {OTHER_DAY!r}).run()
frame = result.outputs["report"].read()
children = [datapipe.attach(run_id).row for run_id in result.pipelines]
found = {{
    "state": result.state,
    "rows": result.outputs["rows"],
    "flights": result.outputs["flights"],
    "report": frame[frame["day"].astype(str) == "2013-02-08"]["origin"].tolist(),
    "pipelines": [[row.name, row.state, row.rows_written] for row in children],
    "notices": result.notices,
}}
Path("reports/job.json").write_text(json.dumps(found))
"""
BROKEN = 'import datapipe\n\ndatapipe.read("SELECT nothing FROM flights.flights").preview()'

_PRIVATE = re.compile(r"://|/(?:home|root|tmp|Users|work|mnt)/|[A-Z]:\\\\")
_MOST_BYTES = 300_000


@dataclass(frozen=True)
class Executed:
    """What ``pytest --nbmake --overwrite`` left of a copy of the folder, and what it said."""

    folder: Path
    code: int
    said: str

    def notebook(self, name: str) -> Any:
        return nbformat.read(self.folder / name, as_version=4)

    def cell(self, name: str, cell_id: str) -> Any:
        return next(cell for cell in self.notebook(name).cells if cell.id == cell_id)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Executed:
    """All notebooks, two at a time, with a broken one and, by hand, one that runs the job for another day beside them."""
    further = {"broken": BROKEN} | ({} if "not soak" in request.config.option.markexpr else {"run-job": RUN_JOB})
    folder = tmp_path_factory.mktemp("copy") / "notebooks"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("*.yaml", ".*", "__pycache__"))
    for name, source in further.items():
        found = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
        nbformat.write(found, folder / f"{name}.ipynb")
    command = [sys.executable, "-m", "pytest", "--nbmake", "--overwrite", "--nbmake-timeout=120", "-n2", "-rfE"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", "-c", ROOT / "pyproject.toml", folder],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    return Executed(folder, done.returncode, done.stdout + done.stderr)


def outputs(cell: Any, kind: str) -> list[Any]:
    return [output for output in cell.get("outputs", ()) if output.output_type == kind]


def shown(cell: Any) -> str:
    """What a cell shows, as text."""
    found = cell.outputs
    return "\n".join(one.get("text") or one.get("data", {}).get("text/plain", "") for one in found)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_committed_notebook_is_clean(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    text = path.read_text(encoding="utf-8")
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.cells[0].cell_type == "markdown" and notebook.cells[0].source.startswith("# ")
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    assert not _PRIVATE.search(text), "a URL or a path of a machine"
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.id for cell in cells if cell.outputs or cell.execution_count is not None] == []
    assert len(cells) <= 12
    assert max(len(line) for cell in notebook.cells for line in cell.source.splitlines()) <= 120


def test_there_are_notebooks_and_one_is_a_job() -> None:
    assert len(NOTEBOOKS) == 6
    tags = {
        path.name: [tag for cell in nbformat.read(path, as_version=4).cells for tag in cell.metadata.get("tags", ())]
        for path in NOTEBOOKS
    }
    assert {name for name, found in tags.items() if {"parameters", "outputs"} & set(found)} == {JOB}
    job = datapipe.notebook(FOLDER / JOB, {"day": "2013-05-01"})
    assert [f"{found.name}: {found.type}" for found in job.parameters] == [
        "day: date",
        "late_after: int",
        "airports: list[str]",
    ]
    assert all(found.help and not found.required for found in job.parameters)
    assert job.check() == ()


def test_all_pass_and_a_broken_one_fails(executed: Executed) -> None:
    assert executed.code == 1, executed.said
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", executed.said, re.M)
    assert [name.rpartition("/")[2] for name in failed] == ["broken.ipynb::broken.ipynb"], executed.said
    assert re.search(rf"1 failed, ({len(NOTEBOOKS)}|{len(NOTEBOOKS) + 1}) passed", executed.said), executed.said
    assert 'column "nothing" does not exist' in executed.said


@pytest.mark.parametrize("name", NAMES)
def test_executed_notebook_is_small_and_shows_itself_anywhere(executed: Executed, name: str) -> None:
    notebook = executed.notebook(name)
    assert (executed.folder / name).stat().st_size < _MOST_BYTES
    assert "widgets" not in notebook.metadata
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    raised = [cell.id for cell in code if outputs(cell, "error")]
    assert raised == [cell.id for cell in code if "raises-exception" in cell.metadata.get("tags", ())]
    displays = [output for cell in code for output in outputs(cell, "display_data")]
    assert displays, "no card of a run"
    assert all(set(output.data) - {OUTPUT} == {"text/html", "text/plain"} for output in displays)
    assert "✓ SUCCEEDED" in "".join(output.data["text/plain"] for output in displays)


def test_what_the_texts_say_is_so(executed: Executed) -> None:
    assert shown(executed.cell("01-quick-start.ipynb", "load")) == "True"
    assert shown(executed.cell("03-transformations.ipynb", "same")) == "True"
    assert "2013-02-08" in shown(executed.cell("03-transformations.ipynb", "rows")).splitlines()[2]
    assert "2 rejected, 2 loaded after the fix" in shown(executed.cell("04-schema-and-quarantine.ipynb", "replay"))
    assert "336,776 flights read, 224 routes written" in shown(executed.cell("05-to-production.ipynb", "attach"))
    assert shown(executed.cell("05-to-production.ipynb", "once")).endswith("737")
    failure = shown(executed.cell("05-to-production.ipynb", "failure"))
    assert "✗ FAILED" in failure and "if not tail_number" not in failure.partition("-->")[0].rpartition("FAILED")[0]


# CI runs the job by nbmake here, and as a job for another day in tests/acceptance/test_recipes.py.
@pytest.mark.soak
def test_papermill_runs_the_job_for_another_day(executed: Executed) -> None:
    report = executed.notebook("reports/job.ipynb")
    injected = next(cell for cell in report.cells if "injected-parameters" in cell.metadata.get("tags", ()))
    assert 'day = "2013-02-08"' in injected.source
    assert executed.cell("reports/job.ipynb", "report").outputs
    rows = shown(next(cell for cell in report.cells if cell.id == "check"))
    assert re.findall(r"2013-02-08 +(\w+)", rows) == ["EWR", "LGA"]
    assert "✓ SUCCEEDED daily report" in shown(next(cell for cell in report.cells if cell.id == "run"))


@pytest.mark.soak
def test_the_job_gives_back_its_outputs(executed: Executed) -> None:
    found = json.loads((executed.folder / "reports/job.json").read_text(encoding="utf-8"))
    assert (found["state"], found["rows"], found["notices"]) == ("succeeded", 2, [])
    assert found["flights"] > 100
    assert found["report"] == ["EWR", "LGA"]
    assert found["pipelines"] == [["daily report", "succeeded", 2]]
