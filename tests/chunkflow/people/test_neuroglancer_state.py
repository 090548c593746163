"""The state that shows layers together: what each layer's info and sample make of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import boto3
import numpy as np
import pytest
from cloudvolume import CloudVolume

from chunkflow.data.describe import layer_at
from chunkflow.errors import BadInput
from chunkflow.people.service.local.viewer import start_server, view
from chunkflow.people.viewing.looks import Shown, extent_of, look, owners_of, percentiles
from chunkflow.people.viewing.shown import layers_to_show, write_state
from chunkflow.people.viewing.state import build_state, colour_of
from chunkflow.words import free_name
from cli.data.view import tunnel
from testbed.moto import CREDENTIALS, moto_server


def write_layer(
    folder: Path, array: np.ndarray, kind: str = "image", offset: tuple[int, ...] = (5, 6, 7)
) -> str:
    info = CloudVolume.create_new_info(
        num_channels=1 if array.ndim == 3 else array.shape[3],
        layer_type=kind,
        data_type=str(array.dtype),
        encoding="raw",
        resolution=(227, 227, 1000),
        voxel_offset=offset,
        volume_size=array.shape[:3],
        chunk_size=(16, 16, 16),
    )
    volume = CloudVolume(f"file://{folder}", info=info, compress="", progress=False)
    volume.commit_info()
    volume[:, :, :] = array
    return str(folder)


def shown(name: str, kind: str, url: str = "", **info: object) -> Shown:
    return Shown(name, url or f"file:///data/{name}", kind, info)  # type: ignore[arg-type]


def test_an_image_gets_the_contrast_of_its_percentiles(tmp_path: Path) -> None:
    array = np.zeros((32, 32, 16), dtype=np.uint16)
    array[:] = np.arange(32 * 32 * 16).reshape(array.shape) % 1000 + 100
    layer = look("dapi", write_layer(tmp_path / "dapi", array))
    ((low, high),) = layer.contrast
    assert 100 <= low <= 115
    assert 1090 <= high <= 1099
    shader = build_state([layer], lambda layer: "http://x")["layers"][0]["shader"]
    assert f"range=[{int(low)}, {int(high)}]" in shader
    assert 'default="#ffffff"' in shader


def test_a_rare_signal_is_seen_and_a_constant_image_has_the_range_of_its_type(tmp_path: Path) -> None:
    rare = np.zeros((32, 32, 16), dtype=np.uint16)
    rare[3, 3, 3] = 777
    assert percentiles(rare) == (0, 777)
    assert percentiles(np.full((4, 4), np.nan, dtype=np.float32)) is None
    flat = look("flat", write_layer(tmp_path / "flat", np.full((8, 8, 8), 9, dtype=np.uint8)))
    assert flat.contrast == ((0, 255),)


def test_every_channel_has_a_contrast_and_a_colour_of_its_own(tmp_path: Path) -> None:
    array = np.zeros((8, 8, 8, 2), dtype=np.uint8)
    array[..., 0] = np.arange(8)[:, None, None]
    array[..., 1] = 10 * np.arange(8)[:, None, None]
    one = look("two-channels", write_layer(tmp_path / "two", array))
    other = look("third", write_layer(tmp_path / "third", array[..., 0]))
    layers = build_state([one, other], lambda layer: "http://x")["layers"]
    assert one.contrast == ((0, 7), (0, 70))
    assert "range=[0, 70], window=[0, 105], channel=[1]" in layers[0]["shader"]
    colours = {part[:7] for layer in layers for part in layer["shader"].split('default="')[1:]}
    assert len(colours) == 3


def test_segments_of_the_middle_are_chosen_largest_first(tmp_path: Path) -> None:
    array = np.zeros((16, 16, 16), dtype=np.uint64)
    array[:4], array[4:6], array[6] = 2**50, 7, 9
    layer = look("nuclei", write_layer(tmp_path / "nuclei", array, "segmentation"))
    state = build_state([layer], lambda layer: "http://x")
    assert state["layers"][0]["segments"] == [str(2**50), "7", "9"]


def test_the_view_is_in_the_middle_with_dimensions(tmp_path: Path) -> None:
    layer = look("dapi", write_layer(tmp_path / "dapi", np.ones((32, 20, 10), dtype=np.uint8)))
    state = build_state([layer], lambda layer: "http://x")
    assert state["dimensions"] == {"x": [2.27e-7, "m"], "y": [2.27e-7, "m"], "z": [1e-6, "m"]}
    assert state["position"] == [21.5, 16.5, 12.5]


def test_a_layer_that_lacks_its_voxels_is_shown_all_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "making"
    write_layer(folder, np.ones((16, 16, 16), dtype=np.uint16))
    for file in folder.glob("227*/*"):
        file.unlink()
    assert look("making", str(folder)).contrast == ((0, 65535),)


@pytest.mark.parametrize("content", [None, "not json", "[]", '{"@type": "something"}', "{}"])
def test_what_is_no_layer_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "info").write_text(content)
    with pytest.raises(BadInput, match=str(tmp_path)):
        look("x", str(tmp_path))


def test_meshes_and_annotations_find_their_segmentation() -> None:
    a, b = shown("a", "segmentation"), shown("b", "segmentation")
    inside = shown("m1", "mesh", "file:///data/b/mesh")
    loose, points = shown("m2", "mesh"), shown("points", "annotation")
    assert owners_of([a, loose, points], {}) == {"m2": "a", "points": "a"}
    assert owners_of([a, b, inside, loose, points], {}) == {"m1": "b"}
    assert owners_of([a, b, loose, points], {"m2": "a", "points": "file:///data/b"}) == {
        "m2": "a",
        "points": "b",
    }


def test_meshes_become_a_source_and_annotations_are_linked() -> None:
    scale = {"resolution": [1, 1, 1], "size": [9, 9, 9], "voxel_offset": [0, 0, 0]}
    nuclei = shown("nuclei", "segmentation", scales=[scale])
    points = shown("cells", "annotation", relationships=[{"id": "segment", "key": "by_segment"}])
    state = build_state([points, shown("mesh", "mesh"), nuclei], lambda layer: f"s3://x/{layer.name}")
    labels, cells = state["layers"]
    assert labels["source"] == ["precomputed://s3://x/nuclei", "precomputed://s3://x/mesh"]
    assert cells["linkedSegmentationLayer"] == {"segment": "nuclei"}


def test_meshes_alone_are_a_layer_of_their_own() -> None:
    (layer,) = build_state([shown("mesh", "mesh")], lambda layer: "s3://x")["layers"]
    assert (layer["type"], layer["source"]) == ("segmentation", "precomputed://s3://x")


def test_annotations_are_coloured_by_class_where_they_have_one() -> None:
    labels = ["Purkinje (L/2)", "glia", "neuron"]
    values = {"id": "class", "type": "uint8", "enum_values": [0, 1, 2], "enum_labels": labels}
    size = {"id": "size", "type": "float32"}
    live = {"id": "live", "type": "uint8", "enum_values": [0, 1], "enum_labels": ["no", "yes"]}
    controls, lines = colour_of({"properties": [size, live, values]})
    assert controls == [
        '#uicontrol vec3 class_Purkinje_L_2 color(default="#40c040")',
        '#uicontrol vec3 class_glia color(default="#4080ff")',
        '#uicontrol vec3 class_neuron color(default="#ff4040")',
    ]
    assert lines[2] == "if (prop_class() == 1u) colour = class_glia;"
    for info in ({"properties": [size, live]}, {"properties": [values], "color": "#00ff00"}):
        assert colour_of(info) == ([], ["vec3 colour = defaultColor();"])
    many = {**values, "enum_values": list(range(50)), "enum_labels": [f"region {n}" for n in range(50)]}
    assert colour_of({"properties": [many]})[1] == [
        "vec3 colour = colormapJet((float(prop_class()) - 0.0) / 49.0);"
    ]
    own = {"id": "shade", "type": "rgba"}
    assert colour_of({"properties": [values, own]})[1] == ["vec3 colour = vec3(prop_shade());"]


def test_annotations_have_the_colour_that_their_layer_is_given() -> None:
    scale = {"resolution": [1, 1, 1], "size": [9, 9, 9], "voxel_offset": [0, 0, 0]}
    layers = [
        shown("nuclei", "segmentation", scales=[scale]),
        shown("neurons", "annotation", color="#ff0000", annotation_type="POINT"),
        shown("glia", "annotation", color="#0000ff", annotation_type="ELLIPSOID"),
        shown("cells", "annotation"),
    ]
    _, *made = build_state(layers, lambda layer: "s3://x")["layers"]
    assert [layer["annotationColor"] for layer in made] == ["#ff0000", "#0000ff", "#ffd060"]
    assert ["size" in layer["shader"] for layer in made] == [True, False, True]


def test_annotations_alone_give_the_view() -> None:
    dimensions = {"x": [4e-7, "m"], "y": [4e-7, "m"], "z": [1, "um"]}
    points = shown("p", "annotation", dimensions=dimensions, lower_bound=[0, 0, 10], upper_bound=[8, 8, 30])
    extent = extent_of([points])
    assert extent.voxel_size == pytest.approx([400, 400, 1000])
    assert list(extent.stop) == [8, 8, 30]


def test_layers_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for run in ("one", "two"):
        write_layer(tmp_path / run / "dapi", np.ones((8, 8, 8), dtype=np.uint8))
    layers, _ = layers_to_show([str(tmp_path / "one" / "dapi"), str(tmp_path / "two" / "dapi")])
    assert layers == {"dapi": f"file://{tmp_path}/one/dapi", "dapi-2": f"file://{tmp_path}/two/dapi"}
    assert free_name("a", {"a": "", "a-2": ""}) == "a-3"


def test_a_folder_that_is_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"is no layer.*no job has run"):
        layers_to_show([str(tmp_path / "nothing")])


def test_a_local_layer_is_no_use_to_a_neuroglancer_elsewhere(tmp_path: Path) -> None:
    local = write_layer(tmp_path / "dapi", np.ones((8, 8, 8), dtype=np.uint8))
    with pytest.raises(BadInput, match="cannot read"):
        write_state({"dapi": local}, tmp_path / "state.json")


def test_the_state_has_the_addresses_of_the_server(tmp_path: Path) -> None:
    local = write_layer(tmp_path / "dapi", np.ones((8, 8, 8), dtype=np.uint8))
    with start_server({"dapi": local}) as server:
        (layer,) = json.loads(json.dumps(server.state()))["layers"]
    assert layer["source"] == f"precomputed://{server.base}/data/dapi"


def test_a_viewer_is_a_frame_with_its_layers_until_it_is_closed(tmp_path: Path) -> None:
    one, two = (write_layer(tmp_path / name, np.ones((8, 8, 8), dtype=np.uint8)) for name in ("a", "b"))
    info = layer_at(f"file://{two}")
    with view(Path(one), info) as viewer, view(one) as other:
        assert [layer["name"] for layer in viewer.state()["layers"]] == ["a", "b"]
        assert [layer["name"] for layer in other.state()["layers"]] == ["a"]
        found = re.search(r'<iframe src="([^"]+)"', viewer._repr_html_())
        assert found is not None
        assert found[1] == viewer.url
        assert viewer.url in repr(viewer)
        with urlopen(f"{viewer.url}d/view/state.json") as answer:
            assert json.load(answer) == viewer.state()
        with pytest.raises(BadInput, match="cannot read"):
            viewer.write_state(tmp_path / "state.json")
    with pytest.raises(URLError):
        urlopen(viewer.url)


def test_the_tunnel_is_told_over_ssh_only() -> None:
    assert tunnel(8080, {}) is None
    ssh = {"SSH_CONNECTION": "10.0.0.9 51000 10.0.0.5 22", "USER": "ada"}
    assert tunnel(8080, ssh) == "ssh -N -L 8080:127.0.0.1:8080 ada@10.0.0.5"
    other = {"SSH_CONNECTION": "10.0.0.9 51000 10.0.0.5 2222"}
    assert tunnel(8080, other) == "ssh -N -L 8080:127.0.0.1:8080 -p 2222 10.0.0.5"


def test_a_layer_in_a_bucket_is_written_with_its_own_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with moto_server() as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        boto3.client("s3", endpoint_url=address).create_bucket(Bucket="viewed")
        array = np.arange(512, dtype=np.uint16).reshape(8, 8, 8)
        url = "s3://viewed/rat/dapi"
        CloudVolume.from_numpy(array, url, (400, 400, 400), layer_type="image", progress=False)
        write_state({"dapi": url}, tmp_path / "state.json")
    (layer,) = json.loads((tmp_path / "state.json").read_text())["layers"]
    assert layer["source"] == "precomputed://s3://viewed/rat/dapi"
    assert "range=[5, 510]" in layer["shader"]
