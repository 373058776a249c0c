"""A notebook that is run as a job from another one: seen while it lasts, with the pipelines inside it; stopped."""

from __future__ import annotations

import pytest
from lab.cells import slow_plan
from lab.notebook import Notebook

JOB = '''
import nbformat, datapipe
v4 = nbformat.v4
sources = ["# parameters\\nday: str", """{load}""", "plan.run()", "datapipe.output('day', day)"]
cells = [v4.new_code_cell(source) for source in sources]
cells.insert(2, v4.new_markdown_cell("## Load the orders"))
spec = {{"name": "python3", "display_name": "Python 3", "language": "python"}}
nbformat.write(v4.new_notebook(cells=cells, metadata={{"kernelspec": spec}}), "{name}.ipynb")
job = datapipe.notebook("{name}.ipynb", {{"day": "2013-05-01"}})
'''


def job(name: str, seconds: float) -> str:
    return JOB.format(name=name, load=slow_plan(f"{name}.parquet", seconds=seconds).replace("\\", "\\\\"))


def test_a_job_is_seen_with_its_pipelines_and_stays_as_it_ended(shared: Notebook) -> None:
    made, run, outputs = shared.add_all(job("daily", 8), "result = job.run()", "print(result.outputs['day'])")
    shared.run_all(made)
    shared.run(run)
    shared.wait_for_text(run, r"RUNNING daily · run \w+ · cell \d of 5", 30)
    text = shared.wait_for_text(run, r"[1-9][\d,]* of 60,000 rows", 30).string
    assert "cell 4 of 5" in text and "Load the orders" in text, text
    assert shared.output(run).get_by_role("progressbar").count() >= 1
    ended = shared.wait_for_text(run, "✓ SUCCEEDED daily", 60).string
    assert "60,000" in ended and "orders" in ended and "kept in" in ended
    assert shared.text(run).count("RUNNING") == 0
    shared.run_all(outputs)
    assert shared.text(outputs) == "2013-05-01"
    shared.save()
    cells = shared.saved()["cells"]
    found = next(cell for cell in cells if "job.run()" in "".join(cell["source"]))
    assert [set(output["data"]) for output in found["outputs"]] == [{"text/html", "text/plain"}]
    assert not shared.errors


@pytest.mark.soak
def test_the_button_stops_a_job_while_its_cell_is_busy(shared: Notebook) -> None:
    made, run, state = shared.add_all(
        job("stopped", 60),
        "try:\n    job.run()\nexcept datapipe.DatapipeError as error:\n    found = error",
        "found.result.state",
    )
    shared.run_all(made)
    shared.run(run)
    shared.wait_for_text(run, r"[1-9][\d,]* of 60,000 rows", 40)
    shared.output(run).get_by_role("button", name="Cancel").click()
    text = shared.wait_for_text(run, "■ CANCELLED stopped", 20).string
    assert "cancelled" in text.lower()
    shared.wait(run)
    shared.run_all(state)
    assert "cancelled" in shared.text(state)
