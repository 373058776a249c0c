"""Keys of the REST interface, the same on SQLite and PostgreSQL: the store never has what opens it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from datapipe.errors import PlanError
from datapipe.store import RunStore
from datapipe.store.apikeys import create_key, find_key, has_keys, list_keys, revoke_key
from datapipe.store.schema import API_KEYS


def test_a_key_is_found_by_its_whole_text(store: RunStore) -> None:
    made, text = create_key(store, "ann", "run")
    assert find_key(store, text) == made
    assert (made.owner, made.scope, made.expires, made.revoked) == ("ann", "run", None, None)
    for wrong in (
        text[:-1],
        text + "A",
        text.replace("dp_", "dq_"),
        made.id,
        "",
        "dp_",
        text[:20] + "A" * 43,
        text + "\n",
    ):
        assert find_key(store, wrong) is None


def test_keys_are_random_and_their_text_is_nowhere(store: RunStore, store_url: str) -> None:
    made = [create_key(store, "ann", "read") for _ in range(20)]
    assert len({text for _, text in made}) == len({key.id for key, _ in made}) == 20
    with store.reading() as conn:
        kept = str(conn.execute(sa.select(API_KEYS)).all())
    for _, text in made:
        assert text.split("_", 2)[2] not in kept and text[20:] not in kept
    if store_url.startswith("sqlite"):
        file = Path(store_url.removeprefix("sqlite:///"))
        content = b"".join(path.read_bytes() for path in file.parent.glob(f"{file.name}*"))
        assert made[0][0].id.encode() in content and made[0][1][20:].encode() not in content


def test_a_key_lasts_as_long_as_it_was_made_for(store: RunStore) -> None:
    short, text = create_key(store, "ann", "run", days=0.5 / 86_400)
    assert find_key(store, text) == short and has_keys(store)
    until = time.monotonic() + 5
    while find_key(store, text) is not None:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert not has_keys(store), "one that has expired lets nobody in"
    assert [key.id for key in list_keys(store)] == [short.id]


def test_a_revoked_key_opens_nothing_and_stays_on_record(store: RunStore) -> None:
    made, text = create_key(store, "ann", "admin")
    revoked = revoke_key(store, made.id)
    assert revoked.revoked and find_key(store, text) is None and not has_keys(store)
    assert revoke_key(store, made.id) == revoked, "the first time counts"
    with pytest.raises(PlanError, match="no API key has the id 'x'"):
        revoke_key(store, "x")


@pytest.mark.parametrize("values", [("", "run"), ("a b", "run"), ("a" * 65, "run"), ("a\n", "run"), ("ann", "all"), ("ann", "run", 0),
                                    ("ann", "run", -1), ("ann", "run", float("nan")), ("ann", "run", 1e9)])  # fmt: skip
def test_what_is_no_key_is_not_made(values: Any, store: RunStore) -> None:
    with pytest.raises(PlanError):
        create_key(store, *values)
    assert list_keys(store) == []


def test_the_oldest_is_listed_first(store: RunStore) -> None:
    owners = []
    for owner in ("zoe", "ann", "bob"):
        create_key(store, owner, "read")
        owners.append(owner)
        time.sleep(0.002)
    assert [key.owner for key in list_keys(store)] == owners
