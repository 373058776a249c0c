"""What routes depend on: a run that has fallen silent is found by whoever asks for it."""

from __future__ import annotations

import pytest
from restside import Site

from datapipe.store.schema import RUNS


@pytest.mark.parametrize("path", ["/runs/{}", "/tasks/{}", "/pipelines/{}/status", "/runs?name={}"])
def test_a_run_without_a_sign_of_life_is_lost_wherever_it_is_asked_for(path: str, site: Site) -> None:
    run_id = f"silent{path.count('/')}{len(path)}"
    site.store.add(run_id, state="running", owner="ann", name=run_id, worker="w1")
    with site.store.writing() as conn:
        conn.execute(RUNS.update().where(RUNS.c.id == run_id).values(heartbeat="2020-01-01T00:00:00.000Z"))
    site.app.state.swept = 0.0
    found = site.client().get(path.format(run_id)).json()
    assert found.get("runs", [found])[0]["state"] == "lost"
