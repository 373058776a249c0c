"""Callers: whose key, how far it reaches, which runs are there for it."""

from __future__ import annotations

import base64

import pytest
from restside import Site

from datapipe.rest.callers import Caller, anybody, identified
from datapipe.rest.problems import Refused
from datapipe.store.apikeys import SCOPES, create_key, revoke_key

WRONG = f"dp_{'0' * 16}_{'A' * 43}"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {WRONG}",
        "Digest x",
        "Basic",
        "Basic !!!",
        "Basic é",
        "Basic /w==",
        "Basic YQ==",
        f"Basic {base64.b64encode(WRONG.encode()).decode()}",
        "Bearer dp_' OR 1=1 --",
        "Bearer " + "x" * 8000,
        WRONG,
    ],
)
def test_no_key_and_a_wrong_one_are_refused(header: str, site: Site) -> None:
    with pytest.raises(Refused) as caught:
        identified({"authorization": header}, site.store)
    assert caught.value.status == 401
    asked = caught.value.response().headers.getlist("WWW-Authenticate")
    assert [text.partition(" ")[0] for text in asked] == ["Bearer", "Basic"]
    assert WRONG not in str(caught.value)


def test_a_key_says_who_calls(site: Site) -> None:
    found = identified({"authorization": f"bearer {site.keys['ann']}"}, site.store)
    assert (found.owner, found.scope, found.sees_all) == ("ann", "run", False)


def test_a_key_is_its_whole_text(site: Site) -> None:
    key = site.keys["ann"]
    for wrong in (key[:-1], key + "A", key.upper(), key[:20] + "A" + key[21:], site.keys["bob"][:19] + key[19:]):
        with pytest.raises(Refused):
            identified({"authorization": f"Bearer {wrong}"}, site.store)


def test_a_revoked_key_is_none(site: Site) -> None:
    made, text = create_key(site.store, "eve", "run")
    identified({"authorization": f"Bearer {text}"}, site.store)
    revoke_key(site.store, made.id)
    with pytest.raises(Refused):
        identified({"authorization": f"Bearer {text}"}, site.store)


@pytest.mark.parametrize("held", SCOPES)
@pytest.mark.parametrize("needed", SCOPES)
def test_a_wider_scope_includes_the_narrower(held: str, needed: str) -> None:
    caller = Caller("ann", held)
    if SCOPES.index(held) >= SCOPES.index(needed):
        caller.check(needed)
    else:
        with pytest.raises(Refused) as caught:
            caller.check(needed)
        assert caught.value.status == 403 and f"needs a key of scope {needed}" in caught.value.detail


def test_a_run_is_there_for_its_owner_and_for_an_administrator(site: Site) -> None:
    store = site.store
    store.add("own", state="queued", owner="ann")
    store.add("nobodys", state="queued", owner=None)
    assert Caller("ann", "run").may_see(store.run("own"))
    for name in ("own", "nobodys"):
        assert not Caller("bob", "run").may_see(store.run(name))
        assert not Caller("", "run").may_see(store.run(name))
        assert Caller("bob", "admin").may_see(store.run(name))


def test_an_open_interface_is_used_by_whoever_runs_it() -> None:
    assert anybody().sees_all and anybody().owner
