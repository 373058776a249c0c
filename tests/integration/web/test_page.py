"""The web page in a real browser: it keeps up with runs, does what is asked, and everybody can use it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from lab.website import Site
from playwright.sync_api import Page, expect

Opened = Callable[..., Page]
FIRST_LOAD = 50_000  # bytes


@pytest.fixture(scope="module")
def notebook_run(sites: tuple[Site, Site]) -> str:
    """A notebook's run, which takes a while: it begins before whoever looks at it."""
    return str(sites[0].ask("POST", "/notebooks/daily.ipynb/runs", {})["run_id"])


@pytest.fixture(scope="module")
def failed(sites: tuple[Site, Site], notebook_run: str) -> str:
    """A run that has failed in a line of the user's own."""
    run_id = sites[0].submit("prices", "clean")
    sites[0].wait(run_id, "failed")
    return run_id


def test_a_run_is_watched_and_cancelled_by_keys_alone(site: Site, failed: str, opened: Opened) -> None:
    page = opened(site.url)
    run_id = site.submit("nightly", "slowly")
    row = page.locator(f"#run-{run_id}")
    expect(row).to_contain_text("RUNNING")
    card = page.locator(f"#card-{run_id}")
    expect(card).to_contain_text("at step 1 of 1: apply functions:slowly per batch")
    said = card.inner_text()
    page.wait_for_function(
        "([id, said]) => document.getElementById(id).innerText !== said", arg=[f"card-{run_id}", said]
    )
    link = row.get_by_role("link", name="nightly")
    link.focus()
    another = site.submit("orders")
    expect(page.locator(f"#run-{another}")).to_contain_text("SUCCEEDED")
    expect(link).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("nightly")
    page.get_by_role("button", name="Cancel run").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(page.get_by_role("button", name="Keep it running")).to_be_focused()
    page.keyboard.press("Escape")
    assert site.ask("GET", f"/runs/{run_id}")["cancel_requested"] is None, "nobody has said yes"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("log")).to_contain_text("The run was asked to stop")
    expect(page.get_by_role("heading", level=1)).to_contain_text("CANCELLED")
    expect(page.get_by_role("log")).to_contain_text("nightly: cancelled")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    expect(page.get_by_role("button", name="Retry run")).to_be_visible()
    assert page.title() == "nightly: cancelled · datapipe"


def test_a_failure_is_shown_with_its_line_and_tried_again(site: Site, failed: str, opened: Opened) -> None:
    before = site.wait(failed, "failed")["ended"]
    page = opened(f"{site.url}/ui/runs/{failed}")
    expect(page.locator("#card")).to_contain_text("functions.py:16 in as_number")
    expect(page.locator("#card pre").first).to_contain_text("--> 16     return float(text)")
    expect(page.locator("#card")).to_contain_text("Row 2,735")
    page.get_by_role("button", name="Retry run").click()
    expect(page.get_by_role("log")).to_contain_text("The run is queued again")
    expect(page.get_by_role("log")).to_contain_text("prices: failed")
    assert site.wait(failed, "failed")["ended"] > before


def test_what_is_asked_in_vain_is_told_with_its_hint(site: Site, failed: str, opened: Opened) -> None:
    page = opened(f"{site.url}/ui/runs/{failed}")
    page.locator("[data-post]").evaluate("button => button.dataset.post = '/runs/nobody/retry'")
    page.locator("[data-post]").click()
    expect(page.get_by_role("log")).to_contain_text("there is no run of this id. GET /runs lists those there are")


def test_a_page_says_since_when_it_is_old(site: Site, opened: Opened) -> None:
    page = opened(site.url)
    page.context.set_offline(True)
    expect(page.locator("#as-of")).to_have_text(re.compile(r"As of \d\d:\d\d:\d\d; the server does not answer"))
    old = page.locator("#as-of").inner_text()
    page.wait_for_timeout(2500)
    assert page.locator("#as-of").inner_text() == old, "it is as old as it says"
    expect(page.get_by_role("log")).to_contain_text("no longer kept up to date")
    page.context.set_offline(False)
    expect(page.get_by_role("log")).to_contain_text("This page is up to date again")
    expect(page.locator("#as-of")).to_have_text(re.compile(r"As of \d\d:\d\d:\d\d$"))


