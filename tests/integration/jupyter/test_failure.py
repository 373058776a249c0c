"""B10: a failure says what, where and on which row."""

from __future__ import annotations

from lab.cells import FAILING
from lab.notebook import Notebook

# The lines of tracebacks that are seen, without those that are folded.
SEEN = """root => {
    const lines = [];
    for (const pre of root.querySelectorAll('.jp-RenderedText[data-mime-type*=stderr] pre'))
        if (pre.checkVisibility()) lines.push(...pre.innerText.trim().split('\\n'));
    return lines;
}"""


def test_a_failure_points_at_the_users_line(shared: Notebook) -> None:
    failed = shared.add(FAILING)
    shared.run_all(failed)
    text = shared.wait_for_text(failed, "✗ FAILED orders").string
    for part in ("at step 2 of 2", "n/a", f"In[{shared.count(failed)}]", "row 701", "target is unchanged"):
        assert part in text
    marked = [line for line in text.splitlines() if line.startswith("-->")]
    assert marked
    assert all("return float(text)" in line for line in marked)
    traceback = shared.output(failed).evaluate(SEEN)
    assert 0 < len(traceback) <= 12, traceback
    assert not [line for line in traceback if "site-packages" in line or "datapipe/" in line], traceback
    assert not (shared.server.folder / "failing.parquet").exists()
    whole = shared.output(failed).locator("details", has_text="Full traceback")
    assert "Traceback" not in text.split("Full traceback")[0]
    whole.locator("summary").click()
    assert "Traceback (most recent call last)" in whole.inner_text()


def test_the_row_of_a_batch_is_named(shared: Notebook) -> None:
    failed = shared.add(FAILING.replace(".apply(clean)", ".apply(clean, per_batch=True)"))
    shared.run_all(failed)
    assert "row 701" in shared.wait_for_text(failed, "✗ FAILED orders").string


def test_a_wrong_query_is_named_with_its_step(shared: Notebook) -> None:
    failed = shared.add(
        "import pyarrow as pa\n"
        "plan = datapipe.read(pa.table({'id': [1]})).sql('SELECT idd FROM input_data').write('x.parquet').named('orders')\n"
        "plan.run()"
    )
    shared.run_all(failed)
    text = shared.wait_for_text(failed, "✗ FAILED orders").string
    for part in ("idd", "at step 1 of 1", f"In[{shared.count(failed)}]"):
        assert part in text
