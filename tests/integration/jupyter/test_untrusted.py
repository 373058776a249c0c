"""B11, B12: notebooks that somebody sent, and readers who do not see colours, or do not see."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lab.cells import FAILING, slow_plan
from lab.checks import faults, poor_contrasts
from lab.headless import Bench
from lab.notebook import Notebook

Open = Callable[..., Notebook]


def test_a_notebook_of_papermill_is_read_without_trust(notebook: Open, bench: Bench, tmp_path: Path) -> None:
    made = bench.papermill(slow_plan("sent.parquet", seconds=2), "plan", "plan.run()", FAILING)
    first = next(n for n, cell in enumerate(made["cells"]) if "slow" in "".join(cell["source"]))
    found = notebook(document=made)
    plan, run, failed = first + 1, first + 2, len(made["cells"]) - 1  # papermill tells of it in a cell before it
    found.wait_for_text(run, "✓ SUCCEEDED orders")
    assert "60,000 rows read" in found.text(run)
    assert found.output(plan).locator("img[alt]").count() == 1
    assert found.output(run).locator("img[alt]").count() == 1
    assert found.output(run).locator("table th[scope]").count() > 0
    assert "✗ FAILED orders" in found.text(failed)
    assert "-->" in found.text(failed)
    for theme in ("light", "dark"):
        found.theme(theme)
        for index in (plan, run):
            assert poor_contrasts(found.output(index)) == []
        found.screenshot(tmp_path / f"{theme}.png")


def test_a_card_in_the_making_is_read_without_trust(notebook: Open) -> None:
    found = notebook(slow_plan("half.parquet", seconds=20), "run = plan.run(background=True)")
    found.run_all(0, 1)
    found.wait_for_text(1, r"[\d,]+ of 60,000 rows")
    found.pause(2)
    found.save()
    found.reopen(untrusted=True)
    found.wait_for_text(1, "RUNNING orders")
    assert found.output(1).locator("progress").count() == 1
    assert found.output(1).locator("table th").count() > 0
    assert poor_contrasts(found.output(1)) == []


def test_a_live_card_is_told_to_those_who_do_not_see_it(notebook: Open) -> None:
    found = notebook(slow_plan("told.parquet", seconds=20), "run = plan.run(background=True)")
    found.run_all(0, 1)
    card = found.output(1)
    bar = card.get_by_role("progressbar")
    bar.wait_for()
    found.wait_for_text(1, r"[1-9][\d,]* of 60,000 rows")
    assert 0 < bar.evaluate("element => element.value") < 1
    assert card.get_by_role("button", name="Cancel").count() == 1
    assert card.get_by_role("columnheader", name="step").count() == 1
    assert "RUNNING orders" in card.get_by_role("status").inner_text()
    tree = card.aria_snapshot()
    assert "progressbar" in tree
    assert 'button "Cancel"' in tree
    assert faults(card) == []
    for theme in ("light", "dark"):
        found.theme(theme)
        assert poor_contrasts(card) == []


def test_a_lasting_card_is_told_too(notebook: Open) -> None:
    found = notebook(slow_plan("lasting.parquet", seconds=1.5), "plan.run()", FAILING)
    found.run_all(0, 1, 2)
    for index in (1, 2):
        assert faults(found.output(index)) == []
    for theme in ("light", "dark"):
        found.theme(theme)
        assert poor_contrasts(found.output(1)) == []
