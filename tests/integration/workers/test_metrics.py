"""What Prometheus reads: printed once, and served, with a real worker behind it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from datapipe.errors import FatalError
from datapipe.workers.metrics import metrics_text, serve_metrics

if TYPE_CHECKING:
    from conftest import Site


def samples(text: str) -> dict[tuple[str, str], float]:
    """Values by name and the value of the only label."""
    return {
        (sample.name.removeprefix("datapipe_"), next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_of_a_worker(site: Site, wait: Callable[..., None], state_of: Callable[[str], str]) -> None:
    site.start_worker("w1")
    ids = [site.submit(), site.submit("wrong")]
    wait(lambda: [state_of(run_id) for run_id in ids] == ["succeeded", "failed"])
    text = metrics_text().decode()
    found = samples(text)
    assert (found["runs", "succeeded"], found["runs", "failed"], found["runs", "running"]) == (1, 1, 0)
    assert (found["runs_finished_total", "succeeded"], found["runs_finished_total", "failed"]) == (1, 1)
    assert (found["rows_read_total", "succeeded"], found["rows_written_total", "succeeded"]) == (100, 100)
    assert found["run_seconds_total", "succeeded"] > 0
    assert (found["workers", "online"], found["workers", "silent"]) == (1, 0)
    assert (found["queue_waiting", "datapipe"], found["queue_runs", "datapipe"]) == (0, 0)
    assert (found["up", "broker"], found["up", "metadata store"]) == (1, 1)
    assert found["check_seconds", "broker"] < 1
    assert all(run_id not in text for run_id in ids)
    assert "c4n4ry" not in text

    site.broker.kill()
    found = samples(metrics_text().decode())
    assert (found["up", "broker"], found["runs", "succeeded"]) == (0, 1)
    assert ("queue_waiting", "datapipe") not in found


def test_metrics_are_served_by_the_library(site: Site) -> None:
    served = serve_metrics(0)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{served.port}/metrics", timeout=20) as answer:
            found = samples(answer.read().decode())
        assert found["up", "broker"] == 1
        with pytest.raises(FatalError, match="cannot listen at"):
            serve_metrics(served.port)
    finally:
        served.close()


def test_metrics_are_served_by_the_command(site: Site) -> None:
    command = [sys.executable, "-m", "datapipe", "metrics", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        url = re.search(r"http://\S+/metrics", server.stderr.readline())
        assert url is not None
        with urllib.request.urlopen(url.group(), timeout=20) as answer:
            assert samples(answer.read().decode())["up", "broker"] == 1
        server.send_signal(signal.SIGINT)
        assert server.wait(10) == 0
        assert server.stderr.read() == ""
