"""Each kind of layer has the fields that mean something for it, and what older versions wrote still loads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from chunkflow.chunk import Chunk
from chunkflow.data.describe import layer_at, table_at
from chunkflow.data.info import (
    ChannelContent,
    FolderInfo,
    ImageInfo,
    LabelsInfo,
    LayerInfo,
    SpaceInfo,
    TableInfo,
    labels_of,
    parse_info,
    table_of,
    voxels_of,
)
from chunkflow.data.volume import layer_document
from chunkflow.engine.planning.plan import plan_of_spec, spec_of
from chunkflow.engine.planning.spec import PlanSpec
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Grid
from chunkflow.jobs.planned import open_plan
from chunkflow.modules import Modules
from chunkflow.task import Image, Layout, Out, Task
from tests.support.jobs import make_job, make_layer

VOLUME = Box((1, 2, 3), (101, 82, 63))
ONES = np.ones((16, 16, 16), np.uint32)
PART = Box((1, 2, 3), (65, 66, 35))
VOXEL_SIZE = (16.0, 16.0, 40.0)
FORMER = {
    "url": "file:///data/x",
    "bounds": {"start": [1, 2, 3], "stop": [65, 66, 35]},
    "volume": {"start": [1, 2, 3], "stop": [101, 82, 63]},
    "voxel_size": [16.0, 16.0, 40.0],
    "dtype": "uint32",
    "channels": 1,
    "mip": 1,
    "encoding": "raw",
    "storage": [32, 32, 16],
    "sharded": True,
    "connected": True,
    "labels": "file:///data/labels",
    "cell": [64, 64, 32],
}
"""A description as it was written before each kind had a class of its own, with all fields."""
PLACE = {"url": "file:///data/x", "bounds": PART, "volume": VOLUME, "voxel_size": VOXEL_SIZE}
VOXELS = {**PLACE, "mip": 1, "dtype": "uint32", "storage": (32, 32, 16), "sharded": True}
EACH: dict[str, SpaceInfo] = {
    "image": ImageInfo(**VOXELS),
    "segmentation": LabelsInfo(**VOXELS, connected=True),
    "table": TableInfo(**PLACE, labels="file:///data/labels", connected=True, cell=(64, 64, 32)),
    "folder": FolderInfo(**PLACE, labels="file:///data/labels"),
}


@pytest.mark.parametrize("kind", EACH)
def test_what_older_versions_wrote_is_read(kind: str) -> None:
    assert parse_info({**FORMER, "kind": kind}) == EACH[kind]


@pytest.mark.parametrize("kind", EACH)
def test_a_description_is_read_as_it_was_written(kind: str) -> None:
    document = json.loads(json.dumps(EACH[kind].model_dump(mode="json")))
    assert document["kind"] == kind
    assert parse_info(document) == EACH[kind]


@pytest.mark.parametrize("kind", EACH)
def test_a_model_with_a_description_reads_both_forms(kind: str) -> None:
    class Record(BaseModel):
        info: LayerInfo

    for document in ({**FORMER, "kind": kind}, EACH[kind].model_dump(mode="json")):
        assert Record.model_validate({"info": document}).info == EACH[kind]


@pytest.mark.parametrize("kind", EACH)
def test_what_no_version_wrote_is_refused(kind: str) -> None:
    with pytest.raises(ValidationError, match="colour"):
        parse_info({**FORMER, "kind": kind, "colour": "red"})
    with pytest.raises(ValidationError):
        parse_info({**FORMER, "kind": "skeleton"})


@pytest.mark.parametrize(
    ("made", "fields"),
    [
        (ImageInfo, {"connected": True}),
        (ImageInfo, {"labels": "file:///labels"}),
        (LabelsInfo, {"cell": (64, 64, 64)}),
        (LabelsInfo, {"labels": "file:///labels"}),
        (TableInfo, {"dtype": "uint8"}),
        (TableInfo, {"mip": 1}),
        (TableInfo, {"storage": (64, 64, 64)}),
        (FolderInfo, {"connected": True}),
        (FolderInfo, {"cell": (64, 64, 64)}),
        (FolderInfo, {"encoding": "raw"}),
        (ImageInfo, {"kind": "segmentation"}),
    ],
)
def test_each_kind_refuses_the_fields_of_others(made: type[SpaceInfo], fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(fields))):
        made(**PLACE, **fields)


def test_a_table_of_an_older_version_is_opened(tmp_path: Path) -> None:
    document = {"@type": "chunkflow_table", "table": {**FORMER, "kind": "table"}}
    (tmp_path / "info").write_text(json.dumps(document))
    found = table_at(f"file://{tmp_path}")
    assert found == EACH["table"].model_copy(update={"url": f"file://{tmp_path}"})
    assert found.grid == Grid(PART, (64, 64, 32), VOLUME.start)
    document["table"] = {**FORMER, "kind": "image"}
    (tmp_path / "info").write_text(json.dumps(document))
    with pytest.raises(BadInput, match="no table of chunkflow"):
        table_at(f"file://{tmp_path}")


def test_a_plan_of_an_older_version_is_opened(tmp_path: Path) -> None:
    labels = make_layer(tmp_path / "labels", ONES, "segmentation")
    tasks = [{"measure": {"labels": "labels", "objects": "objects"}}]
    plan = open_plan(make_job(tmp_path, {"labels": labels}, tasks, chunk=[16, 16, 16], storage=[16, 16, 16]))
    spec = spec_of(plan).model_dump(mode="json")
    assert "cell" not in spec["layers"][0]["info"]
    spec["layers"][0]["info"] |= {"labels": "", "cell": None}
    assert plan_of_spec(PlanSpec.model_validate(spec), Modules()).products == plan.products


def test_what_is_made_over_the_same_space_is_of_the_same_objects() -> None:
    labels = EACH["segmentation"]
    for made in (labels.as_table((8, 8, 8)), labels.as_folder(), labels.as_table().as_folder()):
        assert (made.volume, made.bounds, made.voxel_size) == (VOLUME, VOLUME, VOXEL_SIZE)
        assert made.labels == labels.url
    assert labels.as_table((8, 8, 8)).cell == (8, 8, 8)
    assert EACH["image"].as_table().labels == ""
    assert EACH["table"].as_table() == TableInfo(
        volume=VOLUME, voxel_size=VOXEL_SIZE, labels="file:///data/labels"
    )


def test_an_image_of_voxels_is_like_them_unless_told() -> None:
    image = ImageInfo(volume=VOLUME, voxel_size=VOXEL_SIZE, dtype="uint16", channels=2, encoding="crackle")
    assert image.as_image() == image.model_copy(update={"encoding": "raw"})
    assert (image.as_image("float32").dtype, image.as_image("float32").channels) == ("float32", 2)
    assert image.as_image("float32", 3).channels == 3
    assert (EACH["table"].as_image().dtype, EACH["table"].as_image().channels) == ("uint8", 1)
    assert (image.as_labels().dtype, image.as_labels().channels) == ("uint64", 1)


def test_what_channels_hold_is_read_with_a_threshold_and_without(tmp_path: Path) -> None:
    """Older layers and ledgers know of no threshold."""
    contents = (
        ChannelContent(name="cell", kind="probability", threshold=0.3),
        ChannelContent(name="left", kind="affinity", offset=(-1, 0, 0)),
    )
    former = [
        {"name": "cell", "kind": "probability"},
        {"name": "left", "kind": "affinity", "offset": [-1, 0, 0]},
    ]
    image = ImageInfo(volume=PART, voxel_size=VOXEL_SIZE, channels=2, contents=contents)
    document = layer_document([image])
    (tmp_path / "info").write_text(json.dumps(document))
    read = layer_at(f"file://{tmp_path}")
    assert isinstance(read, ImageInfo)
    assert read.contents == parse_info(image.model_dump(mode="json")).contents == contents
    (tmp_path / "info").write_text(json.dumps(document | {"contents": former}))
    read = layer_at(f"file://{tmp_path}")
    assert isinstance(read, ImageInfo)
    assert [(c.name, c.offset, c.threshold) for c in read.contents] == [
        ("cell", None, None),
        ("left", (-1, 0, 0), None),
    ]


def test_labels_over_another_space_are_not_known_to_be_connected() -> None:
    labels = LabelsInfo(volume=VOLUME, voxel_size=VOXEL_SIZE, connected=True)
    assert labels.over(VOLUME) == labels
    moved = labels.over(PART)
    assert (moved.volume, moved.bounds, moved.connected) == (PART, PART, False)
    assert not labels.over(VOLUME, (32.0, 32.0, 40.0)).connected


def test_a_description_of_another_kind_is_refused() -> None:
    assert voxels_of(parse_info({**FORMER, "kind": "image"})) == EACH["image"]
    with pytest.raises(TypeError, match="of the kind table, which has no voxels"):
        voxels_of(parse_info({**FORMER, "kind": "table"}))
    with pytest.raises(TypeError, match="of the kind folder, not a table"):
        table_of(parse_info({**FORMER, "kind": "folder"}))
    with pytest.raises(TypeError, match="of the kind image, not labels"):
        labels_of(parse_info({**FORMER, "kind": "image"}))


class Wrong(Task):
    """Describes its image as labels."""

    image: Image
    smooth: Image = Out()

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        return {"smooth": layout.main.as_labels()}

    def map(self, cell: object, image: Chunk) -> Chunk:
        return image


def test_an_output_described_as_of_another_kind_is_refused(tmp_path: Path) -> None:
    layers = {"image": make_layer(tmp_path / "image", ONES), "smooth": str(tmp_path / "smooth")}
    task = {f"{__name__}:Wrong": {"image": "image", "smooth": "smooth"}}
    with pytest.raises(BadInput, match="must describe smooth by ImageInfo, not by LabelsInfo"):
        open_plan(make_job(tmp_path, layers, [task]))


def test_descriptions_need_no_client_of_any_storage() -> None:
    code = "import sys, chunkflow.data.info; print([m for m in ('cloudvolume', 'boto3') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
