"""H1 to H5, B16: notebooks that are run without anybody, without widgets, and the same code as a script."""

from __future__ import annotations

import json
import re

import pytest
from lab.cells import FAILING, QUICK, slow_plan
from lab.headless import Bench, bundles, text_of

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
# To an import, and to whoever looks for it, it is not installed then.
HIDDEN = "import sys; sys.modules['ipywidgets'] = None"


def test_a_converted_notebook_shows_what_was_seen(bench: Bench) -> None:
    """H1."""
    bench.write("run.ipynb", [slow_plan("h1.parquet", seconds=1.5), "plan.run()"])
    bench.run("-m", "nbconvert", "--to", "html", "--execute", "run.ipynb")
    bench.run("-m", "nbconvert", "--to", "markdown", "--execute", "run.ipynb")
    for name in ("run.html", "run.md"):
        text = (bench.folder / name).read_text(encoding="utf-8")
        assert "SUCCEEDED orders" in text
        assert "60,000 rows" in text
    assert "widget-view" not in (bench.folder / "run.html").read_text(encoding="utf-8")


def test_a_background_run_is_finished_before_the_kernel_ends(bench: Bench) -> None:
    """H2."""
    made = bench.papermill(slow_plan("h2.parquet", seconds=6), "plan.run(background=True)")
    last = len(made["cells"]) - 1
    assert "SUCCEEDED orders" in text_of(made, last)
    assert "60,000 rows" in text_of(made, last)
    assert (bench.folder / "h2.parquet").exists()
    runs = bench.run("-m", "datapipe", "runs").stdout
    assert "succeeded" in runs


def test_nbmake_tells_good_notebooks_from_broken_ones(bench: Bench) -> None:
    """H3, for two notebooks; the examples have their own."""
    bench.write("good.ipynb", [QUICK])
    bench.write("broken.ipynb", [FAILING])
    options = ("-m", "pytest", "--nbmake", "--nbmake-timeout=120", "-q", "-p", "no:cacheprovider")
    good, broken = bench.try_to_run(*options, "good.ipynb"), bench.try_to_run(*options, "broken.ipynb")
    assert good.returncode == 0, good.stdout
    assert broken.returncode == 1, broken.stdout
    assert "n/a" in broken.stdout


@pytest.mark.parametrize("form", ["python", "ipython"])
def test_the_same_code_is_a_script(bench: Bench, form: str) -> None:
    """H4: what goes through a pipe has no control characters."""
    (bench.folder / "script.py").write_text(QUICK.replace("plan.run()", "print(plan.run())"), encoding="utf-8")
    command = ["script.py"] if form == "python" else ["-m", "IPython", "--colors=nocolor", "script.py"]
    done = bench.run(*command)
    assert "succeeded" in done.stdout.lower()
    assert not re.search(r"[\x1b\r]", done.stdout + done.stderr)
    assert done.stderr == ""


def test_a_notebook_that_was_run_is_small(bench: Bench) -> None:
    """H5."""
    made = bench.papermill(slow_plan("h5.parquet", seconds=3), "plan", "plan.run()", QUICK)
    assert len(json.dumps(made)) < 300_000
    assert "widgets" not in made["metadata"]
    last = len(made["cells"]) - 2
    assert [bundle.keys() for bundle in bundles(made, last)] == [{"text/html", "text/plain"}]
    assert WIDGET_VIEW not in json.dumps(made)


def test_nothing_is_missed_without_ipywidgets(bench: Bench) -> None:
    """B16."""
    made = bench.papermill(
        HIDDEN, slow_plan("b16.parquet", seconds=2), "plan.run()", "sys.modules['ipywidgets'] is None"
    )
    last = len(made["cells"]) - 1
    assert text_of(made, last) == "True"
    assert "SUCCEEDED orders" in text_of(made, last - 1)
    assert "SUCCEEDED orders" in text_of(made, last - 1, "text/html")
    for cell in made["cells"]:
        assert not [output for output in cell["outputs"] if output["output_type"] in {"error", "stream"}]


@pytest.mark.parametrize("display", ["html", "text", "off"])
def test_how_runs_are_shown_can_be_chosen(bench: Bench, display: str) -> None:
    made = bench.papermill(slow_plan("shown.parquet", seconds=1), "_ = plan.run()", DATAPIPE_DISPLAY=display)
    last = len(made["cells"]) - 1
    shown = json.dumps(made["cells"][last]["outputs"], ensure_ascii=False)
    assert ("SUCCEEDED orders" in shown) == (display != "off")
    assert ("text/html" in shown) == (display == "html")
