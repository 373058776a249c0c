"""A plan as a card."""

from __future__ import annotations

from datapipe.display.html import table, titled
from datapipe.display.text import plan_lines
from datapipe.plan import Plan


def plan_html(plan: Plan) -> str:
    """A plan as a small table."""
    head = f"Plan {plan.name}" if plan.name else "Plan"
    return titled(head, table(("step", "what"), plan_lines(plan)))
