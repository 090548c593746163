"""The object table: against a whole-volume reference, for any labels, images, cuts and parts."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import ndimage, stats

from chunkflow.engine.planning.job import Job
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Vec
from chunkflow.kernels.images.gaussian import blob_sigma, difference_of_gaussians
from tasks.cells.measure import Measure
from tests.support.jobs import make_job, make_layer, read_table, run_job
from tests.support.same import Way, same_everywhere

VOXEL = (500.0, 500.0, 2000.0)
START = (11, -6, 4)
COLUMNS = [
    *("id", "x", "y", "z", "x_um", "y_um", "z_um"),
    *("x_min", "y_min", "z_min", "x_max", "y_max", "z_max", "volume", "volume_um3", "diameter_um"),
]
MOMENTS = ["mean", "std", "skew", "kurtosis", "min", "max"]


def tissue(dtype: Any = np.uint16, seed: int = 3) -> tuple[NDArray[np.uint32], NDArray[Any]]:
    """Labels that span many chunks, have several pieces, or are single voxels; and an image."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 12, (8, 7, 5)).astype(np.uint32)
    labels = np.kron(coarse, np.ones((7, 7, 7), np.uint32))[:53, :45, :32]
    labels[5, 5, 5], labels[0, 0, 0], labels[52, 44, 31] = 900, 2**32 - 1, 2**31
    values = random.normal(0.5, 0.2, labels.shape).clip(0, 1)
    image = values.astype(dtype) if dtype is np.float32 else (values * np.iinfo(dtype).max).astype(dtype)
    return np.asfortranarray(labels), np.asfortranarray(image)


def measured(
    folder: Path,
    labels: NDArray[Any],
    images: dict[str, NDArray[Any]],
    chunk: list[int],
    box: Box | None = None,
) -> pa.Table:
    folder.mkdir()
    layers = {"labels": make_layer(folder / "labels", labels, "segmentation", VOXEL, START)}
    for name, image in images.items():
        layers[name] = make_layer(folder / name, image, "image", VOXEL, START)
    step = {"measure": {"labels": "labels", "images": list(images), "objects": "objects"}}
    job = make_job(folder, layers, [step], chunk=chunk)
    assert run_job(job, box) == "complete"
    return read_table(next((folder / "work").glob("**/objects")))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_agrees_with_the_whole_volume_in_one_piece(tmp_path: Path, dtype: Any) -> None:
    labels, image = tissue(dtype)
    table = measured(tmp_path / "a", labels, {"dapi": image}, [32, 32, 32])
    assert table.column_names == [*COLUMNS, *(f"dapi_{name}" for name in MOMENTS), "cut"]
    assert table["id"].to_pylist() == np.unique(labels[labels > 0]).tolist()
    for row in table.to_pylist():
        places = np.argwhere(labels == row["id"])
        values = image[labels == row["id"]].astype(np.float64)
        middle = places.mean(axis=0) + 0.5 + START
        assert np.allclose([row[axis] for axis in "xyz"], middle)
        assert np.allclose([row[f"{axis}_um"] for axis in "xyz"], middle * (0.5, 0.5, 2.0))
        assert [row[f"{axis}_min"] for axis in "xyz"] == (places.min(axis=0) + START).tolist()
        assert [row[f"{axis}_max"] for axis in "xyz"] == (places.max(axis=0) + START + 1).tolist()
        assert row["volume"] == len(places)
        assert row["volume_um3"] == len(places) / 2
        assert row["diameter_um"] == pytest.approx((3 * len(places) / np.pi) ** (1 / 3), rel=1e-6)
        assert not row["cut"]
        many = len(places) > 1
        expected = [values.mean(), values.std(), stats.skew(values) if many else 0]
        expected += [stats.kurtosis(values) if many else 0, values.min(), values.max()]
        assert np.allclose([row[f"dapi_{name}"] for name in MOMENTS], expected, rtol=1e-5, atol=1e-5)


