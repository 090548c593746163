"""What a job makes is seen in Neuroglancer: image, nuclei, their meshes and their points."""

from __future__ import annotations

from pathlib import Path

import pytest

from chunkflow.people.service.local.viewer import start_server
from chunkflow.people.viewing.shown import layers_to_show
from tests.support.browser.viewer import SECTION, SPACE, Viewer, changed, grey, hues, near
from tests.support.jobs import make_job, run_job

SIZE = [96, 96, 48]
POINT = (255, 208, 96)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The work folder of a whole job over a small synthetic tissue."""
    folder = tmp_path_factory.mktemp("job")
    layers = {name: str(folder / name) for name in ("dapi", "nuclei", "cells")}
    tasks = [
        {"synthesize": {"dapi": "dapi", "size": SIZE, "density": 60_000}},
        {"segment": {"image": "dapi", "labels": "nuclei", "diameter": 9}},
        {"measure": {"labels": "nuclei", "images": ["dapi"], "objects": "objects"}},
        {"mesh": {"labels": "nuclei"}},
        {"downsample": {"layer": "dapi", "mips": 1}},
        {"annotate": {"objects": "objects", "annotations": "cells"}},
    ]
    job = make_job(folder, layers, tasks, storage=[32, 32, 16], chunk=[64, 64, 32])
    assert run_job(job) == "complete"
    return job.work


def test_a_job_is_seen(work: str, viewer: Viewer) -> None:
    layers, links = layers_to_show([work])
    assert set(layers) == {"dapi", "nuclei", "cells"}
    with start_server(layers, links=links) as server:
        state = server.state()
        viewer.failed.clear()
        nothing = viewer.show(server.base, state, only=())
        image = viewer.show(server.base, state, only=("dapi",))
        labels = viewer.show(server.base, state, only=("nuclei",))
        points = viewer.show(server.base, state, only=("cells",))

        assert grey(changed(image, nothing, SECTION)) > 5000
        assert hues(changed(labels, nothing, SECTION)) >= 2
        assert hues(changed(labels, nothing, SPACE)) >= 6
        assert near(changed(points, nothing, SPACE), POINT) > 200
        assert near(changed(points, nothing, SECTION), POINT, within=90) > 10
        assert viewer.failed == []
        viewer.open(server.url)
        viewer.page.screenshot(path=str(Path(work.removeprefix("file://")) / "neuroglancer.png"))
