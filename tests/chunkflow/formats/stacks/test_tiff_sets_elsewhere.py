"""Sets of TIFF files: read where they lie beside the named one, and refused by name where they do not."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import tifffile

from tasks.volumes.ingest import Ingest
from tests.support.files.refused import refusal
from tests.support.files.stack_files import SIZE, ZYX, whole
from tests.support.files.tiff_sets import mmstack_set, ndtiff_set, ome_set


@pytest.mark.parametrize(
    "name", ["../private/b.ome.tif", "{folder}/private/b.ome.tif", "&#46;./private/b.ome.tif"]
)
def test_an_ome_tiff_whose_set_lies_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "given").mkdir()
    other = tmp_path / "private" / "b.ome.tif"
    path = ome_set(tmp_path / "given", name.format(folder=tmp_path), other)
    assert f"leads out of {path.parent}, to {other}" in refusal(tmp_path, path)


def test_an_ome_tiff_whose_set_lies_beside_it_is_read_also_by_a_link(tmp_path: Path) -> None:
    path = ome_set(tmp_path, "b.ome.tif", tmp_path / "b.ome.tif")
    (tmp_path / "links").mkdir()
    for name in ("a.ome.tif", "b.ome.tif"):
        (tmp_path / "links" / name).symlink_to(tmp_path / name)
    for source in (path, tmp_path / "links" / "a.ome.tif"):
        assert (whole(Ingest(source=str(source), voxel_size=SIZE, layer="x")) == ZYX[:10].T).all()


def test_the_set_of_an_ome_tiff_that_is_a_link_is_looked_for_where_it_leads(tmp_path: Path) -> None:
    """There tifffile looks for it, and not beside the link."""
    (tmp_path / "given" / "sub").mkdir(parents=True)
    other = tmp_path / "private" / "secret.ome.tif"
    path = ome_set(tmp_path / "given" / "sub", "b.ome.tif", other)
    (path.parent / "b.ome.tif").symlink_to(other)
    link = tmp_path / "given" / path.name
    link.symlink_to(path)
    assert f"leads out of {path.parent}, to {other}" in refusal(tmp_path, link)


def test_an_ome_tiff_may_bear_a_name_that_it_once_had(tmp_path: Path) -> None:
    """It is the file itself by its UUID, so the name is not followed."""
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, ZYX, ome=True, metadata={"axes": "ZYX"}, compression="zlib")
    text = tifffile.tiffcomment(path)
    assert isinstance(text, str)
    uuid = re.findall(r'UUID="([^"]*)"', text)[0]
    named = re.sub(
        r"<TiffData ([^>]*)/>|<TiffData ([^>]*)>.*?</TiffData>",
        rf'<TiffData \1\2><UUID FileName="/once/b.tif">{uuid}</UUID></TiffData>',
        text,
    )
    assert "/once/b.tif" in named
    tifffile.tiffcomment(path, named.encode())
    assert (whole(Ingest(source=str(path), voxel_size=SIZE, layer="x")) == ZYX.T).all()


@pytest.mark.parametrize("name", ["b.tif", "../private/b.tif"])
def test_an_ndtiff_whose_index_names_a_file_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    for folder in ("given", "private"):
        (tmp_path / folder).mkdir()
    path = ndtiff_set(tmp_path / "given", name)
    if name == "b.tif":
        assert (whole(Ingest(source=str(path), voxel_size=SIZE, layer="x")) == ZYX[:2].T).all()
    else:
        assert f"leads out of {path.parent}, to {tmp_path / 'private' / 'b.tif'}" in refusal(tmp_path, path)


@pytest.mark.parametrize(
    ("write", "other"), [(ndtiff_set, "b.tif"), (mmstack_set, "a_MMStack_1.ome.tif")], ids=["nd", "mm"]
)
def test_a_set_of_micro_manager_is_read_by_a_link_and_refused_where_it_leads_out(
    tmp_path: Path, write: Callable[[Path, str], Path], other: str
) -> None:
    for folder in ("given", "links", "private"):
        (tmp_path / folder).mkdir()
    path = write(tmp_path / "given", other)
    link = tmp_path / "links" / path.name
    link.symlink_to(path)
    assert (whole(Ingest(source=str(link), voxel_size=SIZE, layer="x")) == ZYX[:2].T).all()
    (path.parent / other).rename(tmp_path / "private" / "b.tif")
    (path.parent / other).symlink_to(tmp_path / "private" / "b.tif")
    for source in (path, link):
        assert f"leads out of {path.parent}, to {tmp_path / 'private' / 'b.tif'}" in refusal(tmp_path, source)
