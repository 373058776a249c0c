"""H1 to H5, B16: notebooks that are run without anybody, without widgets, and the same code as a script."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from lab.cells import FAILING, QUICK, slow_plan
from lab.headless import Bench, bench_in, bundles, text_of

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
# To an import, and to whoever looks for it, it is not installed then.
HIDDEN = "import sys; sys.modules['ipywidgets'] = None"
CONVERT = """
import nbconvert
for kind, name in ((nbconvert.HTMLExporter, "html"), (nbconvert.MarkdownExporter, "md")):
    text, _ = kind().from_filename("out.ipynb")
    open(f"run.{name}", "w", encoding="utf-8").write(text)
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, dict[str, Any]]:
    """A notebook that papermill has run: a plan, a run that is waited for, and one in the background at the end."""
    bench = bench_in(tmp_path_factory.mktemp("ran"))
    made = bench.papermill(
        slow_plan("first.parquet", seconds=1.5, name="first"),
        "plan",
        "plan.run()",
        slow_plan("h2.parquet", seconds=4),
        "plan.run(background=True)",
    )
    return bench, made


def test_a_converted_notebook_shows_what_was_seen(ran: tuple[Bench, dict[str, Any]]) -> None:
    """H1."""
    bench, _ = ran
    bench.run("-c", CONVERT)
    for name in ("run.html", "run.md"):
        text = (bench.folder / name).read_text(encoding="utf-8")
        assert "SUCCEEDED first" in text
        assert "60,000 rows" in text
    assert "widget-view" not in (bench.folder / "run.html").read_text(encoding="utf-8")


def test_a_background_run_is_finished_before_the_kernel_ends(ran: tuple[Bench, dict[str, Any]]) -> None:
    """H2."""
    bench, made = ran
    last = len(made["cells"]) - 1
    assert "SUCCEEDED orders" in text_of(made, last)
    assert "60,000 rows" in text_of(made, last)
    assert (bench.folder / "h2.parquet").exists()
    runs = bench.run("-m", "datapipe", "runs").stdout
    assert runs.count("succeeded") == 2


def test_a_notebook_that_was_run_is_small(ran: tuple[Bench, dict[str, Any]]) -> None:
    """H5."""
    _, made = ran
    assert len(json.dumps(made)) < 300_000
    assert "widgets" not in made["metadata"]
    for cell in (-3, -1):
        assert [bundle.keys() for bundle in bundles(made, cell)] == [{"text/html", "text/plain"}]
    assert WIDGET_VIEW not in json.dumps(made)


@pytest.mark.soak  # CI has a broken one beside the examples: tests/integration/notebooks
def test_nbmake_tells_good_notebooks_from_broken_ones(bench: Bench) -> None:
    """H3, for two notebooks; the examples have their own."""
    bench.write("good.ipynb", [QUICK])
    bench.write("broken.ipynb", [FAILING])
    options = ("-m", "pytest", "--nbmake", "--nbmake-timeout=120", "-q", "-p", "no:cacheprovider")
    done = bench.try_to_run(*options, "good.ipynb", "broken.ipynb")
    assert done.returncode == 1, done.stdout
    assert "1 failed, 1 passed" in done.stdout
    assert re.search("FAILED .*broken.ipynb", done.stdout)
    assert "n/a" in done.stdout


@pytest.mark.parametrize("form", ["python", "ipython"])
def test_the_same_code_is_a_script(bench: Bench, form: str) -> None:
    """H4: what goes through a pipe has no control characters."""
    (bench.folder / "script.py").write_text(QUICK.replace("plan.run()", "print(plan.run())"), encoding="utf-8")
    command = ["script.py"] if form == "python" else ["-m", "IPython", "--colors=nocolor", "script.py"]
    done = bench.run(*command)
    assert "succeeded" in done.stdout.lower()
    assert not re.search(r"[\x1b\r]", done.stdout + done.stderr)
    assert done.stderr == ""


def test_nothing_is_missed_without_widgets_and_how_runs_are_shown_can_be_chosen(bench: Bench) -> None:
    """B16, and DATAPIPE_DISPLAY."""
    chosen = ("auto", "html", "text", "off")
    made = bench.papermill(
        HIDDEN,
        slow_plan("shown.parquet", seconds=1),
        *(f"os.environ['DATAPIPE_DISPLAY'] = {form!r}\n_ = plan.run()" for form in chosen),
        "sys.modules['ipywidgets'] is None",
    )
    first = len(made["cells"]) - 1 - len(chosen)
    assert text_of(made, len(made["cells"]) - 1) == "True"
    assert not [output for cell in made["cells"] for output in cell["outputs"] if output["output_type"] == "error"]
    for place, form in enumerate(chosen, first):
        outputs = made["cells"][place]["outputs"]
        shown = json.dumps(outputs, ensure_ascii=False)
        assert ("SUCCEEDED orders" in shown) == (form != "off")
        assert ("text/html" in shown) == (form in {"auto", "html"})
        assert [output for output in outputs if output["output_type"] == "stream"] == [] or form == "text"
