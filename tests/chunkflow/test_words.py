"""Voxel sizes, and names of layers, as people write them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from chunkflow.errors import BadInput
from chunkflow.task import Layout
from chunkflow.words import layer_name, parse_voxel_size, refuse_one_text, split_mip
from tasks.volumes.ingest import Ingest


@pytest.mark.parametrize(
    ("text", "nanometres"),
    [
        ("0.227,0.227,1um", (227, 227, 1000)),
        ("0.227, 0.227, 1 um", (227, 227, 1000)),
        ("16,16,40nm", (16, 16, 40)),
        ("227nm,227nm,1µm", (227, 227, 1000)),
        ("1.62 1.62 6um", (1620, 1620, 6000)),
        ("2e-1,.5,1um", (200, 500, 1000)),
    ],
)
def test_voxel_sizes(text: str, nanometres: tuple[int, int, int]) -> None:
    assert parse_voxel_size(text) == nanometres


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "0.227,0.227,1",
        "1um",
        "1,1um",
        "1,1,1,1um",
        "1,1,1mm",
        "0,1,1um",
        "-1,1,1um",
        "a,b,cum",
        "1,1nm,1",
    ],
)
def test_a_voxel_size_without_unit_or_axis_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_voxel_size(text)
    with pytest.raises(ValidationError if text else BadInput):
        Ingest(source=__file__, voxel_size=text, layer="image").outputs(Layout({}, (8, 8, 8), (8, 8, 8)))


def test_a_layer_is_named_by_what_a_name_may_have() -> None:
    assert layer_name("c fos (488).v2", "layer") == "c_fos_488_v2"
    assert layer_name("my_layer-2", "layer") == "my_layer-2"
    assert layer_name("..", "image") == "image"
    assert layer_name("GFP 1.5 (488)", "c0", dots=True) == "GFP_1.5_488"


def test_a_mip_stands_behind_a_place() -> None:
    assert split_mip("s3://lab/dapi@2") == ("s3://lab/dapi", 2)
    assert split_mip("dapi") == ("dapi", None)
    assert split_mip("user@host/dapi") == ("user@host/dapi", None)


def test_one_text_is_no_list_of_names() -> None:
    refuse_one_text("columns", ["z,y"])
    with pytest.raises(BadInput, match="columns takes a list of names"):
        refuse_one_text("columns", "z,y")