def test_the_same_table_however_it_is_cut(tmp_path: Path) -> None:
    labels, image = tissue()
    chunks = ([64, 64, 32], [32, 32, 32], [32, 64, 32])
    tables = [
        measured(tmp_path / str(n), labels, {"dapi": image, "cfos": image[::-1]}, chunk)
        for n, chunk in enumerate(chunks)
    ]
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])


def test_images_of_floats(tmp_path: Path) -> None:
    labels, image = tissue(np.float32)
    other = image * 1000 - 300
    tables = [
        measured(tmp_path / str(n), labels, {"a": image, "b": other}, chunk)
        for n, chunk in enumerate([[64, 64, 32], [32, 32, 32]])
    ]
    assert tables[0].equals(tables[1])
    for row in tables[0].to_pylist():
        for name, array in (("a", image), ("b", other)):
            values = array[labels == row["id"]].astype(np.float64)
            step = 2 * float(np.ptp(array)) / 65535
            assert row[f"{name}_mean"] == pytest.approx(values.mean(), abs=step)
            assert row[f"{name}_std"] == pytest.approx(values.std(), abs=step)
            assert row[f"{name}_max"] == pytest.approx(values.max(), abs=step)
            assert row[f"{name}_clipped"] == 0


def test_what_is_clipped_does_not_depend_on_the_cut(tmp_path: Path) -> None:
    labels = np.ones((100, 40, 32), np.uint32, order="F")  # the sample sees x from 18 to 82
    image = np.zeros(labels.shape, np.float32, order="F")
    image[50] = 65535  # so the range is -32767.5 to 98302.5, in steps of two
    image[5:7, 3, 3] = 98302.75  # beyond by less than half a step
    image[90, 3, 3] = 1e6  # far beyond, in another chunk
    tables = [
        measured(tmp_path / str(n), labels, {"a": image}, chunk)
        for n, chunk in enumerate([[128, 64, 32], [32, 64, 32]])
    ]
    assert [table["a_clipped"].to_pylist() for table in tables] == [[3], [3]]


