"""Features of a table class by class: which are shown, and how they are spread."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from chunkflow.data.folder import Folder
from chunkflow.data.info import TableInfo
from chunkflow.data.tables import table_file, table_writer
from chunkflow.geometry import Box
from chunkflow.people.review import profiles
from chunkflow.people.review.objects import TableObjects
from chunkflow.people.review.profiles import feature_profiles

COUNT = 3000


def written(folder: Path, columns: dict[str, object]) -> TableObjects:
    rows = pa.table({"id": pa.array(range(COUNT, 0, -1), pa.uint64()), **columns})
    with open(folder / table_file(0), "wb") as file, table_writer(file, rows.schema) as writer:
        writer.write_table(rows)
    info = TableInfo(url=f"file://{folder}", volume=Box((0, 0, 0), (64, 64, 64)), voxel_size=(1.0, 1.0, 1.0))
    assert Folder(info.url).exists(table_file(0))
    return TableObjects.read(info)


def columns() -> dict[str, object]:
    random = np.random.default_rng(3)
    of_class = np.array(["glia", "neuron"])[(np.arange(COUNT) % 2)]
    shift = (of_class == "neuron").astype(float)
    volume = random.normal(10, 1, COUNT) + 6 * shift
    return {
        **{axis: np.full(COUNT, 5.0) for axis in "xyz"},
        "x_um": random.normal(0, 1, COUNT) + 90 * shift,
        "noise": random.normal(0, 1, COUNT),
        "mean": random.normal(0, 1, COUNT) + 3 * shift,
        "volume": volume * 8,
        "volume_um3": volume,
        "constant": np.full(COUNT, 3.0),
        "missing": pa.array([None] * COUNT, pa.float32()),
        "class": of_class,
        "probability": shift,
        "p_neuron": shift,
        "label_id": np.arange(COUNT),
    }


def test_the_features_that_tell_classes_apart_come_first_without_copies(tmp_path: Path) -> None:
    known = columns()
    found = feature_profiles(written(tmp_path, known))
    assert [profile.name for profile in found] == ["volume_um3", "mean", "noise"]
    volume = found[0]
    assert [spread.name for spread in volume.spreads] == ["glia", "neuron"]
    of_glia = np.asarray(known["volume_um3"])[::2]
    spread = volume.spreads[0]
    assert (spread.low, spread.median, spread.high) == pytest.approx(np.percentile(of_glia, (5, 50, 95)))


def test_a_large_class_is_sampled_and_a_small_one_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiles, "MOST_OF_CLASS", 200)
    known = columns()
    rare = np.array(["rare"] * 7 + ["few"] * 4 + ["glia"] * (COUNT - 11))
    objects = written(tmp_path, known | {"class": rare})
    (noise,) = [one for one in feature_profiles(objects) if one.name == "noise"]
    assert [spread.name for spread in noise.spreads] == ["glia", "rare"]
    assert noise.spreads[1].median == np.median(np.asarray(known["noise"])[:7])
    whole = np.median(np.asarray(known["noise"])[11:])
    assert noise.spreads[0].median == pytest.approx(whole, abs=0.3)
    assert noise.spreads[0].median != whole
    assert feature_profiles(objects) == feature_profiles(objects)


def test_a_table_without_classes_has_one_spread_of_all(tmp_path: Path) -> None:
    known = {name: values for name, values in columns().items() if name not in ("class", "p_neuron")}
    found = feature_profiles(written(tmp_path, known))
    assert [profile.name for profile in found] == ["volume_um3", "noise", "mean"]
    assert [spread.name for spread in found[0].spreads] == [""]
    assert found[0].spreads[0].median == np.median(np.asarray(known["volume_um3"]))
