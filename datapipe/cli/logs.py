"""What the command line logs, on standard error, beside what it says to people."""

from __future__ import annotations

import sys

from datapipe.errors import PlanError


def configure_cli_logs() -> None:
    """Log as LOG_LEVEL says; where it does not, only what is wrong and not on the screen anyway.

    Without LOG_FORMAT, a terminal gets the form for people, anything else one line of text.
    """
    from datapipe.logs import configure_logs
    from datapipe.settings import Settings, settings

    try:
        found = settings()
    except PlanError:  # the command will say so
        found = Settings.model_construct()
    given = found.model_fields_set
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    form = found.log_format if "log_format" in given else "console" if on_terminal else "text"
    chosen = "log_level" in given
    configure_logs(found.log_level if chosen else "WARNING", form, runs=chosen)
