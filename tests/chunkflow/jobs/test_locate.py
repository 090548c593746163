"""A place is a path or a URL, a layer with its mip, a work folder, or a table of one."""

from __future__ import annotations

from pathlib import Path

import pytest

import chunkflow as cf
from chunkflow.data.info import full_url
from chunkflow.errors import BadInput
from chunkflow.jobs.locate import layer_or_work, locate, open_layer, open_table
from chunkflow.jobs.work import Work


def test_a_layer_is_opened_by_its_place_or_as_it_is_known(brain: Path) -> None:
    dapi, work = brain / "dapi", cf.open(brain / "made")
    for place in (dapi, str(dapi), full_url(str(dapi)), f"{dapi}@0", work.volume("dapi")):
        assert open_layer(place).url == full_url(str(dapi))
    assert isinstance(open_layer(brain / "named"), cf.TableInfo)
    assert open_layer(f"{brain / 'made'}:objects") == work.table_info("objects")
    with pytest.raises(BadInput, match="mip 7"):
        open_layer(f"{dapi}@7")
    with pytest.raises(BadInput, match="mip 7"):
        open_layer(dapi, 7)
    with pytest.raises(BadInput, match=r"is not a layer .*WORK:TABLE"):
        open_layer(brain)


def test_a_folder_of_meshes_is_not_taken_for_a_layer(tmp_path: Path) -> None:
    (tmp_path / "info").write_text('{"@type": "neuroglancer_legacy_mesh"}')
    with pytest.raises(BadInput, match="is neuroglancer_legacy_mesh: an image, labels or a table"):
        open_layer(tmp_path)


def test_a_table_is_that_of_a_job_or_one_by_itself(brain: Path) -> None:
    work = cf.open(brain / "made")
    found = work.table_info("objects")
    for place in (brain / "made", f"{brain / 'made'}:objects", found.url, found, work.table()):
        assert open_table(place) == found
    with pytest.raises(BadInput, match="has no table nuclei"):
        open_table(f"{brain / 'made'}:nuclei")
    with pytest.raises(BadInput, match="not a work folder"):
        open_table(brain)


def test_a_place_is_a_layer_or_a_work_folder(brain: Path) -> None:
    assert layer_or_work(brain / "dapi") == full_url(str(brain / "dapi"))
    found = layer_or_work(brain / "made")
    assert isinstance(found, Work)
    assert locate(brain / "made", "nuclei") == locate(brain / "nuclei") == full_url(str(brain / "nuclei"))
    with pytest.raises(BadInput, match=r"is no layer .*no job has run there"):
        locate(brain)
