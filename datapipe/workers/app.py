"""The Celery application: how messages travel, and what happens to those whose worker dies."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from celery import Celery
from celery.signals import task_postrun, task_prerun, worker_init

from datapipe.logs import bound
from datapipe.settings import settings

HEADER = "datapipe"  # of a message: the ids that its run has on log lines
IS_WORKER = "datapipe_is_worker"  # in the configuration of a worker
KILL_AFTER = 60.0  # seconds past its time limit after which a run's process is killed
_LONGEST = 128  # characters of an id
_MARGIN = 600.0  # seconds between the longest run and the redelivery of its message


def _configuration() -> dict[str, Any]:
    """Read when the application is first used, so that a notebook may still set the environment."""
    found = settings()
    longest = found.run_timeout + KILL_AFTER
    return {
        "broker_url": found.broker_url,
        "result_backend": found.result_url,
        # Plain data only, in both directions.
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        # A message is gone only when its run has ended; the run store tells repeated deliveries apart.
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        "task_time_limit": longest,
        "broker_transport_options": {
            "visibility_timeout": longest + _MARGIN,
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 1,
            "socket_connect_timeout": 5,
            "socket_timeout": 30,
            "socket_keepalive": True,
            "health_check_interval": 15,
        },
        "result_backend_transport_options": {"retry_policy": {"timeout": 5.0}},
        "redis_socket_connect_timeout": 5,
        "redis_socket_timeout": 10,
        "redis_retry_on_timeout": True,
        "result_expires": 7 * 86_400,
        # A run goes on while the broker is away: what it does does not depend on it.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "worker_concurrency": found.worker_concurrency,
        "worker_max_tasks_per_child": 1000,
        "task_default_queue": found.queue,
        "task_track_started": False,
        "worker_send_task_events": True,
        "task_send_sent_event": False,
        "worker_hijack_root_logger": False,
        "worker_proc_alive_timeout": 30.0,
        "imports": ("datapipe.workers.tasks",),
    }


app = Celery("datapipe", set_as_current=False)
app.add_defaults(_configuration)


@worker_init.connect(weak=False)  # type: ignore[untyped-decorator]  # Celery has no types
def _is_worker(**_: Any) -> None:
    """Note, before its processes are forked, that this process takes messages."""
    app.conf[IS_WORKER] = True


@task_prerun.connect(weak=False)  # type: ignore[untyped-decorator]  # as above
def _begin(task_id: str, task: Any, **_: Any) -> None:
    """Put the ids of a task of ours on every line that is logged until it has ended, Celery's own among them."""
    if task.app is not app:
        return
    sent = (task.request.headers or {}).get(HEADER)
    travelled = {name: str(value)[:_LONGEST] for name, value in sent.items()} if isinstance(sent, dict) else {}
    correlation = travelled.get("correlation_id") or str(task.request.root_id or task_id)
    pipeline = travelled.get("pipeline_id") or correlation
    stack = task.request.datapipe = ExitStack()
    names = {"correlation_id": correlation, "pipeline_id": pipeline, "task_id": task_id, "run_id": task_id}
    stack.enter_context(bound(**names, task_name=task.name))


@task_postrun.connect(weak=False)  # type: ignore[untyped-decorator]  # as above
def _end(task: Any, **_: Any) -> None:
    stack = getattr(task.request, "datapipe", None)
    if isinstance(stack, ExitStack):
        stack.close()