def test_a_change_leaves_what_is_open_scrolled_and_focused(site: Site, opened: Opened) -> None:
    page = opened(f"{site.url}/ui/workers")
    kept = page.evaluate(
        """() => {
            const made = html => new DOMParser().parseFromString(`<main>${html}</main>`, "text/html").querySelector("main");
            const card = more => `${more}<details><summary>Log (${more.length} lines)</summary><pre style="height: 2em;` +
                `overflow: auto">a\\n\\n\\n\\n\\nb</pre><a href="#x" id="x">x</a></details><p>${more}</p>`;
            main.replaceChildren(...made(card("")).childNodes);
            main.querySelector("details").open = true;
            main.querySelector("a").focus();
            main.querySelector("pre").scrollTop = 20;
            patch(main, made(card("<table><tr id=r><td>1</td></tr></table>")));
            return [main.querySelector("details").open, document.activeElement.id, main.querySelector("pre").scrollTop,
                main.querySelector("summary").textContent, main.firstChild.nodeName, main.querySelectorAll("td").length];
        }"""
    )
    assert kept == [True, "x", 20, "Log (39 lines)", "TABLE", 2]


def test_the_executed_notebook_is_on_its_page(site: Site, notebook_run: str, opened: Opened) -> None:
    site.wait(notebook_run, "succeeded")
    asked: list[str] = []
    page = opened(f"{site.url}/ui/workers")
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{site.url}/ui/runs/{notebook_run}")
    expect(page.get_by_role("link", name="notebook.ipynb")).to_be_visible()
    assert not [url for url in asked if "artifacts" in url], "it is large, and nobody has asked for it"
    page.get_by_text("The executed notebook").click()
    expect(page.frame_locator("iframe").locator("body")).to_contain_text("what the notebook said")


def test_times_are_those_of_the_reader(site: Site, failed: str, opened: Opened) -> None:
    page = opened(f"{site.url}/ui/runs/{failed}")
    time = page.locator("time").first
    assert (time.get_attribute("title") or "").endswith("UTC")
    utc = int((time.get_attribute("datetime") or "")[14:16])
    assert re.search(r":(\d\d):", time.inner_text()).group(1) == f"{(utc + 30) % 60:02}"  # type: ignore[union-attr]  # India
    expect(page.locator("#zone")).to_have_text(re.compile("Asia/(Kolkata|Calcutta)"))


def test_without_scripts_everything_can_be_read(site: Site, failed: str, opened: Opened) -> None:
    page = opened(site.url, java_script_enabled=False)
    page.get_by_role("link", name="prices").first.click()
    expect(page.locator("#card")).to_contain_text("functions.py:16 in as_number")
    expect(page.get_by_role("button")).to_have_count(0)
    page.get_by_role("link", name="Refresh").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("prices")
    page.get_by_role("link", name="Runs", exact=True).click()
    page.get_by_label("state").select_option("failed")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("tbody tr")).to_have_count(1)


def test_the_first_load_is_small_and_all_from_here(site: Site, failed: str, opened: Opened) -> None:
    for path in ("/", f"/ui/runs/{failed}", "/ui/workers"):
        page = opened(site.url + path)
        sizes = page.evaluate(
            """["navigation", "resource"].flatMap(kind => performance.getEntriesByType(kind))
                .filter(one => one.initiatorType !== "fetch").map(one => [one.name, one.encodedBodySize])"""
        )
        assert len(sizes) == 3, "the page, its style sheet, its script"
        assert all(url.startswith(site.url) and size for url, size in sizes)
        assert sum(size for _, size in sizes) < FIRST_LOAD


def test_a_browser_asks_for_the_key_and_shows_it_with_all_it_sends(keyed: Site, opened: Opened) -> None:
    page = opened(keyed.url, http_credentials={"username": "ann", "password": keyed.key})
    expect(page.get_by_text("key of ann, scope read")).to_be_visible()
    expect(page.get_by_text("No runs yet")).to_be_visible()
    expect(page.locator("#as-of")).to_have_text(re.compile(r"As of \d\d:\d\d:\d\d$"))  # its script was let in
    assert serious(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_it(scheme: str, site: Site, failed: str, notebook_run: str, opened: Opened) -> None:
    running = site.submit("weekly", "slowly")
    site.wait(running, "running")
    page = opened("about:blank", color_scheme=scheme)
    for path in ("/", *(f"/ui/runs/{run_id}" for run_id in (running, failed, notebook_run)), "/ui/workers", "/ui/none"):
        page.goto(site.url + path)
        assert serious(page) == [], path
        if scheme == "light":  # the colours of a narrow page are the same
            page.set_viewport_size({"width": 320, "height": 640})
            page.evaluate("new Promise(requestAnimationFrame)")
            assert page.evaluate("document.documentElement.scrollWidth") == 320, path
            assert serious(page) == [], f"{path}, narrow"
            page.set_viewport_size({"width": 1280, "height": 900})
    site.ask("POST", f"/runs/{running}/cancel", {})


def test_the_keyboard_skips_to_what_the_page_is_about(site: Site, opened: Opened) -> None:
    page = opened(site.url)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to what this page is about")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")


def serious(page: Page) -> list[str]:
    """What axe-core finds that keeps somebody out."""
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found if one["impact"] in {"serious", "critical"}]
