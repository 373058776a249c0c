"""B10: a failure says what, where and on which row."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from lab.cells import FAILING
from lab.notebook import Notebook

Open = Callable[..., Notebook]

# The lines of tracebacks that are seen, without those that are folded.
SEEN = """root => {
    const lines = [];
    for (const pre of root.querySelectorAll('.jp-RenderedText[data-mime-type*=stderr] pre'))
        if (pre.checkVisibility()) lines.push(...pre.innerText.trim().split('\\n'));
    return lines;
}"""


def test_a_failure_points_at_the_users_line(notebook: Open) -> None:
    found = notebook(FAILING)
    found.run_all(0)
    text = found.wait_for_text(0, "✗ FAILED orders").string
    assert "at step 2 of 2" in text
    assert "n/a" in text
    assert "In[1]" in text
    marked = [line for line in text.splitlines() if line.startswith("-->")]
    assert marked
    assert all("return float(text)" in line for line in marked)
    assert "row 701" in text
    assert "target is unchanged" in text
    traceback = found.output(0).evaluate(SEEN)
    assert 0 < len(traceback) <= 12, traceback
    assert not [line for line in traceback if "site-packages" in line or "datapipe/" in line], traceback
    assert not (found.server.folder / "failing.parquet").exists()


def test_the_row_of_a_batch_is_named(notebook: Open) -> None:
    found = notebook(FAILING.replace(".apply(clean)", ".apply(clean, per_batch=True)"))
    found.run_all(0)
    text = found.wait_for_text(0, "✗ FAILED orders").string
    assert "row 701" in text


@pytest.mark.parametrize("folded", ["Full traceback"])
def test_the_whole_traceback_opens_at_a_click(notebook: Open, folded: str) -> None:
    found = notebook(FAILING)
    found.run_all(0)
    found.wait_for_text(0, "✗ FAILED orders")
    whole = found.output(0).locator("details", has_text=folded)
    assert "Traceback" not in found.text(0).split(folded)[0]
    whole.locator("summary").click()
    assert "Traceback (most recent call last)" in whole.inner_text()


def test_a_wrong_query_is_named_with_its_step(notebook: Open) -> None:
    found = notebook(
        "import pyarrow as pa\nimport datapipe\n"
        "plan = datapipe.read(pa.table({'id': [1]})).sql('SELECT idd FROM input_data').write('x.parquet').named('orders')\n"
        "plan.run()"
    )
    found.run_all(0)
    text = found.wait_for_text(0, "✗ FAILED orders").string
    assert "idd" in text
    assert "at step 1 of 1" in text
    assert "In[1]" in text
