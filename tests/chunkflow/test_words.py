"""Voxel sizes as people write them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from chunkflow.errors import BadInput
from chunkflow.task import Layout
from chunkflow.words import parse_voxel_size
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
