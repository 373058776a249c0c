"""Plans, runs, previews and explanations as text and as HTML: pure functions of values, and live text in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datapipe.lazily import lazily

if TYPE_CHECKING:
    from datapipe.display.card import ended_card, live_card, log_text, run_card
    from datapipe.display.cardtext import run_card_text
    from datapipe.display.facts import headline
    from datapipe.display.pace import kept_pace, paced
    from datapipe.display.plans import plan_html
    from datapipe.display.problems import error_of, error_view
    from datapipe.display.runlist import compared_html, compared_text, runs_html, runs_text
    from datapipe.display.runs import view_of_row
    from datapipe.display.seen import known_columns
    from datapipe.display.text import plan_text
    from datapipe.display.values import Explanation, Preview, Section
    from datapipe.display.view import ErrorView, LogLine, RunView, StepState, StepView, aged, view_of_plan
else:
    __getattr__ = lazily(
        __name__,
        {
            "card": "ended_card live_card log_text run_card",
            "cardtext": "run_card_text",
            "facts": "headline",
            "pace": "kept_pace paced",
            "plans": "plan_html",
            "problems": "error_of error_view",
            "runlist": "compared_html compared_text runs_html runs_text",
            "runs": "view_of_row",
            "seen": "known_columns",
            "text": "plan_text",
            "values": "Explanation Preview Section",
            "view": "ErrorView LogLine RunView StepState StepView aged view_of_plan",
        },
    )

__all__ = [
    "ErrorView",
    "Explanation",
    "LogLine",
    "Preview",
    "RunView",
    "Section",
    "StepState",
    "StepView",
    "aged",
    "compared_html",
    "compared_text",
    "ended_card",
    "error_of",
    "error_view",
    "headline",
    "kept_pace",
    "known_columns",
    "live_card",
    "log_text",
    "paced",
    "plan_html",
    "plan_text",
    "run_card",
    "run_card_text",
    "runs_html",
    "runs_text",
    "view_of_plan",
    "view_of_row",
]
