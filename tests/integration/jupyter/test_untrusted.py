"""B11, B12: notebooks that somebody sent, and readers who do not see colours, or do not see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from lab.cells import FAILING, slow_plan
from lab.checks import faults, poor_contrasts
from lab.headless import Bench
from lab.notebook import Notebook
from playwright.sync_api import Locator

Open = Callable[..., Notebook]


def test_a_notebook_of_papermill_is_read_without_trust(notebook: Open, bench: Bench) -> None:
    made = bench.papermill(slow_plan("sent.parquet", seconds=2), "plan", "plan.run()", FAILING)
    first = next(n for n, cell in enumerate(made["cells"]) if "slow" in "".join(cell["source"]))
    found = notebook(document=made)
    plan, run, failed = first + 1, first + 2, len(made["cells"]) - 1  # papermill tells of it in a cell before it
    found.wait_for_text(run, "✓ SUCCEEDED orders")
    assert "60,000 rows read" in found.text(run)
    assert found.output(run).locator("table th[scope]").count() > 0
    found.wait_for_text(failed, "✗ FAILED orders")
    assert "-->" in found.text(failed)
    pictures: dict[str, list[Any]] = {}
    for theme in ("light", "dark"):
        found.theme(theme)
        for index in (plan, run):
            assert poor_contrasts(found.output(index)) == []
            for image in found.output(index).locator("img[alt]").all():
                assert_seen(found, image)
        assert found.output(plan).locator("img[alt]").count() == found.output(run).locator("img[alt]").count() == 1
        for bar in found.output(run).locator("td div[title] div").all():
            assert_seen(found, bar, colours=1)
        pictures[theme] = [found.picture(found.output(index)) for index in (plan, run, failed)]
    for light, dark in zip(pictures["light"], pictures["dark"], strict=True):
        assert len(np.unique(light.reshape(-1, 3), axis=0)) > 20  # there is something on it
        assert len(np.unique(dark.reshape(-1, 3), axis=0)) > 20
        assert light.mean() - dark.mean() > 100


def assert_seen(found: Notebook, area: Locator, colours: int = 3) -> None:
    """There is something of this on the page: it has a size, its colours, and none of them is the page's alone."""
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    assert box is not None
    assert box["width"] > 0 and box["height"] > 0
    assert area.evaluate("element => element.tagName !== 'IMG' || element.complete && element.naturalWidth > 0")
    seen = np.unique(found.picture(area).reshape(-1, 3), axis=0)
    assert len(seen) >= colours
    assert (seen.max(axis=1) - seen.min(axis=1)).max() > 20  # neither black, white nor grey


def test_a_card_in_the_making_is_read_without_trust(notebook: Open) -> None:
    found = notebook(slow_plan("half.parquet", seconds=20), "run = plan.run(background=True)")
    found.run_all(0, 1)
    found.wait_for_text(1, r"[1-9][\d,]* of 60,000 rows")
    found.pause(2)
    found.save()
    found.reopen(untrusted=True)
    found.wait_for_text(1, "RUNNING orders")
    assert_seen(found, found.output(1).locator("progress"))
    assert found.output(1).locator("table th").count() > 0
    assert poor_contrasts(found.output(1)) == []


def test_a_live_card_and_a_lasting_one_are_told_to_those_who_do_not_see_them(shared: Notebook) -> None:
    plan, run = shared.add_all(slow_plan("told.parquet", seconds=8), "run = plan.run(background=True)")
    shared.run_all(plan, run)
    card = shared.output(run)
    bar = card.get_by_role("progressbar")
    bar.wait_for()
    shared.wait_for_text(run, r"[1-9][\d,]* of 60,000 rows")
    assert 0 < bar.evaluate("element => element.value") < 1
    assert card.get_by_role("button", name="Cancel").count() == 1
    assert card.get_by_role("columnheader", name="step").count() == 1
    assert "RUNNING orders" in card.get_by_role("status").inner_text()
    tree = card.aria_snapshot()
    assert "progressbar" in tree
    assert 'button "Cancel"' in tree
    assert_readable(shared, run)
    shared.wait_for_text(run, "✓ SUCCEEDED orders")
    assert_readable(shared, run)
    failed = shared.add(FAILING)
    shared.run_all(failed)
    assert faults(shared.output(failed)) == []


def assert_readable(found: Notebook, index: int) -> None:
    """Nothing stands in anybody's way, in either theme."""
    assert faults(found.output(index)) == []
    for theme in ("light", "dark"):
        found.theme(theme)
        assert poor_contrasts(found.output(index)) == []
