"""What a worker does when the process of a run dies: count it, and let the run go on elsewhere, at most three times."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from billiard.exceptions import WorkerLostError
from celery.worker.request import Request

from datapipe.errors import DatapipeError, FatalError, from_dict
from datapipe.logs import bound, logger
from datapipe.store import RunRow, leave
from datapipe.workers.queue import needed_store

_LOG = logger("datapipe.workers")
CAP = 3  # worker processes that one run may cost


class RunRequest(Request):  # type: ignore[misc]  # Celery has no types
    """A message that runs a plan."""

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        """Called in the worker's main process; for a process that died, before its message goes back."""
        error = getattr(exc_info.exception, "exc", exc_info.exception)
        if isinstance(error, WorkerLostError):
            # With another error the message is acknowledged, so that nobody tries it again, and whoever waits is told.
            exc_info.exception = self._end() or exc_info.exception
        return super().on_failure(exc_info, send_failed_event, return_ok)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Called when the process is about to be killed, because the run did not end when it was told to."""
        if not soft:
            self._record(state="failed", reason="timed_out", error=_timed_out(timeout))
        super().on_timeout(soft, timeout)

    def _is_here(self, row: RunRow) -> bool:
        return (row.worker, row.process) == (self.hostname, self.worker_pid)

    def _announce_revoked(self, reason: Any, terminated: Any, signum: Any, expired: Any) -> None:
        """Called when the message is dropped, because somebody has revoked the task."""
        with suppress(DatapipeError):
            why = "expired" if expired else "revoked"
            needed_store().change(self.id, when=("queued",), state="cancelled", reason=why)
        super()._announce_revoked(reason, terminated, signum, expired)

    def _end(self) -> Exception | None:
        """Count the loss; how the run ends by it, or None if it may be tried again."""
        try:
            store = needed_store()
            row = store.run(self.id)
            if row.state == "running" and not self._is_here(row):
                return None  # somebody else has it
            after = store.lose(self.id, row.lease, CAP)
        except DatapipeError as error:
            with bound(run_id=self.id, task_id=self.id):
                _LOG.warning("run %s lost its process, which could not be counted: %s", self.id, error)
            return None
        if after is None or after.state == "queued":
            return None
        return FatalError(str(from_dict(after.error or {})))  # Celery keeps an error's first argument

    def _record(self, **values: Any) -> None:
        try:
            store = needed_store()
            row = store.run(self.id)
            if self._is_here(row):
                store.change(self.id, when=("running", "lost"), lease=row.lease, **values)
        except DatapipeError as error:
            with bound(run_id=self.id, task_id=self.id):
                _LOG.warning("the end of run %s could not be recorded: %s", self.id, error)


class HelpRequest(Request):  # type: ignore[misc]  # as above
    """A message that asks for help with a run: what a process that died was at is left to the run's own worker."""

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        """Called in the worker's main process."""
        if isinstance(getattr(exc_info.exception, "exc", exc_info.exception), WorkerLostError):
            with suppress(DatapipeError):  # its silence will be noticed
                leave(needed_store(), str(self.id))
        return super().on_failure(exc_info, send_failed_event, return_ok)


def _timed_out(seconds: float) -> dict[str, Any]:
    error = FatalError(
        f"the run did not end within {seconds:g} s, and its process was killed",
        hint="A function of its plan did not stop when it was told to; split it, or raise DATAPIPE_RUN_TIMEOUT",
    )
    return error.to_dict()
