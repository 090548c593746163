"""A lab's service: its catalogue, kept views, tables; its processes; what it refuses to serve."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import pytest
from PIL import Image

from chunkflow.errors import BadInput, StorageError
from chunkflow.people.accounts.accounts import Accounts
from chunkflow.people.service.catalogue.catalogues import LabCatalogue
from chunkflow.people.service.catalogue.places import find_places
from chunkflow.people.service.lab import metrics
from chunkflow.people.service.lab.serve import serve
from tests.support.people.lab import Lab, ask_at

pytestmark = pytest.mark.xdist_group("lab")
SECONDS = 60


def kept(lab: Lab, person: str, path: str = "state.json") -> Any:
    return lab.ask(f"/d/cells/{path}", person).document


def test_the_catalogue_says_what_is_there(lab: Lab) -> None:
    page = lab.ask("/", "olga").content.decode()
    for said in (
        "Cells &lt;of&gt; rat 7",
        "128 × 128 × 96 µm (128 × 128 × 48 voxels of 1 × 1 × 2 µm)",
        "complete, ",
        '/d/cells/review/classified">Review',
        '/d/cells/tables/classified.csv">CSV',
        '/d/cells/report/report.html">Report',
        'id="dapi"',
    ):
        assert said in page, said
    looker = lab.ask("/", "lena").content.decode()
    assert "Review</a>" not in looker
    assert 'id="dapi"' not in looker


def test_progress_is_counted_by_person(lab: Lab) -> None:
    for _ in range(2):
        id = lab.object_id()
        edit = {"key": f"progress-{id}", "operation": "class", "object": id, "seen": None, "class": "glia"}
        place = "/api/review/cells/classified/edits"
        assert lab.ask(place, "rob", "POST", json.dumps(edit).encode()).status == 200
    counts = lab.ask("/api/review/cells/classified/table", "rob").document["counts"]
    decided = counts["accepted"] + counts["rejected"]
    page = lab.ask("/", "olga").content.decode()
    assert f"{decided} of {counts['objects']} decided (rob {decided})" in page


def test_a_picture_shows_each_data_set(lab: Lab) -> None:
    for name in ("cells", "dapi"):
        picture = Image.open(io.BytesIO(lab.ask(f"/d/{name}/thumbnail.png", "olga").content))
        assert picture.size == (320, 320)
        low, high = picture.convert("L").getextrema()
        assert low < 40 < 200 < high


def test_a_table_comes_as_csv(lab: Lab) -> None:
    answer = lab.ask("/d/cells/tables/classified.csv", "lena")
    assert answer.headers["content-disposition"] == 'attachment; filename="cells-classified.csv"'
    rows = pd.read_csv(io.BytesIO(answer.content))
    assert {"id", "x", "y", "z", "class"} <= set(rows.columns)
    assert len(rows) == lab.ask("/api/review/cells/classified/table", "rob").document["counts"]["objects"]
    assert lab.ask("/d/cells/tables/nothing.csv", "lena").status == 404


@pytest.mark.parametrize(
    "path", ["job.yaml", "ledger/000000001", "reports/../ledger/0", "reports/%2e%2e/log", "review.sqlite"]
)
def test_nothing_but_the_report_of_a_work_folder_is_shown(lab: Lab, path: str) -> None:
    assert lab.ask(f"/d/cells/report/{path}", "olga").status == 404


def test_a_view_is_kept_for_each_person(lab: Lab) -> None:
    fresh = kept(lab, "olga", "state.json?fresh")
    changed = fresh | {"position": [1.5, 2.5, 3.5]}
    changed["layers"] = [layer for layer in fresh["layers"] if layer["name"] != "nuclei"]
    assert lab.ask("/d/cells/view", "olga", "PUT", json.dumps(changed).encode()).status == 204
    assert kept(lab, "olga") == changed
    assert kept(lab, "olga", "state.json?fresh") == fresh
    assert kept(lab, "rob")["position"] == fresh["position"]
    port = urlsplit(lab.service.url).port
    elsewhere = lab.ask("/d/cells/state.json", "olga", headers={"Host": f"localhost:{port}"}).document
    assert f"http://localhost:{port}/d/cells/data/dapi" in json.dumps(elsewhere)
    assert "127.0.0.1" not in json.dumps(elsewhere)


def test_a_layer_that_came_later_joins_a_kept_view(lab: Lab) -> None:
    from chunkflow.people.service.lab.views import KNOWN, restored

    fresh = {"layers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}
    text = json.dumps({"layers": [{"name": "a"}], KNOWN: ["a", "b"]})
    assert restored(text, "", fresh) == {"layers": [{"name": "a"}, {"name": "c"}]}
    assert restored(text, "", fresh, add_layers=False) == {"layers": [{"name": "a"}]}


def test_a_short_link_opens_for_whoever_may_see_the_data_set(lab: Lab) -> None:
    state = kept(lab, "rob", "state.json?fresh") | {"position": [9.5, 8.5, 7.5]}
    made = lab.ask("/d/cells/links", "rob", "POST", json.dumps(state).encode()).document
    assert made["url"] == f"{lab.service.url}s/{made['id']}"
    again = lab.ask("/d/cells/links", "lena", "POST", json.dumps(state).encode()).document
    assert again == made
    answer = lab.ask(f"/s/{made['id']}", "lena")
    assert answer.headers["location"] == f"/d/cells/v/{made['id']}/?link={made['id']}"
    assert kept(lab, "lena", f"state.json?link={made['id']}") == state
    assert lab.ask(f"/s/{made['id']}", "sam").status == 404
    assert lab.ask(f"/d/dapi/state.json?link={made['id']}", "olga").status == 404
    assert lab.ask("/s/aaaaaaaaaa", "olga").status == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[]", 400),
        (b"{", 400),
        (b'{"a": NaN}', 400),
        (b"{" * 100_000, 400),
        (b'{"a": "' + b"x" * 2**20 + b'"}', 413),
    ],
)
def test_what_is_no_view_is_refused(lab: Lab, body: bytes, status: int) -> None:
    for place, method in (("/d/cells/view", "PUT"), ("/d/cells/links", "POST")):
        answer = lab.ask(place, "olga", method, body)
        assert answer.status == status
        assert answer.document["error"].endswith(".")


def test_metrics_count_what_was_answered(lab: Lab) -> None:
    lab.ask("/d/cells/data/dapi/info", "lena")
    lines = lab.ask("/metrics", "olga").content.decode().splitlines()
    counts = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line[0] != "#"}
    assert counts['chunkflow_service_requests_total{kind="data",status="200"}'] >= 1
    assert counts['chunkflow_service_request_seconds_total{kind="data"}'] > 0
    assert counts['chunkflow_service_open_requests{kind="metrics"}'] == 1
    assert counts["chunkflow_service_cache_bytes"] == counts["chunkflow_service_cache_misses_total"] == 0


def test_too_many_streams_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MOST_STREAMS", 3)
    said: list[int] = []
    inside: list[int] = []

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        inside.append(len(inside))
        if len(inside) < 6:
            await endpoint({}, receive, send)

    async def send(message: Any) -> None:
        said.extend([message["status"]] if "status" in message else [])

    counts = metrics.ServiceMetrics()
    endpoint = metrics.CountedEndpoint(stream, metrics.STREAM, counts)
    asyncio.run(endpoint({}, None, send))  # type: ignore[arg-type]
    assert (len(inside), said, counts.open[metrics.STREAM]) == (3, [503], 0)


def test_a_process_that_dies_is_begun_again(lab: Lab, tmp_path: Path) -> None:
    with serve(lab.folder / "dapi", port=0, processes=2, database=tmp_path / "lab.sqlite") as service:
        before = service.process_ids
        for number in before:
            os.kill(number, signal.SIGKILL)
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            time.sleep(0.2)
            if set(before).isdisjoint(service.process_ids) and answers(service.url):
                break
        assert set(before).isdisjoint(service.process_ids)
        assert ask_at(service.url, "/", "GET", None, {}).status == 200
        ended = service.process_ids
    for number in ended:
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)


def answers(url: str) -> bool:
    try:
        return ask_at(url, "/health", "GET", None, {}).status == 200
    except OSError:
        return False


def test_without_accounts_it_is_for_this_machine_alone(lab: Lab, tmp_path: Path) -> None:
    given = {"database": tmp_path / "none.sqlite", "port": 0}
    for elsewhere in ({"host": "0.0.0.0"}, {"behind_proxy": True}):
        with pytest.raises(BadInput, match="make accounts first"):
            serve(lab.folder / "dapi", **given, **elsewhere)
    with pytest.raises(BadInput, match="login proxy"):
        serve(lab.folder / "dapi", **given, user_header="X-Forwarded-User")
    with pytest.raises(BadInput, match="no address of a proxy"):
        serve(lab.folder / "dapi", **given, proxies=["everybody"])


def test_a_port_that_is_taken_is_said(lab: Lab, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(BadInput, match="cannot be used"):
            serve(lab.folder / "dapi", port=taken.getsockname()[1], database=tmp_path / "lab.sqlite")


def test_places_are_found_in_folders_and_files(lab: Lab, tmp_path: Path) -> None:
    assert set(find_places([str(lab.folder)])) == {"cells", "dapi", "nuclei", "work"}
    assert set(find_places([str(lab.folder / "catalog.yaml")])) == {"cells", "dapi"}
    other = tmp_path / "dapi"
    other.mkdir()
    (other / "info").write_text("{}")
    with pytest.raises(BadInput, match="would both be named dapi"):
        find_places([str(lab.folder / "dapi"), str(other)])
    with pytest.raises(BadInput, match="no work folder, no layer"):
        find_places([str(tmp_path / "nothing")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="There is no work folder and no layer"):
        find_places([str(tmp_path / "empty")])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("datasets: {a: {}}", "must have a work folder"),
        ("datasets: {a: {work: x, layer: y}}", "must have a work folder"),
        ("datasets: {'a/b': {work: x}}", "letters, digits"),
        ("datasets: {a: {wrok: x}}", "wrok"),
        ("datasets: []", "datasets"),
        ("a: [", "not YAML"),
    ],
)
def test_a_catalogue_that_is_wrong_says_where(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "catalog.yaml"
    file.write_text(text)
    with pytest.raises(BadInput, match=said):
        find_places([str(file)])


def test_a_data_set_that_vanishes_says_so_and_others_stay(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "catalog.yaml"
    gone = tmp_path / "gone"
    gone.symlink_to(lab.folder / "dapi")
    places = {"gone": {"layer": str(gone)}, "dapi": {"layer": str(lab.folder / "dapi")}}
    file.write_text(json.dumps({"datasets": places}))
    database = tmp_path / "lab.sqlite"
    Accounts.open(database).close()
    catalogue = LabCatalogue([str(file)])
    gone.unlink()
    with pytest.raises(StorageError, match="gone"):
        catalogue.dataset("gone")
    assert catalogue.dataset("dapi") is not None
    assert catalogue.dataset("other") is None
