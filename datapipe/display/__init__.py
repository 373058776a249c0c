"""Plans, runs, previews and explanations as text and as HTML: pure functions of values, and live text in a terminal."""

from datapipe.display.plans import plan_html
from datapipe.display.runs import run_html, run_text
from datapipe.display.seen import known_columns
from datapipe.display.text import plan_text
from datapipe.display.values import Explanation, Preview, Section

__all__ = ["Explanation", "Preview", "Section", "known_columns", "plan_html", "plan_text", "run_html", "run_text"]
