"""Layers are seen in Neuroglancer: image, labels, meshes and points, from our server and from a plain one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chunkflow.people.service.local.viewer import start_server
from chunkflow.people.viewing.looks import look
from chunkflow.people.viewing.state import build_state
from tests.support.browser.pages import POINT, plain_server
from tests.support.browser.scene import CENTRES
from tests.support.browser.viewer import SECTION, SPACE, Viewer, changed, grey, hues, near
from tests.support.jobs import make_job, run_job


def assert_each_layer_is_seen(viewer: Viewer, base: str, state: dict[str, Any]) -> None:
    viewer.failed.clear()
    nothing = viewer.show(base, state, only=())
    image = viewer.show(base, state, only=("image",))
    labels = viewer.show(base, state, only=("nuclei",))
    points = viewer.show(base, state, only=("cells",))

    assert grey(changed(image, nothing, SECTION)) > 5000
    assert len(changed(image, nothing, SPACE)) == 0
    assert hues(changed(labels, nothing, SECTION)) == 1  # one ball lies in the middle plane
    assert hues(changed(labels, nothing, SPACE)) >= 3  # four meshes, of which two may have about one hue
    assert near(changed(points, nothing, SECTION), POINT) > 10
    assert near(changed(points, nothing, SPACE), POINT) > 10 * len(CENTRES)
    assert viewer.failed == []


def test_each_layer_is_seen_from_our_server(viewer: Viewer, scene: dict[str, str]) -> None:
    with start_server(scene) as server:
        assert_each_layer_is_seen(viewer, server.base, server.state())


def test_each_layer_is_seen_from_a_plain_static_server(viewer: Viewer, scene: dict[str, str]) -> None:
    folder = Path(scene["image"].removeprefix("file://")).parent
    with start_server(scene) as client, plain_server(folder) as address:
        shown = [look(name, url) for name, url in scene.items()]
        state = build_state(shown, lambda layer: f"{address}/{layer.name}")
        assert_each_layer_is_seen(viewer, client.base, state)


def test_the_link_opens_on_all_layers(viewer: Viewer, scene: dict[str, str]) -> None:
    with start_server(scene) as server:
        viewer.failed.clear()
        picture = viewer.open(server.url)
        nothing = viewer.show(server.base, server.state(), only=())
        assert hues(changed(picture, nothing, SPACE)) >= 3
        assert grey(changed(picture, nothing, SECTION)) > 5000
        assert viewer.failed == []


def test_each_level_of_detail_is_seen(viewer: Viewer, scene: dict[str, str], tmp_path: Path) -> None:
    layers = {"nuclei": scene["nuclei"]} | {name: str(tmp_path / name) for name in ("multires", "legacy")}
    viewer.failed.clear()
    asked: list[str] = []
    viewer.page.on("response", lambda answer: asked.append(answer.headers.get("content-range", "")))
    seen: dict[tuple[str, int], np.ndarray] = {}
    read: list[int] = []
    for name, details in (("legacy", [1]), ("multires", [1, 12, 40])):
        mesh = {"labels": "nuclei", "meshes": name, "block": [16, 16, 16], "format": name}
        job = make_job(tmp_path / name / "job", layers, [{"mesh": mesh}], chunk=[64] * 3, storage=[64] * 3)
        assert run_job(job) == "complete"
        with start_server({"nuclei": layers["nuclei"], name: f"file://{layers[name]}"}) as server:
            state = server.state()
            nothing = viewer.show(server.base, state, only=())
            for detail in details:  # in pixels: from the finest level to the coarsest
                at = state | {"layers": [{**layer, "meshRenderScale": detail} for layer in state["layers"]]}
                asked.clear()
                picture = viewer.show(server.base, at, only=("nuclei",))
                seen[name, detail] = (np.abs(picture - nothing)[SPACE] > 12).any(axis=2)
                read.append(sum(size_of(entry) for entry in asked))
    assert viewer.failed == []
    there = seen["legacy", 1]
    assert there.sum() > 1000
    for detail, least in ((1, 0.97), (12, 0.9), (40, 0.7)):
        found = seen["multires", detail]
        assert (found & there).sum() > least * (found | there).sum(), detail
    assert read[1] > 2 * read[3] > 0  # what is coarse takes less reading


def size_of(content_range: str) -> int:
    """Bytes of a partial answer: those of "bytes 0-99/1000" are 100."""
    first, _, last = content_range.removeprefix("bytes ").partition("/")[0].partition("-")
    return int(last) - int(first) + 1 if last else 0


def test_sharded_layers_and_segment_properties_are_seen(
    viewer: Viewer, scene: dict[str, str], tmp_path: Path
) -> None:
    """A shard is the picture of its storage chunks, and what a table says of segments is with them."""
    layers: dict[str, Any] = {"image": scene["image"], "nuclei": scene["nuclei"]}
    layers["grey"] = {"url": str(tmp_path / "grey"), "sharded": True}
    layers["balls"] = {"url": str(tmp_path / "balls"), "sharded": True, "encoding": "compressed_segmentation"}
    tasks = [
        {"copy": {"source": "image", "target": "grey"}},
        {"copy": {"source": "nuclei", "target": "balls"}},
        {"measure": {"labels": "balls", "images": ["grey"]}},
        {"coincide": {"objects": "objects", "channels": {"grey": 1260}}},
        {"tag": {"objects": "combined", "labels": "balls", "properties": ["grey_positive", "volume_um3"]}},
    ]
    job = make_job(tmp_path / "job", layers, tasks, chunk=[64] * 3, storage=[8] * 3)
    assert run_job(job) == "complete"
    pictures = {}
    for names in (("image", "nuclei"), ("grey", "balls")):
        served = {name: scene.get(name, f"file://{tmp_path / name}") for name in names}
        with start_server(served) as server:
            viewer.failed.clear()
            state = server.state()
            pictures[names] = [viewer.show(server.base, state, only=(name,))[SECTION] for name in names]
            if "balls" in names:
                known = viewer.page.evaluate(PROPERTIES, "balls")
            assert viewer.failed == []
    for plain, sharded in zip(*pictures.values(), strict=True):
        assert np.abs(plain - sharded).max() <= 2
    assert known["ids"] == 4
    assert known["tags"] == ["grey_positive"]
    assert known["numbers"] == ["volume_um3"]


PROPERTIES = """name => {
  const layer = viewer.layerManager.getLayerByName(name).layer;
  const map = layer.displayState.segmentationGroupState.value.segmentPropertyMap.value;
  return {ids: map.segmentPropertyMap.inlineProperties.ids.length, tags: map.tags.tags,
          numbers: map.numericalProperties.map(property => property.id)};
}"""
