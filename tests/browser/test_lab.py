"""A lab's service in a real browser: logging in, the catalogue, kept views, links, pages of others."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Page, TimeoutError

from chunkflow.people.service.review.streams import MADE_ANEW
from tests.support.browser.viewer import LOADED, Viewer
from tests.support.people.lab import Lab, lab_service
from tests.support.people.review_page import press
from tests.support.people.reviews import job_to_review

API = "/api/review/cells/classified"
REVIEWED = "window.review && window.review.current && window.review.loaded"
PLACE = [12.5, 34.5, 7.5]
HOSTILE = """<iframe name="inside"></iframe>
<form id="f" method="post" action="{url}logout" target="inside"></form>
<script>
const ask = (path, method) =>
  fetch("{url}" + path, {{method, credentials: "include", mode: "no-cors", body: "{{}}"}}).catch(() => 0);
window.tried = ask("d/cells/view", "PUT").then(() => ask("d/cells/links", "POST")).then(() => 1);
</script>"""


class SilentHandler(SimpleHTTPRequestHandler):
    """Files by their names, without a word."""

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab_service(tmp_path_factory.mktemp("lab"), processes=2) as lab:
        yield lab


def logged_in(viewer: Viewer, lab: Lab, person: str, path: str = "") -> Page:
    """A window of a person's own browser, which has just logged in and gone where it wanted."""
    browser = viewer.page.context.browser
    assert browser is not None
    window = browser.new_context(viewport={"width": 1000, "height": 800}).new_page()
    window.goto(lab.service.url + path)
    assert "/login?next=" in window.url
    window.fill("#token", lab.tokens[person])
    window.click("button")
    window.wait_for_url(lambda url: url.partition("#")[0] == lab.service.url + path)  # behind # is the view
    return window


def wait_for_viewer(window: Page) -> None:
    for _ in range(5):
        try:
            window.wait_for_function(f"{LOADED} && window.kept", timeout=20_000)
            return
        except TimeoutError:  # the client now and then stands still on a busy machine
            window.reload()
    raise AssertionError("the viewer did not become ready")


def position(window: Page) -> list[float]:
    return list(window.evaluate("Array.from(viewer.navigationState.position.value)"))


def test_a_person_logs_in_and_finds_the_view_that_was_left(viewer: Viewer, lab: Lab) -> None:
    window = logged_in(viewer, lab, "lena")
    assert window.title() == "Data sets"
    assert window.text_content("h2") == "Cells <of> rat 7"
    image = "document.querySelector('.picture img')"
    assert window.evaluate(f"{image}.decode().then(() => {image}.naturalWidth)") == 320
    window.click("h2 a")
    wait_for_viewer(window)
    window.evaluate(f"viewer.navigationState.position.value = Float32Array.from({PLACE})")
    kept = (
        "fetch('/d/cells/state.json').then((answer) => answer.json()).then((state) => String(state.position))"
    )
    window.wait_for_function(f"{kept}.then((place) => place === '{','.join(map(str, PLACE))}')")
    window.click("text=All data sets")
    window.click("h2 a")
    wait_for_viewer(window)
    assert position(window) == PLACE
    window.click("text=Link to this view")
    window.wait_for_function("document.getElementById('said').textContent.includes('/s/')")
    link = str(window.text_content("#said")).split()[0]
    assert link.startswith(f"{lab.service.url}s/")
    window.context.close()
    other = logged_in(viewer, lab, "rob")
    other.goto(link)
    wait_for_viewer(other)
    assert position(other) == PLACE
    other.click("text=All data sets")
    other.click("text=Log out")
    other.wait_for_url(f"{lab.service.url}login")
    other.goto(lab.service.url)
    assert "/login" in other.url
    other.context.close()


def test_a_reviewer_decides_under_their_own_name(viewer: Viewer, lab: Lab) -> None:
    window = logged_in(viewer, lab, "rob")
    window.click("a[href$='review/classified']")
    window.wait_for_function(REVIEWED, timeout=60_000)
    id = window.evaluate("review.current.id")
    window.keyboard.press("d")
    window.wait_for_function("review.outbox.waiting().length === 0 && !review.outbox.sending")
    found = lab.ask(f"{API}/objects/{id}", "olga").document
    assert (found["status"], found["person"]) == ("rejected", "rob")
    window.context.close()


def test_a_page_is_told_that_its_table_was_made_anew_and_decides_no_more(
    viewer: Viewer, tmp_path: Path
) -> None:
    with lab_service(tmp_path) as lab:
        window = logged_in(viewer, lab, "rob", "d/cells/review/classified/v/review/")
        window.set_default_timeout(60_000)
        window.wait_for_function(REVIEWED)
        known = window.evaluate("review.table.generation")
        press(window, "d")
        for name in ("work", "dapi", "nuclei", "cells"):
            shutil.rmtree(tmp_path / name)
        job_to_review(tmp_path, seed=5)
        window.wait_for_function(f"document.getElementById('message').textContent === `{MADE_ANEW}`")
        window.keyboard.press("d")
        assert window.locator("#message").inner_text() == MADE_ANEW
        assert window.evaluate("review.outbox.waiting()") == []
        window.evaluate("review.panel.message('')")
        window.evaluate("review.edit({ operation: 'reject', object: review.current.id })")
        window.wait_for_function(f"document.getElementById('message').textContent === `{MADE_ANEW}`")
        counts = lab.ask(f"{API}/table", "rob").document["counts"]
        assert (counts["accepted"], counts["rejected"]) == (0, 0)
        window.reload()
        window.wait_for_function(REVIEWED)
        assert window.evaluate("review.table.generation") != known
        press(window, "d")
        assert lab.ask(f"{API}/table", "rob").document["counts"]["rejected"] == 1
        window.context.close()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_page_of_another_origin_changes_nothing(
    viewer: Viewer, lab: Lab, tmp_path: Path, host: str
) -> None:
    """localhost is another site, to which no cookie goes; another port of 127.0.0.1 gets it."""
    (tmp_path / "page.html").write_text(HOSTILE.format(url=lab.service.url))
    before = lab.ask("/d/cells/state.json", "olga").document
    window = logged_in(viewer, lab, "olga")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SilentHandler, directory=tmp_path)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        asked: list[tuple[str, int]] = []
        window.on("response", lambda answer: asked.append((answer.request.method, answer.status)))
        window.goto(f"http://{host}:{server.server_address[1]}/page.html")
        assert window.evaluate("window.tried") == 1
        with window.expect_response(f"{lab.service.url}logout"):
            window.evaluate("document.getElementById('f').submit()")
        server.shutdown()
    assert {method for method, status in asked if status in (401, 403)} == {"POST"}
    assert not [answer for answer in asked if answer[0] != "GET" and answer[1] not in (401, 403)]
    window.goto(lab.service.url)
    assert window.title() == "Data sets"
    assert lab.ask("/d/cells/state.json", "olga").document == before
    window.context.close()