def test_several_channels_are_measured_each(tmp_path: Path) -> None:
    labels, image = tissue()
    table = measured(tmp_path / "a", labels, {"raw": np.stack([image, image // 2], axis=3)}, [64, 64, 32])
    assert "raw_0_mean" in table.column_names
    assert np.allclose(table["raw_1_max"].to_numpy(), table["raw_0_max"].to_numpy() // 2)


def test_labels_alone_are_enough_and_may_be_empty(tmp_path: Path) -> None:
    labels, _ = tissue()
    assert measured(tmp_path / "a", labels, {}, [32, 32, 32]).column_names == [*COLUMNS, "cut"]
    nothing = measured(tmp_path / "b", np.zeros_like(labels), {}, [32, 32, 32])
    assert len(nothing) == 0
    assert nothing.column_names == [*COLUMNS, "cut"]


def test_objects_that_a_part_cuts_are_marked(tmp_path: Path) -> None:
    labels = np.zeros((64, 64, 32), np.uint64, order="F")
    labels[4:9, 4:9, 4:9] = 1
    labels[28:36, 4:9, 4:9] = 2
    labels[0:3, 20:23, 4:9] = 3
    part = Box(START, (START[0] + 32, START[1] + 32, START[2] + 32))
    table = measured(tmp_path / "a", labels, {}, [32, 32, 32], part)
    assert dict(zip(table["id"].to_pylist(), table["cut"].to_pylist(), strict=True)) == {
        1: False,
        2: True,
        3: False,
    }
    assert table["volume"].to_pylist() == [125, 100, 45]


def test_what_segment_made_is_complete_although_rows_end_early(tmp_path: Path) -> None:
    """Labels in one piece each are finished in the lowest block that holds them, by the faces they cross."""
    random = np.random.default_rng(2)
    points = np.zeros((64, 64, 48))
    np.add.at(points, tuple((random.random((40, 3)) * points.shape).astype(int).T), 5e4)
    image = ndimage.gaussian_filter(points, (2.5, 2.5, 2.5)) + 100 + random.normal(0, 2, points.shape)
    source = make_layer(
        tmp_path / "dapi", np.asfortranarray(image.astype(np.uint16)), "image", (1000,) * 3, START
    )
    tables = []
    for name, chunk in {"whole": [64, 64, 48], "cut": [16, 16, 16]}.items():
        (tmp_path / name).mkdir()
        layers = {"dapi": source, "labels": str(tmp_path / name / "labels")}
        steps = [
            {"segment": {"image": "dapi", "labels": "labels", "diameter": 8}},
            {"measure": {"labels": "labels", "images": ["dapi"], "objects": "objects"}},
        ]
        assert (
            run_job(make_job(tmp_path / name, layers, steps, chunk=chunk, storage=[16, 16, 16])) == "complete"
        )
        tables.append(read_table(next((tmp_path / name / "work").glob("**/objects"))))
    assert len(tables[0]) > 20
    assert tables[0].equals(tables[1])


CONTRASTS = [4.0, 7.5]
SURROUND = 3.0


def contrasts_job(folder: Path, chunk: Vec) -> Job:
    folder.mkdir()
    labels, image = tissue()
    floats = np.asfortranarray(image[::-1].astype(np.float32) / 7)
    layers = {
        "labels": make_layer(folder / "labels", labels, "segmentation", VOXEL, START),
        "dapi": make_layer(folder / "dapi", image, "image", VOXEL, START),
        "raw": make_layer(folder / "raw", np.stack([floats, floats / 2], axis=3), "image", VOXEL, START),
    }
    step = {"labels": "labels", "images": ["dapi", "raw"], "objects": "objects"}
    step |= {"contrasts": CONTRASTS, "surround": SURROUND}
    return make_job(folder, layers, [{"measure": step}], chunk=chunk)


def test_contrasts_are_the_largest_response_within_each_object_however_it_is_cut(tmp_path: Path) -> None:
    ways = [Way((32, 32, 32)), Way((64, 32, 32), shuffled=True)]
    same_everywhere(tmp_path, contrasts_job, (64, 64, 32), ways)
    table = read_table(tmp_path / "whole" / "work" / "tables" / "objects")
    labels, image = tissue()
    floats = np.asfortranarray(image[::-1].astype(np.float32) / 7)
    ids = np.unique(labels[labels > 0])
    assert table["id"].to_pylist() == ids.tolist()
    for name, array in (("dapi", image), ("raw_0", floats), ("raw_1", floats / 2)):
        for diameter in CONTRASTS:
            response = difference_of_gaussians(array, blob_sigma(diameter * 1000, VOXEL))
            expected = ndimage.maximum(response, labels, ids)
            assert np.array_equal(table[f"{name}_contrast_{diameter:g}um"].to_numpy(), expected), name
            middle = response[10:42, 6:38, 0:32].astype(float)  # the sample is one box, this its middle
            noise = np.median(np.abs(middle - np.median(middle)))
            ratio = (expected.astype(float) / noise).astype(np.float32)
            assert np.array_equal(table[f"{name}_cnr_{diameter:g}um"].to_numpy(), ratio), name
        spread = local_std(array, (6, 6, 2))
        assert np.allclose(table[f"{name}_surround"].to_numpy(), ndimage.maximum(spread, labels, ids), 3e-4)


def local_std(array: NDArray[Any], radius: tuple[int, int, int]) -> NDArray[Any]:
    """The standard deviation around each voxel, what lies beyond the volume left out."""
    padded = np.pad(array.astype(float), [(r, r) for r in radius], constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, [2 * r + 1 for r in radius])
    return np.stack([np.nanstd(plane, axis=(2, 3, 4)) for plane in windows])


def test_contrasts_of_a_part_are_those_of_the_whole(tmp_path: Path) -> None:
    job = contrasts_job(tmp_path / "a", (32, 32, 32))
    assert run_job(job) == "complete"
    part = Box(START, (START[0] + 32, START[1] + 32, START[2] + 32))
    assert run_job(contrasts_job(tmp_path / "b", (32, 32, 32)), part) == "complete"
    whole = read_table(tmp_path / "a" / "work" / "tables" / "objects").to_pylist()
    known = {row["id"]: row for row in whole}
    rows = [
        row for row in read_table(next((tmp_path / "b").glob("**/objects"))).to_pylist() if not row["cut"]
    ]
    assert rows
    for row in rows:
        assert row == known[row["id"]]


def ratios(folder: Path, image: NDArray[np.uint16], chunk: list[int]) -> pa.Table:
    folder.mkdir()
    layers = {
        "labels": make_layer(folder / "labels", tissue()[0], "segmentation", VOXEL, START),
        "dapi": make_layer(folder / "dapi", image, "image", VOXEL, START),
    }
    step = {"labels": "labels", "images": ["dapi"], "objects": "objects", "contrasts": CONTRASTS}
    assert run_job(make_job(folder, layers, [{"measure": step}], chunk=chunk)) == "complete"
    return read_table(folder / "work" / "tables" / "objects")


def test_ratios_of_contrast_to_noise_are_those_of_the_same_tissue_imaged_brighter(tmp_path: Path) -> None:
    image = tissue()[1] // 8
    one = ratios(tmp_path / "a", image, [64, 64, 32])
    other = ratios(tmp_path / "b", image * np.uint16(2) + np.uint16(100), [32, 64, 32])
    for diameter in CONTRASTS:
        ratio = one[f"dapi_cnr_{diameter:g}um"].to_numpy()
        assert np.ptp(ratio) > 1
        assert np.allclose(ratio, other[f"dapi_cnr_{diameter:g}um"].to_numpy(), rtol=1e-4, atol=1e-3)
        contrasts = [table[f"dapi_contrast_{diameter:g}um"].to_numpy() for table in (one, other)]
        assert np.allclose(2 * contrasts[0], contrasts[1], rtol=1e-4, atol=0.1)


def test_contrasts_have_their_columns_where_there_are_no_objects(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    nothing = np.zeros((40, 32, 32), np.uint8, order="F")
    layers = {
        "labels": make_layer(tmp_path / "labels", nothing.astype(np.uint32), "segmentation"),
        "dapi": make_layer(tmp_path / "dapi", nothing),
    }
    step = {"labels": "labels", "images": ["dapi"], "objects": "objects", "contrasts": [8], "surround": 5}
    assert run_job(make_job(tmp_path, layers, [{"measure": step}], chunk=[32, 32, 32])) == "complete"
    columns = read_table(tmp_path / "work" / "tables" / "objects").column_names
    assert "roundness" in columns
    assert columns[-4:] == ["dapi_contrast_8um", "dapi_cnr_8um", "dapi_surround", "cut"]


@pytest.mark.parametrize("given", [[-1.0], [0.0], [5.0, 5.0], [5000.0]])
def test_contrasts_that_make_no_sense_are_refused(given: list[float]) -> None:
    with pytest.raises(ValidationError, match="contrasts"):
        Measure(labels="a", images=["dapi"], objects="b", contrasts=given)
    with pytest.raises(ValidationError, match="those of images"):
        Measure(labels="a", objects="b", contrasts=[5.0])


def test_images_with_the_same_columns_are_refused() -> None:
    with pytest.raises(ValidationError, match="same columns"):
        Measure(labels="a", images=["dapi", "dapi@1"], objects="b")


@pytest.mark.parametrize("dtype", [np.uint32, np.float64])
def test_an_image_that_cannot_be_measured_is_refused_before_anything_is_read(
    tmp_path: Path, dtype: Any
) -> None:
    labels, image = tissue()
    with pytest.raises(BadInput, match=rf"dapi is an image of {np.dtype(dtype)}"):
        measured(tmp_path / "a", labels, {"dapi": image.astype(dtype)}, [64, 64, 32])
